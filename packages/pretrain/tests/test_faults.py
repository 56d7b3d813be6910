"""Faults that take long to be seen: a hung rank, a dead node, a slow network, twenty kills. By hand."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Tokenizer, Tokens, Unfinished, read_sections
from bunbuku_pretrain import TrainRun, train
from bunbuku_pretrain.launching import Elastic
from bunbuku_pretrain.observations import Event, read
from bunbuku_pretrain.pulses import read_pulses

pytestmark = pytest.mark.long


def scratch(out: Path) -> Path:
    return next(out.parent.glob(f".{out.name}.*.scratch"))


def lines(out: Path) -> int:
    found = list(out.parent.glob(f".{out.name}.*.scratch/history.jsonl"))
    return found[0].read_text().count("\n") if found else 0


def events(out: Path) -> list[Event]:
    return read(Event, out / "log" / "events.jsonl")


def later(lines_written: int, out: Path, hurt) -> threading.Thread:
    def work() -> None:
        deadline = time.monotonic() + 200
        while lines(out) < lines_written and time.monotonic() < deadline:
            time.sleep(0.01)
        hurt()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def curve(artifact: Artifact[Checkpoint]) -> list[float]:
    return next([y for _, y in one.points] for one in read_sections(artifact)[0].curves if one.name == "training loss")


def test_a_rank_that_hangs_is_seen_its_peer_says_where_and_the_run_goes_on(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    dense: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    out = tmp_path / "hung"
    run = TrainRun(ranks=2, micro_batch_sequences=4, checkpoint_interval_steps=10, step_timeout_seconds=8)
    thread = later(25, out, lambda: os.kill(read_pulses(scratch(out))[1].pid, signal.SIGSTOP))
    made = train(out, tiny.dense, tokens, tokenizer, run=run)
    thread.join()
    told = [event for event in events(out) if event.kind == "failure"]
    assert len(told) == 1
    assert "2 of 2 ranks say nothing any more" in told[0].text
    assert "; rank 1 is in state 'stopped'" in told[0].text
    assert "all_reduce" in (out / "log" / "rank-0.log").read_text()  # the stack of the one that waited
    assert max(abs(a - b) for a, b in zip(curve(made)[:20], curve(dense)[:20], strict=True)) < 1e-5


def test_when_a_node_is_lost_the_others_go_on(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    dense: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    """Two agents with two host names, one of them killed with all it started."""
    out = tmp_path / "elastic"
    agents = tuple(f"{{agent}} --host {name} --address 127.0.0.1" for name in ("first", "second"))
    launcher = Elastic(agents=agents, least_nodes=1, most_nodes=2, join_seconds=5, address="127.0.0.1")
    run = TrainRun(ranks=2, launcher=launcher, micro_batch_sequences=4, checkpoint_interval_steps=10)

    def lose() -> None:
        pulse = next(one for one in read_pulses(scratch(out)) if one.host == "second")
        agent = int(Path(f"/proc/{pulse.pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(agent, signal.SIGKILL)

    thread = later(25, out, lose)
    made = train(out, tiny.dense, tokens, tokenizer, run=run)
    thread.join()
    told = [event.text for event in events(out) if event.kind in ("start", "restart")]
    assert told[0].startswith("2 rank(s), from the beginning")
    assert told[-1].startswith("1 rank(s), from the state after step")
    assert max(abs(a - b) for a, b in zip(curve(made)[:20], curve(dense)[:20], strict=True)) < 1e-5


def test_a_network_slower_than_expected_is_refused_before_the_first_step(
    tmp_path: Path, tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace
) -> None:
    run = TrainRun(ranks=2, micro_batch_sequences=4, expected_bandwidth_gb=1e6)
    with pytest.raises(BunbukuError, match=r"2 ranks add up .* GB a second, `expected_bandwidth_gb` is 1e\+06"):
        train(tmp_path / "slow", tiny.dense, tokens, tokenizer, run=run)
    assert lines(tmp_path / "slow") == 0


def test_twenty_kills_at_any_moment_end_in_the_same_bytes(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    dense: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    """In a step, in a save, while it starts: losses, weights and optimizer are those of the run that was left alone."""
    out, chance = tmp_path / "killed", random.Random(11)
    settings = tiny.laptop.model_copy(update={"checkpoint_interval_steps": 3})
    paths = [tmp_path / "config.json", tmp_path / "run.json"]
    for path, model in zip(paths, (tiny.dense, settings), strict=True):
        path.write_text(model.model_dump_json())
    script = (
        "import sys; from pathlib import Path; from bunbuku_contracts import load, Tokenizer, Tokens;"
        "from bunbuku_pretrain import train, TrainConfig, TrainRun; a = sys.argv;"
        "train(Path(a[1]), TrainConfig.model_validate_json(Path(a[2]).read_bytes()), load(Path(a[4]), Tokens),"
        " load(Path(a[5]), Tokenizer), run=TrainRun.model_validate_json(Path(a[3]).read_bytes()))"
    )
    command = [sys.executable, "-c", script, *map(str, (out, *paths, tokens.dir, tokenizer.dir))]
    kills = 0
    for number in range(20):
        process = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wanted = min(58, lines(out) + chance.randint(1, 5)) if number % 4 else 0
        deadline = time.monotonic() + (60 if wanted else chance.uniform(1, 12))
        while process.poll() is None and time.monotonic() < deadline and not (wanted and lines(out) >= wanted):
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.05))
        if process.poll() is None:
            kills += 1
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if out.exists():
            break
    made = train(out, tiny.dense, tokens, tokenizer, run=settings)
    assert kills >= 10
    assert made.content == dense.content


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"ranks": 2, "tensor_parallel": 2}),
        ({"ranks": 2, "pipeline_parallel": 2}, {}),
        ({"ranks": 2, "distributed_optimizer": True}, {"distributed_optimizer": True}),
    ],
    ids=["tensor 1 to 2", "pipeline 2 to 1", "data 2 to 1"],
)
def test_a_state_goes_on_under_another_layout(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    tiny: SimpleNamespace,
    before: dict,
    after: dict,
) -> None:
    """The loss after the change is that of a run without one: weights and moments came over."""
    config = tiny.config(steps=3)
    run = TrainRun(micro_batch_sequences=4, **before)
    for name in ("same", "other"):
        with pytest.raises(Unfinished, match="after step 1 of 3"):
            train(tmp_path / name, config, tokens, tokenizer, run=run.model_copy(update={"time_limit_seconds": 0.01}))
    same = train(tmp_path / "same", config, tokens, tokenizer, run=run)
    other = train(tmp_path / "other", config, tokens, tokenizer, run=TrainRun(micro_batch_sequences=4, **after))
    assert max(abs(a - b) for a, b in zip(curve(same), curve(other), strict=True)) < 2e-6
