"""A number that is none, on one rank of several: who had it, where, in what text; and the others never get it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Tokenizer, Tokens, read_sections
from bunbuku_pretrain import TrainRun, train
from bunbuku_pretrain.observations import Event, read
from bunbuku_pretrain.spikes import RollBack

# Run by every Python that finds it: what a broken memory cell or a broken kernel does to one rank in one step. A `weight`
# stays as it is; a `gradient` is infinite behind a module, in so many backward passes.
BROKEN_MACHINE = """
import json, os, pathlib, sys, threading, time

FAULTS = json.loads(os.environ["FAULTS"])

def hurt(trainer, fault):
    if fault["what"] == "weight":
        dict(trainer.weights.named_parameters())[fault["where"]].data.view(-1)[0] = float("nan")
        return None
    left = [fault["times"]]
    def infinite(gradient):
        left[0] -= 1
        return gradient * float("inf") if left[0] >= 0 else gradient
    def look(module, inputs, output):
        if output[0].requires_grad:
            output[0].register_hook(infinite)
    return trainer.weights.get_submodule(fault["where"]).register_forward_hook(look)

def work():
    while not hasattr(sys.modules.get("bunbuku_pretrain.mcore.loop"), "Trainer"):
        time.sleep(0.001)
    trainer = sys.modules["bunbuku_pretrain.mcore.loop"].Trainer
    step = trainer.train_step

    def broken(self):
        fault, mark = FAULTS.get(str(self.step + 1)), pathlib.Path(os.environ["MARKS"], str(self.step + 1))
        if fault is None or os.environ["RANK"] != "1" or mark.exists():
            return step(self)
        mark.touch()
        handle = hurt(self, fault)
        try:
            return step(self)
        finally:
            handle and handle.remove()

    trainer.train_step = broken

if "RANK" in os.environ:
    threading.Thread(target=work, daemon=True).start()
"""


@pytest.fixture
def breaking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has the ranks started from now on break: what happens to rank 1, by step."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "marks").mkdir()
    (tmp_path / "broken" / "sitecustomize.py").write_text(BROKEN_MACHINE)

    def breaks(faults: dict[int, dict[str, Any]]) -> None:
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'broken'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        monkeypatch.setenv("FAULTS", json.dumps(faults))
        monkeypatch.setenv("MARKS", str(tmp_path / "marks"))

    return breaks


def curve(artifact: Artifact[Checkpoint]) -> list[tuple[float, float]]:
    return next(list(one.points) for one in read_sections(artifact)[0].curves if one.name == "training loss")


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_what_breaks_on_one_of_two_ranks_is_told_and_kept_from_the_other(
    tmp_path: Path, tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace, breaking: Any
) -> None:
    """A passing fault, a gradient that is infinite whenever it is computed, and a weight that is none, in one run."""
    config = tiny.config(steps=10)
    run = TrainRun(ranks=2, micro_batch_sequences=2)
    alone = config.model_copy(update={"skip_steps": ((3, 3), (5, 5), (8, 8))})
    never = train(tmp_path / "never", alone, tokens, tokenizer, run=run)
    behind, inside = "decoder.layers.0.mlp.linear_fc1", "decoder.layers.1.mlp.linear_fc2.weight"
    breaking(
        {
            3: {"what": "gradient", "where": behind, "times": 1},
            5: {"what": "gradient", "where": behind, "times": 1000},
            8: {"what": "weight", "where": inside},
        }
    )
    policy = RollBack(back_steps=1, sigmas=1e9, most_in_a_row=100)
    made = train(tmp_path / "broken-run", config.model_copy(update={"spikes": policy}), tokens, tokenizer, run=run)
    told = {one.step: one.text for one in read(Event, made.dir / "log" / "events.jsonl") if one.kind == "nan"}
    assert sorted(told) == [3, 5, 8]
    assert "seen on rank 1 and not again when computed anew, so a fault of that machine" in told[3]
    assert f"the gradient of {behind}.weight (layer 1) is not finite on rank 1, stage 0, in micro-batch 0" in told[5]
    assert f"the weight of {inside} (layer 2) is not finite on rank 1, stage 0, in micro-batch 0" in told[8]
    assert all("the loss of step 3 is finite, and its gradient is not" in told[step] for step in (3,))
    for step in told:
        kept = sorted((made.dir / "log" / f"bad-step-{step:08d}").iterdir())
        assert [path.name for path in kept] == ["rank-1-micro-batch-0.json", "rank-1-micro-batch-1.json"]
        saved = json.loads(kept[1].read_text())
        assert (saved["rank"], saved["micro_batch"], saved["step"]) == (1, 1, step)
        first = (
            8 * (step - 1) + 6
        )  # of eight sequences of a step, the second micro-batch of the second rank has the last two
        assert saved["samples"][1] == [first, first + 1]
        assert len(saved["tokens"]) == 2
    assert curve(made) == curve(never)  # to the bit: nothing of it got into the weights or moments of either rank


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_weight_of_the_second_stage_is_told_as_of_that_stage(
    tmp_path: Path, tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace, breaking: Any
) -> None:
    where = "decoder.layers.0.self_attention.linear_proj.weight"  # the first of its stage, the second of the model
    breaking({3: {"what": "weight", "where": where}})
    run = TrainRun(ranks=2, pipeline_parallel=2, micro_batch_sequences=4)
    with pytest.raises(BunbukuError, match="the loss of step 3 is nan") as caught:
        train(tmp_path / "out", tiny.config(steps=4), tokens, tokenizer, run=run)
    told = f"the weight of {where} (layer 2) is not finite on rank 1, stage 1, in micro-batch 0"
    assert told in str(caught.value)
    (folder,) = tmp_path.glob(".out.*.draft/log/bad-step-00000003")
    ranks = {re.match(r"rank-(\d)", path.name)[1] for path in folder.iterdir()}  # type: ignore[index]
    assert "1" in ranks
    saved = json.loads((folder / "rank-1-micro-batch-0.json").read_text())
    assert saved["found"][0] == {
        "rank": 1, "stage": 1, "micro_batch": 0, "what": "weight", "where": where, "layer": 2
    }  # fmt: skip


GRADIENTS = """
import torch
from types import SimpleNamespace
from bunbuku_pretrain.mcore.finite import is_finite

def seen(*gradients):
    held = [SimpleNamespace(grad_data=one) for one in gradients]
    return is_finite(SimpleNamespace(buffers=held[:1], expert_parallel_buffers=held[1:]))

large = torch.full((1000,), 3e38)  # their sum is infinite, and none of them is
assert large.sum().isinf() and seen(large) and seen(torch.ones(3), -large) and seen()
assert seen(torch.zeros(0), torch.ones(3))
for bad in (float("nan"), float("inf"), -float("inf")):
    hurt = large.clone()
    hurt[500] = bad
    assert not seen(hurt) and not seen(torch.ones(3), hurt)
assert not seen(torch.tensor([float("inf"), -float("inf"), 1.0]))
"""


def test_a_large_gradient_is_not_taken_for_one_that_is_no_number() -> None:
    done = subprocess.run([sys.executable, "-c", GRADIENTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
