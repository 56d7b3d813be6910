"""A training that is killed and goes on ends in the same bytes as one that was left alone, whatever is trained.

Here a process kills itself between two states, with no time to tidy up; in `test_stages` one is killed from outside.
"""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bunbuku_align import AlignRun, Cdpo, Ddpo, DpoConfig, Full, Ipo, Kto, Lora, Orpo, SftConfig, Simpo, dpo, sft

OFTEN = AlignRun(device="cpu", threads=1, save_every_steps=2)
FEW: dict[str, Any] = {"max_tokens": 64, "batch_examples": 8, "max_steps": 8, "samples": 0, "held_out_share": 0.2}
EVERYWHERE = Lora(rank=2, alpha=4, experts=True, router=True)
SMALL, NOISY = Lora(rank=2), Lora(rank=2, dropout=0.1)
CASES = {
    "sft": ("llama", SftConfig(**FEW, adapter=SMALL)),
    "sft-full": ("llama", SftConfig(**FEW, learning_rate=1e-3, adapter=Full())),
    "sft-noisy": ("llama", SftConfig(**FEW, adapter=NOISY, packing=True, neftune_alpha=5)),
    "sft-mixture": ("mixtral", SftConfig(**FEW, adapter=EVERYWHERE)),
    "sft-mixture-full": ("mixtral", SftConfig(**FEW, learning_rate=1e-3, adapter=Full())),
    "dpo": ("llama", DpoConfig(**FEW, adapter=SMALL)),
    "dpo-full": ("llama", DpoConfig(**FEW, learning_rate=1e-3, adapter=Full())),
    "dpo-mixture": ("mixtral", DpoConfig(**FEW, objective=Cdpo(), adapter=EVERYWHERE)),
    "dpo-mixture-full": ("mixtral", DpoConfig(**FEW, learning_rate=1e-3, adapter=Full())),
    "ddpo": ("llama", DpoConfig(**FEW, objective=Ddpo(), adapter=SMALL)),
    "ipo": ("llama", DpoConfig(**FEW, objective=Ipo(), adapter=SMALL)),
    "kto": ("llama", DpoConfig(**FEW, objective=Kto(), adapter=SMALL)),
    "simpo": ("llama", DpoConfig(**FEW, objective=Simpo(), adapter=SMALL)),
    "orpo": ("llama", DpoConfig(**FEW, objective=Orpo(), adapter=SMALL)),
}
SHORT = ("dpo", "sft-mixture-full")
"""What the default run tries."""
DIES = """
import os, signal, sys
from pathlib import Path
from bunbuku_align import AlignRun, DpoConfig, SftConfig, dpo, sft, watch
from bunbuku_contracts import Checkpoint, Dialogues, Preferences, load

usual = watch.Watch.on_step_end

def on_step_end(self, args, state, control, **given):
    usual(self, args, state, control, **given)
    if state.global_step == 5:
        os.kill(os.getpid(), signal.SIGKILL)

watch.Watch.on_step_end = on_step_end
name, config, run, base, data = sys.argv[1:]
stage, kind, of = (sft, SftConfig, Dialogues) if name == "sft" else (dpo, DpoConfig, Preferences)
given = kind.model_validate_json(config), load(Path(base), Checkpoint), load(Path(data), of)
stage(Path("killed"), *given, run=AlignRun.model_validate_json(run))
"""


@pytest.mark.parametrize(
    "case", [name if name in SHORT else pytest.param(name, marks=pytest.mark.long) for name in CASES]
)
def test_a_training_that_was_killed_ends_in_the_same_bytes(case, make, numerals, tmp_path: Path) -> None:
    kind, config = CASES[case]
    base = make.model(kind)
    stage: Any = sft if isinstance(config, SftConfig) else dpo
    pairs = {id: (turns[:1], turns[1][1], "ひと") for id, turns in numerals.items()}
    data = make.dialogues(numerals) if stage is sft else make.preferences(pairs)
    asked = [config.model_dump_json(), OFTEN.model_dump_json(), str(base.dir), str(data.dir)]
    command = [sys.executable, "-c", DIES, "sft" if stage is sft else "dpo", *asked]
    died = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr[-2000:]
    whole_states = sorted(path.parent.name for path in tmp_path.glob(".killed.*.scratch/trainer/checkpoint-*/complete"))
    assert whole_states == ["checkpoint-2", "checkpoint-4"]
    resumed = stage(tmp_path / "killed", config, base, data, run=OFTEN)
    whole = stage(tmp_path / "whole", config, base, data, run=OFTEN)
    assert resumed.content == whole.content
    for metric in ("held_out.loss.end", "loss.end"):
        assert resumed.manifest.metrics[metric] == whole.manifest.metrics[metric]
