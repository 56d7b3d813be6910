"""Faults that take long to be seen: a hung rank, a dead node, a slow network. By hand."""

import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Tokenizer, Tokens, read_sections
from bunbuku_pretrain import TrainRun, train
from bunbuku_pretrain.launching import Elastic
from bunbuku_pretrain.observations import Event, read
from bunbuku_pretrain.pulses import read_pulses

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


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
    assert max(abs(a - b) for a, b in zip(curve(made), curve(dense), strict=True)) < 1e-5


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
        os.kill(agent_of("second", out), signal.SIGKILL)

    thread = later(25, out, lose)
    made = train(out, tiny.dense, tokens, tokenizer, run=run)
    thread.join()
    told = [event.text for event in events(out) if event.kind in ("start", "restart")]
    assert told[0].startswith("2 rank(s), from the beginning")
    assert told[-1].startswith("1 rank(s), from the state after step")
    assert max(abs(a - b) for a, b in zip(curve(made), curve(dense), strict=True)) < 1e-5


def agent_of(host: str, out: Path) -> int:
    """Process id of the agent of a host that has a rank."""
    pulse = next(one for one in read_pulses(scratch(out)) if one.host == host)
    return int(Path(f"/proc/{pulse.pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_spare_takes_the_place_of_a_node_that_is_lost(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    dense: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    """Three agents for two nodes: the one that waits joins when another is killed."""
    out = tmp_path / "spare"
    agents = tuple(f"{{agent}} --host {name} --address 127.0.0.1" for name in ("first", "second", "third"))
    launcher = Elastic(agents=agents, least_nodes=2, most_nodes=2, join_seconds=5, address="127.0.0.1")
    run = TrainRun(ranks=2, launcher=launcher, micro_batch_sequences=4, checkpoint_interval_steps=10)
    before: set[str] = set()
    after: set[str] = set()

    def lose() -> None:
        before.update(one.host for one in read_pulses(scratch(out)))
        os.kill(agent_of(sorted(before)[0], out), signal.SIGKILL)
        while out.parent.glob(f".{out.name}.*.scratch") and lines(out):
            if (now := {one.host for one in read_pulses(scratch(out))}) != before:
                after.update(now)
            time.sleep(0.1)

    thread = later(25, out, lose)
    made = train(out, tiny.dense, tokens, tokenizer, run=run)
    thread.join()
    told = [event.text for event in events(out) if event.kind in ("start", "restart")]
    assert told[0].startswith("2 rank(s), from the beginning")
    assert told[-1].startswith("2 rank(s), from the state after step")
    assert len(before) == 2
    assert {"first", "second", "third"} - before <= after
    assert max(abs(a - b) for a, b in zip(curve(made), curve(dense), strict=True)) < 1e-5


def test_a_host_whose_rank_hangs_twice_is_left_out(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    dense: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    out = tmp_path / "blamed"
    agents = tuple(f"{{agent}} --host {name} --address 127.0.0.1" for name in ("first", "second"))
    launcher = Elastic(agents=agents, least_nodes=1, most_nodes=2, join_seconds=20, address="127.0.0.1")
    run = TrainRun(
        ranks=2, launcher=launcher, micro_batch_sequences=4, checkpoint_interval_steps=10, step_timeout_seconds=10
    )
    stopped: list[int] = []

    def stop() -> None:
        """Stop the rank on the second host, and the one that is started in its place."""
        while len(stopped) < 2 and not out.exists():
            found = [one for one in read_pulses(scratch(out)) if one.host == "second" and one.doing == "step"]
            if found and found[0].pid not in stopped and found[0].step > 5:
                os.kill(found[0].pid, signal.SIGSTOP)
                stopped.append(found[0].pid)
            time.sleep(0.05)

    thread = later(12, out, stop)
    made = train(out, tiny.dense, tokens, tokenizer, run=run)
    thread.join()
    assert len(stopped) == 2
    told = [event.text for event in events(out) if event.kind == "host"]
    assert told == ["ranks on second died or hung 2 times: no rank is started there any more"]
    starts = [event.text for event in events(out) if event.kind in ("start", "restart")]
    assert starts[-1].startswith("1 rank(s), from the state after step")
    assert "second is among the excluded hosts" in (out / "log" / "agent-1.log").read_text()
    assert max(abs(a - b) for a, b in zip(curve(made), curve(dense), strict=True)) < 1e-5


def test_a_network_slower_than_expected_is_refused_before_the_first_step(
    tmp_path: Path, tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace
) -> None:
    run = TrainRun(ranks=2, micro_batch_sequences=4, expected_bandwidth_gb=1e6)
    with pytest.raises(BunbukuError, match=r"2 ranks add up .* GB a second, `expected_bandwidth_gb` is 1e\+06"):
        train(tmp_path / "slow", tiny.dense, tokens, tokenizer, run=run)
    assert lines(tmp_path / "slow") == 0
