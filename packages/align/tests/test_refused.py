"""Inputs that do not belong together are refused in a sentence, before anything is trained."""

import json
import shutil
from pathlib import Path

import pytest
from bunbuku_align import AlignRun, SftConfig, sft
from bunbuku_contracts import ArtifactError

HERE = AlignRun(device="cpu", threads=1)
SFT = SftConfig(max_tokens=64, max_steps=1)


def test_a_tokenizer_that_is_another_models_is_refused(make, numerals, tmp_path: Path) -> None:
    source = make.model()
    folder = tmp_path / "mixed"
    shutil.copytree(source.dir, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary |= {f"語{number}": len(vocabulary) + number for number in range(100)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"mixed has \d+ tokens, but the model has 384"):
        sft(tmp_path / "out", SFT, type(source)(folder, source.manifest), make.dialogues(numerals), run=HERE)
    assert not (tmp_path / "out").exists()
