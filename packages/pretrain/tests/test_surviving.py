"""Real runs, hurt by real means: signals, damaged files, weights that are not numbers."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Tokenizer, Tokens, Unfinished, read_sections
from bunbuku_pretrain import AdamW, TrainRun, train
from bunbuku_pretrain.detours import read_skips, skips_file
from bunbuku_pretrain.job import read_state
from bunbuku_pretrain.observations import Event, events_file, read
from bunbuku_pretrain.pulses import read_pulses
from bunbuku_pretrain.spikes import RollBack, Skip
from safetensors.torch import load_file, save_file

SCRIPT = (
    "import sys; from pathlib import Path; from bunbuku_contracts import load, Tokenizer, Tokens, BunbukuError;"
    "from bunbuku_pretrain import train, TrainConfig, TrainRun; a = sys.argv\n"
    "try: train(Path(a[1]), TrainConfig.model_validate_json(Path(a[2]).read_bytes()), load(Path(a[4]), Tokens),"
    " load(Path(a[5]), Tokenizer), run=TrainRun.model_validate_json(Path(a[3]).read_bytes()))\n"
    "except BunbukuError as error: print(error, error.hint); sys.exit(error.status)"
)


def scratch(out: Path) -> Path:
    return next(out.parent.glob(f".{out.name}.*.scratch"))


def lines(out: Path) -> int:
    found = list(out.parent.glob(f".{out.name}.*.scratch/history.jsonl"))
    return found[0].read_text().count("\n") if found else 0


def of_note(out: Path) -> list[Event]:
    """What happened to a run, without milestones and slow steps, of which a busy machine has some."""
    kinds = {"start", "restart", "failure", "damaged"}
    return [event for event in read(Event, events_file(scratch(out))) if event.kind in kinds]


def until(so: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def apart(out: Path, config: object, run: TrainRun, *inputs: Artifact) -> subprocess.Popen[str]:
    """The same training in a process of its own."""
    paths = [out.with_suffix(".config.json"), out.with_suffix(".run.json")]
    for path, model in zip(paths, (config, run), strict=True):
        path.write_text(model.model_dump_json())  # type: ignore[attr-defined]
    command = [sys.executable, "-c", SCRIPT, *map(str, (out, *paths, *(one.dir for one in inputs)))]
    return subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def curve(artifact: Artifact[Checkpoint], name: str = "training loss") -> list[tuple[float, float]]:
    return next(list(one.points) for one in read_sections(artifact)[0].curves if one.name == name)


@pytest.mark.slow
def test_a_run_that_is_terminated_saves_and_a_damaged_state_costs_only_the_steps_since_the_one_before(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    dense: Artifact[Checkpoint],
    tiny: SimpleNamespace,
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = tmp_path / "terminated"
    process = apart(out, tiny.dense, tiny.laptop, tokens, tokenizer)
    # By now there is a state, after step 10; the more steps are left, the longer a busy machine may take to stop it.
    until(lambda: lines(out) >= 12 or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert "stopped by SIGTERM after step" in said
    states = sorted((scratch(out) / "states").glob("step-*"))
    assert read_state(states[-1]).step == lines(out) - 1
    largest = max(states[-1].glob("*.distcp"), key=lambda path: path.stat().st_size)
    with largest.open("r+b") as file:
        file.seek(largest.stat().st_size // 2)
        file.write(b"\xff" * 64)
    with pytest.raises(Unfinished):  # stopped once more, so that what the ranks wrote can be looked at
        train(out, tiny.dense, tokens, tokenizer, run=tiny.laptop.model_copy(update={"time_limit_seconds": 0.01}))
    events = of_note(out)
    assert [event.kind for event in events][:3] == ["start", "damaged", "restart"]
    assert f"{largest.name} is not what was written" in events[1].text
    assert events[2].step == read_state(states[-2]).step
    assert train(out, tiny.dense, tokens, tokenizer, run=tiny.laptop).content == dense.content


@pytest.mark.slow
def test_a_rank_that_is_killed_is_started_again_and_nobody_notices(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    dense: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    out = tmp_path / "survivor"
    told: list[Event] = []

    def hurt() -> None:
        until(lambda: lines(out) >= 25)
        os.kill(read_pulses(scratch(out))[0].pid, signal.SIGKILL)
        until(lambda: len(of_note(out)) >= 3)
        told.extend(of_note(out))

    thread = threading.Thread(target=hurt)
    thread.start()
    made = train(out, tiny.dense, tokens, tokenizer, run=tiny.laptop.model_copy(update={"restart_delay_seconds": 0.1}))
    thread.join()
    assert made.content == dense.content
    assert [event.kind for event in told] == ["start", "failure", "restart"]
    assert told[1].text.startswith("rank 0 of 1 was killed by signal 9: restart 1 of 3 in 0.1 s")
    assert told[2].step in (10, 20)


@pytest.mark.slow
def test_a_publisher_that_is_killed_alone_leaves_no_second_writer(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    dense: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    out = tmp_path / "orphans"
    process = apart(out, tiny.dense, tiny.laptop, tokens, tokenizer)
    until(lambda: lines(out) >= 25 or process.poll() is not None)
    (orphan,) = read_pulses(scratch(out))
    process.kill()  # the publisher, not its rank
    process.communicate()
    made = train(out, tiny.dense, tokens, tokenizer, run=tiny.laptop)
    assert made.content == dense.content
    with pytest.raises(ProcessLookupError):
        os.kill(orphan.pid, 0)


@pytest.mark.slow
def test_a_weight_that_is_not_a_number_is_named_with_its_layer_and_the_text_is_kept(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    tiny: SimpleNamespace,
) -> None:
    architecture = tiny.small(tokenizer.spec.vocab_size)
    start = tiny.make_model(tmp_path / "start", tiny.model_config(architecture=architecture), tokenizer)
    tensors = load_file(start.dir / "model.safetensors")
    tensors["model.layers.1.mlp.down_proj.weight"][3, 5] = torch.nan
    save_file(tensors, start.dir / "model.safetensors", metadata={"format": "pt"})
    config = tiny.config(steps=4, model=None).model_copy(update={"optimizer": AdamW(learning_rate=1e-3)})
    with pytest.raises(BunbukuError, match=r"the loss of step 1 is nan \(sequences 0 to 7, learning rate") as caught:
        train(tmp_path / "out", config, tokens, tokenizer, start, run=tiny.laptop)
    told = "the weight of decoder.layers.1.mlp.linear_fc2.weight (layer 2) is not finite on rank 0, stage 0"
    assert told in str(caught.value)
    (folder,) = tmp_path.glob(".out.*.draft/log/bad-step-00000001")
    saved = json.loads((folder / "rank-0-micro-batch-0.json").read_text())
    assert np.array(saved["tokens"]).shape == (4, 32)
    assert (saved["step"], saved["micro_batch"], saved["samples"][0]) == (1, 0, [0, 3])
    assert saved["found"][0]["layer"] == 2


@pytest.mark.slow
def test_skipped_steps_leave_exactly_their_text_behind(
    tmp_path: Path, tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace
) -> None:
    config = tiny.config(steps=6)
    skipping = train(
        tmp_path / "skipping",
        config.model_copy(update={"skip_steps": ((1, 3), (5, 5))}),
        tokens,
        tokenizer,
        run=tiny.laptop,
    )
    still = config.model_copy(update={"optimizer": AdamW(learning_rate=1e-30)})
    standing = train(tmp_path / "standing", still, tokens, tokenizer, run=tiny.laptop)
    found = dict(curve(skipping))
    assert sorted(found) == [4 * 256, 6 * 256]
    assert found[4 * 256] == dict(curve(standing))[4 * 256]  # the fourth batch, with the first weights


NERVOUS = {"window_steps": 30, "sigmas": 2.0, "watches": ("gradient_norm",), "sides": "both", "most_in_a_row": 100}


@pytest.mark.slow
def test_a_run_that_rolled_back_is_one_that_never_saw_those_steps(
    tmp_path: Path, tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace
) -> None:
    plain = tiny.config(steps=50)
    config = plain.model_copy(update={"spikes": RollBack(**NERVOUS, back_steps=3)})
    out = tmp_path / "back"
    kept: list[tuple[int, int]] = []

    def look() -> None:  # what the run writes is gone when it is published
        until(lambda: lines(out) > 0)
        path = skips_file(scratch(out))
        while path.parent.is_dir():
            kept[:] = [(one.first_step, one.last_step) for one in read_skips(path.parent)] or kept
            time.sleep(0.01)

    thread = threading.Thread(target=look)
    thread.start()
    back = train(out, config, tokens, tokenizer, run=tiny.laptop)
    thread.join()
    assert kept, "nothing was nervous enough to roll back"
    never = train(
        tmp_path / "never", plain.model_copy(update={"skip_steps": tuple(kept)}), tokens, tokenizer, run=tiny.laptop
    )
    assert curve(back) == curve(never)
    assert len(curve(back)) == 50 - sum(last - first + 1 for first, last in kept)


@pytest.mark.long
def test_a_policy_decides_alike_after_a_restart(
    tmp_path: Path, tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace
) -> None:
    config = tiny.config(steps=50).model_copy(update={"spikes": Skip(**NERVOUS)})
    whole = train(tmp_path / "whole", config, tokens, tokenizer, run=tiny.laptop)
    assert read_state(whole.dir).memory.bad
    out = tmp_path / "again"
    process = apart(out, config, tiny.laptop, tokens, tokenizer)
    until(lambda: lines(out) >= 33 or process.poll() is not None)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    again = train(out, config, tokens, tokenizer, run=tiny.laptop)
    assert again.content == whole.content
