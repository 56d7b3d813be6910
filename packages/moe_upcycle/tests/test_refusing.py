"""What cannot be upcycled, at a shell: one clear sentence with a remedy, and nothing left behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bunbuku_contracts import Artifact, Checkpoint, Config, Draft, Experts, stage
from bunbuku_moe_upcycle.cli import main

type Make = Callable[..., Artifact[Checkpoint]]

UP = "model.layers.0.mlp.up_proj.weight"


@stage("test.eight_bits")
def eight_bits(draft: Draft, config: Config, checkpoint: Artifact[Checkpoint]) -> Checkpoint:
    """The same with one matrix in fp8, as quantised checkpoints have it."""
    shutil.copyfile(checkpoint.dir / "config.json", draft.dir / "config.json")
    data = (checkpoint.dir / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    begin, end = header[UP]["data_offsets"]
    header[UP] |= {"dtype": "F8_E4M3", "data_offsets": [begin, begin + (end - begin) // 4]}
    written = json.dumps(header).encode()
    (draft.dir / "model.safetensors").write_bytes(len(written).to_bytes(8, "little") + written + data[8 + length :])
    return checkpoint.spec


CASES: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "a shard the index speaks of": (
        {"without": ("lm_head.weight",), "index": {"lm_head.weight": "model-2.safetensors"}},
        [],
        "'lm_head.weight' should be in 'model-2.safetensors' and is not",
    ),
    "widths that do not divide": (
        {},
        ["--set", "strategy={ type = 'granular', parts = 5 }", "--set", "experts=10"],
        "has 24 inner units, no multiple of `strategy.parts` 5",
    ),
    "fewer experts than are active": (
        {},
        ["--set", "experts=2", "--set", "active=3"],
        "`active` 3 is more than `experts` 2",
    ),
    "an architecture it does not know": ({"config": {"model_type": "qwen3"}}, [], "'model_type' is 'qwen3'"),
    "a mixture already": ({"experts": Experts(count=4, active=2)}, [], "has 4 experts already"),
    "dense layers and mixtures": (
        {"extra": {"model.layers.1.block_sparse_moe.gate.weight": (4, 16)}},
        [],
        "holds 'model.layers.1.block_sparse_moe.gate.weight', which a dense Llama does not have",
    ),
    "stretched positions": (
        {"config": {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}},
        [],
        "the rotary positions are of type 'linear'",
    ),
    "stretched positions, as transformers 5 says it": (
        {"config": {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 5000.0}}},
        [],
        "the rotary positions are of type 'yarn'",
    ),
    "layers that are not there": (
        {},
        ["--set", "layers=[7]"],
        "its layers are 0 to 2, and experts are asked for in layer 7",
    ),
}


@pytest.mark.parametrize("name", [*CASES, "weights in eight bits", "a shard that was lost"])
def test_what_cannot_be_upcycled_is_said_in_a_sentence_and_nothing_is_written(
    dense: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
):
    fields, options, sentence = CASES.get(name, ({}, [], ""))
    checkpoint = dense(**fields)
    if name == "weights in eight bits":
        checkpoint, sentence = eight_bits(tmp_path / "eight", Config(), checkpoint), f"'{UP}' is stored as 'F8_E4M3'"
    if name == "a shard that was lost":
        checkpoint, sentence = dense("three", files=3), "model-00002-of-00003.safetensors is missing"
        (checkpoint.dir / "model-00002-of-00003.safetensors").unlink()
    before = sorted(tmp_path.iterdir())
    status = main(["upcycle", "--checkpoint", str(checkpoint.dir), "--out", str(tmp_path / "moe"), *options])
    captured = capsys.readouterr()
    said = " ".join(captured.err.split())
    assert status == 1
    assert captured.out == ""
    assert sentence in said
    assert said.count("error:") == 1
    assert "Traceback" not in said
    left = [path for path in sorted(tmp_path.iterdir()) if path not in before]
    assert not [path for path in left if not path.name.startswith(".")]
    assert not [path for folder in left if folder.is_dir() for path in folder.rglob("*.safetensors")]


def test_tied_embeddings_are_upcycled_as_they_are(dense: Make, tmp_path: Path):
    parent = dense(tied=True)
    main(["upcycle", "--checkpoint", str(parent.dir), "--out", str(tmp_path / "moe")])
    config = json.loads((tmp_path / "moe" / "config.json").read_bytes())
    assert config["tie_word_embeddings"] is True
