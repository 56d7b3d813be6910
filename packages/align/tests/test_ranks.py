"""Several ranks train what one process trains that computes as many examples at once, whether they divide the model or not."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from bunbuku_align import AlignRun, Copies, Ddpo, DeepSpeed, DpoConfig, Fsdp, Full, Lora, SftConfig, dpo, sft
from bunbuku_contracts import BunbukuError, read_sections
from pydantic import ValidationError
from safetensors.torch import load_file

FEW: dict[str, Any] = {
    "max_tokens": 64, "batch_examples": 8, "max_steps": 6, "held_out_share": 0.2, "samples": 2, "sample_tokens": 4,
}  # fmt: skip
ALL = {"learning_rate": 1e-3, "adapter": Full()}
CASES: dict[str, tuple[Any, SftConfig | DpoConfig]] = {
    "sft": ("llama", SftConfig(**FEW, learning_rate=1e-2, adapter=Lora(rank=2))),
    "sft-packed": ("mixtral", SftConfig(**FEW | {"batch_examples": 4}, **ALL, packing=True)),
    "sft-mixture": ("mixtral", SftConfig(**FEW, learning_rate=1e-2, adapter=Lora(rank=2, experts=True, router=True))),
    "dpo": ("llama", DpoConfig(**FEW, learning_rate=1e-2, adapter=Lora(rank=2))),
    "dpo-all": ("mixtral", DpoConfig(**FEW, **ALL, objective=Ddpo())),
}
TOO = pytest.mark.long
GRID = [
    ("sft", Copies()),
    ("dpo-all", Fsdp()),
    *(pytest.param(case, Copies(), marks=TOO) for case in CASES if case != "sft"),
    *(pytest.param(case, Fsdp(), marks=TOO) for case in CASES if case != "dpo-all"),
    pytest.param("dpo-all", Fsdp(gather_once=True), marks=TOO),
]


def two(sharding: Any, **changed: Any) -> AlignRun:
    return AlignRun(device="cpu", threads=1, ranks=2, sharding=sharding, **changed)


def inputs(case: str, make: Any, numerals: Any) -> tuple[Any, tuple[Any, ...]]:
    kind, config = CASES[case]
    if isinstance(config, SftConfig):
        return sft, (config, make.model(kind), make.dialogues(numerals))
    pairs = {id: (turns[:1], turns[1][1], "ひと") for id, turns in numerals.items()}
    return dpo, (config, make.model(kind), make.preferences(pairs))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for path in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(path).items()}


@pytest.mark.slow
@pytest.mark.parametrize(("case", "sharding"), GRID, ids=lambda given: getattr(given, "type", given))
def test_two_ranks_train_what_one_process_does(case, sharding, make, numerals, tmp_path: Path) -> None:
    stage, given = inputs(case, make, numerals)
    half = AlignRun(device="cpu", threads=1, micro_batch_examples=given[0].batch_examples // 2)
    alone, shared = stage(tmp_path / "alone", *given, run=half), stage(tmp_path / "shared", *given, run=two(sharding))
    ours, theirs = weights(shared.dir), weights(alone.dir)
    begun = weights(given[1].dir)
    assert ours.keys() == theirs.keys()
    if isinstance(given[0].adapter, Full):
        assert max((theirs[name] - begun[name]).abs().max().item() for name in theirs) > 1e-3, "it has learnt something"
    for name, weight in theirs.items():
        assert torch.allclose(ours[name], weight, atol=2e-5), name
    curves = [{curve.name: curve.points for curve in read_sections(made)[0].curves} for made in (alone, shared)]
    assert curves[0].keys() == curves[1].keys()
    for name in ("training loss", "held-out loss"):
        assert [y for _, y in curves[1][name]] == pytest.approx([y for _, y in curves[0][name]], abs=1e-4), name
    tables = [read_sections(made)[-1].tables for made in (alone, shared)]
    assert tables[0] == tables[1], "the answers before and after"


@TOO
@pytest.mark.parametrize("sharding", [Copies(), Fsdp()], ids=lambda given: given.type)
def test_a_killed_training_of_several_goes_on(sharding, make, numerals, tmp_path: Path) -> None:
    stage, given = inputs("dpo-all", make, numerals)
    run = two(sharding, save_every_steps=2)
    asked = [str(tmp_path / "killed"), given[0].model_dump_json(), run.model_dump_json()]
    process = subprocess.Popen([sys.executable, "-c", RUN, *asked, *(str(one.dir) for one in given[1:])])
    while not list(tmp_path.glob(".killed.*.scratch/trainer/checkpoint-4/complete")):
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed, whole = stage(tmp_path / "killed", *given, run=run), stage(tmp_path / "whole", *given, run=run)
    assert resumed.content == whole.content


RUN = """
import sys
from pathlib import Path
from bunbuku_align import AlignRun, DpoConfig, dpo
from bunbuku_contracts import Checkpoint, Preferences, load

out, config, run, base, data = sys.argv[1:]
given = DpoConfig.model_validate_json(config), load(Path(base), Checkpoint), load(Path(data), Preferences)
dpo(Path(out), *given, run=AlignRun.model_validate_json(run))
"""


@TOO
def test_what_a_rank_complains_of_is_said_and_nothing_is_published(make, numerals, tmp_path: Path) -> None:
    stage, (config, *given) = inputs("sft", make, numerals)
    wild = config.model_copy(update={"learning_rate": 1e30, "adapter": Full(), "gradient_clip": 1e30})
    with pytest.raises(BunbukuError, match="training diverged: the loss is nan at step") as said:
        stage(tmp_path / "out", wild, *given, run=two(Copies()))
    assert "learning_rate" in said.value.hint
    assert not (tmp_path / "out").exists()


def test_ranks_that_do_not_divide_a_batch_are_refused(make, numerals, tmp_path: Path) -> None:
    stage, (config, *given) = inputs("sft", make, numerals)
    with pytest.raises(BunbukuError, match="`batch_examples` 8 is not a multiple of `ranks` 3"):
        stage(tmp_path / "out", config, *given, run=AlignRun(device="cpu", ranks=3))
    with pytest.raises(BunbukuError, match=r"`batch_examples` 8 \(4 a rank\) is not a multiple"):
        stage(tmp_path / "out", config, *given, run=two(Copies(), micro_batch_examples=3))
    with pytest.raises(BunbukuError, match="`sharding` is deepspeed, and there is no GPU here"):
        stage(tmp_path / "out", config, *given, run=two(DeepSpeed()))
    with pytest.raises(ValidationError, match="`sharding` fsdp divides a model over ranks, and `ranks` is 1"):
        AlignRun(sharding=Fsdp())
