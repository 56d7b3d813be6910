"""A model in this process that hangs: the process ends, what was finished is kept, and the next one asks only for the rest (S9)."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bunbuku_inference import Request, Sampling, TransformersEngine, open_model
from bunbuku_inference.watchdog import Watchdog

ASKED = [Request(prompt=f"昔々、{number}", sampling=Sampling(max_tokens=6)) for number in range(6)]
HANGING = """
import sys, threading
from pathlib import Path
import torch
from bunbuku_inference import Request, TransformersEngine, open_model

calls = 0
def forward_hook(module, *_):
    global calls
    calls += 1
    if calls > int(sys.argv[3]):
        threading.Event().wait()  # as a computation that never comes back

torch.nn.modules.module.register_module_forward_pre_hook(
    lambda module, _: forward_hook(module) if module.__class__.__name__ == "LlamaModel" else None
)
asked = [Request.model_validate_json(line) for line in Path(sys.argv[2]).read_text().splitlines()]
engine = TransformersEngine(threads=1, device="cpu", batch_size=2, hangs_after_seconds=30)
with open_model(engine, Path(sys.argv[1]), cache=Path("kept.sqlite")) as model:
    model.generate(asked)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hanging_model_ends_the_process_and_the_next_one_goes_on(tmp_path: Path, checkpoint: Path):
    (tmp_path / "asked.jsonl").write_text("\n".join(one.model_dump_json() for one in ASKED))
    command = [sys.executable, "-c", HANGING, str(checkpoint), "asked.jsonl", "8"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=800, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 75, done.stderr
    assert "has not written a token for 30 s, and hangs" in done.stderr and "forward_hook" in done.stderr
    assert "hint:  the same command goes on" in done.stderr
    with open_model(TransformersEngine(threads=1, device="cpu", batch_size=2), checkpoint) as model:
        alone = model.generate(ASKED)
    with open_model(
        TransformersEngine(threads=1, device="cpu", batch_size=2), checkpoint, cache=tmp_path / "kept.sqlite"
    ) as model:
        assert model.generate(ASKED) == alone
        assert 2 <= model.meter.cached < 6  # whole batches, and not the one that hung


def test_nobody_is_ended_who_moves_or_whom_nobody_waits_for(monkeypatch: pytest.MonkeyPatch):
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    watchdog = Watchdog(1.0, name="x")
    with watchdog:
        for _ in range(8):
            time.sleep(0.2)
            watchdog.alive()
    time.sleep(1.5)
    assert ended == []
    never = Watchdog(None, name="x")
    with never:
        assert never._thread is None
    with watchdog:
        time.sleep(2.5)
    watchdog.close()
    assert ended and set(ended) == {75}
