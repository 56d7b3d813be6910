"""Inputs that do not belong together, or that are none, are refused in a sentence before anything is trained or written."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from bunbuku_align import AlignRun, DpoConfig, SftConfig, dpo, sft
from bunbuku_contracts import Artifact, ArtifactError, BunbukuError, Checkpoint

HERE = AlignRun(device="cpu", threads=1)
SFT = SftConfig(max_tokens=64, max_steps=1)
DPO = DpoConfig(max_tokens=64, max_steps=1)


@pytest.fixture
def nothing_written(tmp_path: Path):
    """Where a stage is asked to write; no artifact may be there in the end, and no file beside it (a draft's folder is empty)."""
    yield tmp_path / "made" / "out"
    assert not (tmp_path / "made" / "out").exists()
    assert not [path for path in tmp_path.glob("made/**/*") if path.is_file()]


def with_tokenizer(source: Artifact[Checkpoint], folder: Path, change) -> Artifact[Checkpoint]:
    """The checkpoint with another vocabulary beside its weights."""
    shutil.copytree(source.dir, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    change(tokenizer["model"]["vocab"])
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    return type(source)(folder, source.manifest)


def more(vocabulary: dict[str, int]) -> None:
    vocabulary |= {f"語{number}": len(vocabulary) + number for number in range(100)}


def fewer(vocabulary: dict[str, int]) -> None:
    for _ in range(20):
        vocabulary.popitem()


def mixed(vocabulary: dict[str, int]) -> None:
    vocabulary["一"], vocabulary["二"] = vocabulary["二"], vocabulary["一"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (more, r"mixed has \d+ tokens, but the model has 384"),
        (fewer, r"tokenizer\.json is not of the tokenizer a{12} that the model was trained with"),
        (mixed, r"tokenizer\.json is not of the tokenizer a{12} that the model was trained with"),
    ],
    ids=["larger", "smaller", "of the same size"],
)
def test_a_tokenizer_that_is_another_models_is_refused(
    change, words, make, numerals, tmp_path: Path, nothing_written: Path
) -> None:
    base = with_tokenizer(make.model(), tmp_path / "mixed", change)
    with pytest.raises(ArtifactError, match=words):
        sft(nothing_written, SFT, base, make.dialogues(numerals), run=HERE)


def test_the_tokenizer_that_the_lineage_names_is_the_one_that_counts(
    make, numerals, tmp_path: Path, nothing_written: Path
) -> None:
    source, folder = make.model(), tmp_path / "exported"
    shutil.copytree(source.dir, folder)
    (folder / "lineage").mkdir(exist_ok=True)
    theirs = {"files": [{"path": "tokenizer.json", "sha256": "b" * 64}]}
    (folder / "lineage" / f"{source.spec.tokenizer}.json").write_text(json.dumps(theirs), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"not of the tokenizer a{12}"):
        sft(nothing_written, SFT, type(source)(folder, source.manifest), make.dialogues(numerals), run=HERE)


def test_turns_out_of_order_are_refused(make, nothing_written: Path) -> None:
    rows: dict[str, Any] = {"行1": [("user", "一"), ("assistant", "い")], "行2": [("assistant", "い"), ("user", "一")]}
    with pytest.raises(BunbukuError, match="dialogue '行2': turn 1 is of 'assistant', not of 'user'"):
        sft(nothing_written, SFT, make.model(), make.dialogues(rows), run=HERE)
    pairs: dict[str, Any] = {"行3": ([("user", "一"), ("user", "二")], "い", "に")}
    with pytest.raises(BunbukuError, match="dialogue '行3': turn 2 is of 'user', not of 'assistant'"):
        dpo(nothing_written, DPO, make.model(), make.preferences(pairs), run=HERE)


def test_equal_sides_are_refused(make, nothing_written: Path) -> None:
    pairs: dict[str, Any] = {"行1": ([("user", "一")], "い", "に"), "行2": ([("user", "二")], "に", "に")}
    with pytest.raises(BunbukuError, match="preference '行2' has the same text as its chosen and its rejected answer"):
        dpo(nothing_written, DPO, make.model(), make.preferences(pairs), run=HERE)


def test_texts_that_are_null_are_refused(make, nothing_written: Path) -> None:
    rows: dict[str, Any] = {"行1": [("user", "一"), ("assistant", "い")], "行2": [("user", "一"), ("assistant", None)]}
    with pytest.raises(ArtifactError, match=r"part-00000\.parquet, row '行2': the content of turn 2 is null"):
        sft(nothing_written, SFT, make.model(), make.dialogues(rows), run=HERE)
    pairs: dict[str, Any] = {"行1": ([("user", "一")], "い", "に"), "行3": ([("user", "一")], "い", None)}
    with pytest.raises(ArtifactError, match="row '行3': its rejected answer is null"):
        dpo(nothing_written, DPO, make.model(), make.preferences(pairs), run=HERE)
