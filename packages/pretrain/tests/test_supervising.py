import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from bunbuku_contracts import BunbukuError
from bunbuku_contracts.launch import Process, Srun
from bunbuku_pretrain import TrainRun
from bunbuku_pretrain.agent import MODULES, options
from bunbuku_pretrain.blame import blame, culprit, excluded, without
from bunbuku_pretrain.detours import Detour
from bunbuku_pretrain.job import StepRecord, TrainState
from bunbuku_pretrain.launching import AnyLauncher, Elastic, has_resiliency
from bunbuku_pretrain.pulses import Heart, Pulse, ask_to_stop, asked_to_stop, forget_pulses, read_pulses
from bunbuku_pretrain.states import damage, drop_given_up, retained, seal
from bunbuku_pretrain.supervising import Pace, Restarts, Watchdog
from hypothesis import given
from hypothesis import strategies as st


def died(what: str = "rank 1 of 2 was killed by signal 9:\n(it said nothing)") -> BunbukuError:
    return BunbukuError(what, hint="the whole log: rank-1.log")


def test_each_restart_waits_twice_as_long_until_there_were_too_many() -> None:
    restarts = Restarts(TrainRun(restarts=3, restart_delay_seconds=2))
    assert [restarts.after(died(), step=step, now=100.0) for step in (5, 5, 6)] == [2, 4, 8]
    with pytest.raises(BunbukuError, match=r"failed 4 times within 3600 s, now after step 7: rank 1 of 2 was killed"):
        restarts.after(died(), step=7, now=101.0)


def test_restarts_long_ago_do_not_count() -> None:
    restarts = Restarts(TrainRun(restarts=1, restart_window_seconds=60, restart_delay_seconds=1))
    assert restarts.after(died(), step=1, now=0) == 1
    assert restarts.after(died(), step=2, now=61) == 1


def test_the_same_failure_at_the_same_step_is_no_accident() -> None:
    restarts = Restarts(TrainRun(restarts=9))
    failure = "rank 0 of 1 ended with status 1:\nTraceback\nRuntimeError: out of memory at 0x{}"
    restarts.after(died(failure.format("7f01")), step=12, now=0)
    restarts.after(died(failure.format("7f02")), step=13, now=0)
    with pytest.raises(BunbukuError, match="failed twice in the same way after step 13") as caught:
        restarts.after(died(failure.format("7f03")), step=13, now=0)
    assert "no accident" in caught.value.hint


def test_without_restarts_a_failure_is_told_as_it_is() -> None:
    failure = died()
    with pytest.raises(BunbukuError) as caught:
        Restarts(TrainRun(restarts=0)).after(failure, step=1, now=0)
    assert caught.value is failure


def pulse(rank: int, step: int, age: float, doing: str = "step") -> Pulse:
    return Pulse.model_validate(
        {"rank": rank, "host": f"n{rank}", "pid": 1, "doing": doing, "step": step, "time": 1000 - age}
    )


def test_the_rank_that_stopped_first_is_named_not_those_that_wait_for_it() -> None:
    watchdog = Watchdog(TrainRun(step_timeout_seconds=60, save_timeout_seconds=300))
    assert not watchdog.silent([pulse(0, 7, 59), pulse(1, 7, 200, "save")], now=1000)
    told = watchdog.silent([pulse(0, 8, 61), pulse(1, 7, 90), pulse(2, 8, 62)], now=1000)
    assert told.startswith("3 of 3 ranks say nothing any more, the longest rank 1 on n1: 90 s in `step` after step 7")
    assert "more than the 300 s of `save_timeout_seconds`" in watchdog.silent([pulse(0, 7, 301, "save")], now=1000)


def test_a_rank_whose_process_does_not_run_is_named_before_those_that_wait_for_it(tmp_path: Path) -> None:
    watchdog = Watchdog(TrainRun(step_timeout_seconds=60))
    waits, frozen = (
        pulse(rank, 7, age).model_copy(update={"alive": 1000 - alive})
        for rank, age, alive in ((0, 62.0, 0.5), (1, 61.5, 61))
    )
    told = watchdog.silent([waits, frozen], now=1000)
    assert told.startswith("2 of 2 ranks say nothing any more, the longest rank 1 on n1: ")
    assert culprit(BunbukuError(told, hint=""), [waits, frozen]) == "n1"
    together = watchdog.silent([waits, frozen.model_copy(update={"alive": 999.5})], now=1000)
    assert "rank 0 on n0, 1 on n1: " in together
    assert culprit(BunbukuError(together, hint=""), [waits, frozen]) is None  # either may be it: nobody is blamed


def test_a_pulse_is_dated_anew_while_its_process_waits(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from bunbuku_pretrain.pulses import Heart
Heart(Path(sys.argv[1]), 0).beat("step", 1)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
    try:
        dated: list[float] = []
        deadline = time.monotonic() + 120
        while len(dated) < 3 and time.monotonic() < deadline:
            dated += [one.alive for one in read_pulses(tmp_path) if one.alive not in dated]
            time.sleep(0.05)
        assert len(dated) == 3
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        (before,) = read_pulses(tmp_path)
        time.sleep(2.5)
        assert read_pulses(tmp_path) == [before]
    finally:
        process.kill()
        process.wait()


def test_a_slow_step_is_told_once() -> None:
    pace = Pace(factor=3.0)

    def look(seconds: float) -> str:
        return pace.look(StepRecord(step=1, tokens=1, seconds=seconds))

    assert not any(look(1.0) for _ in range(20))
    assert look(4.0) == "a step took 4 s, 4.0 times the usual 1 s"
    assert look(4.0) == ""
    assert look(1.0) == ""
    assert look(5.0) != ""


def test_a_rank_says_what_it_does(tmp_path: Path) -> None:
    heart = Heart(tmp_path, 3)
    heart.beat("start", 0)
    heart.beat("step", 1)
    heart.beat("step", 2)  # within the same second
    (said,) = read_pulses(tmp_path)
    assert (said.rank, said.doing, said.step, said.host) == (3, "step", 1, socket.gethostname())
    assert abs(said.time - time.time()) < 60
    forget_pulses(tmp_path)
    assert read_pulses(tmp_path) == []


def test_a_run_is_asked_to_stop_with_a_reason(tmp_path: Path) -> None:
    assert asked_to_stop(tmp_path) is None
    ask_to_stop(tmp_path, "SIGTERM")
    assert asked_to_stop(tmp_path) == "SIGTERM"


@given(st.lists(st.integers(1, 40), unique=True, min_size=1), st.integers(1, 5), st.integers(0, 60))
def test_whatever_is_removed_a_bad_step_to_come_finds_a_state_before_it(
    steps: list[int], keep: int, reach: int
) -> None:
    saved: list[int] = [0]
    for step in sorted(steps):
        saved = sorted(retained([*saved, step], keep=keep, every=None, reach=reach))
        assert step in saved
        assert len(saved) >= min(keep, 1)
        if reach:
            assert any(one <= step + 1 - reach for one in saved) or 0 in saved


def test_what_a_killed_writer_left_and_what_was_given_up_is_removed(tmp_path: Path) -> None:
    for step, known in ((10, 0), (20, 0), (30, 1)):
        folder = tmp_path / f"step-{step:08d}"
        folder.mkdir()
        (folder / "state.json").write_text(TrainState(step=step, tokens=step, detours=known).model_dump_json())
    (tmp_path / "step-00000040.partial").mkdir()
    drop_given_up(tmp_path, [Detour(at_step=25, first_step=16, last_step=25, reason="spike")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000030"]


def test_a_state_that_is_not_what_was_written_is_seen(tmp_path: Path) -> None:
    from bunbuku_contracts.digest import hash_file

    for name in ("a.distcp", "b.distcp"):
        (tmp_path / name).write_bytes(name.encode() * 100)
    assert damage(tmp_path) == "hashes.json is missing or cut off"
    seal(tmp_path, {path.name: hash_file(path) for path in tmp_path.glob("*.distcp")})
    assert damage(tmp_path) == ""
    (tmp_path / "b.distcp").write_bytes(b"x" * 800)
    assert damage(tmp_path) == "b.distcp is not what was written"
    assert [damage(tmp_path, share=share, shares=2) for share in (0, 1)] == ["", "b.distcp is not what was written"]
    (tmp_path / "b.distcp").write_bytes(b"x")
    assert damage(tmp_path) == "b.distcp has 1 bytes, not 800"
    (tmp_path / "a.distcp").unlink()
    assert damage(tmp_path) == "a.distcp is missing"


def test_an_agent_is_started_where_its_line_says_and_may_be_lost(tmp_path: Path) -> None:
    launcher = Elastic(agents=("ssh a {agent}", "ssh b {agent} --host b"), most_nodes=2, address="10.0.0.1")
    first, second = launcher.processes(["python", "-m", "bunbuku_pretrain.rank", "job 1.json"], ranks=4, log=tmp_path)
    assert (first.expendable, second.expendable) == (True, True)
    line = second.command[-1]
    assert line.startswith("exec ssh b python -m bunbuku_pretrain.agent 'job 1.json' 10.0.0.1:")
    assert line.endswith(" --host b")


def test_the_agents_program_is_given_options_that_it_knows(tmp_path: Path) -> None:
    """Of torchrun here; of nvidia-resiliency-ext where it is installed."""
    launcher = Elastic(least_nodes=1, most_nodes=2, join_seconds=7, node_restarts=4, program="auto")
    settings = TrainRun(ranks=4, launcher=launcher)
    asked = argparse.Namespace(job=tmp_path / "job.json", endpoint="10.0.0.1:29400", address="10.0.0.2", host="second")
    line = options(launcher, asked, SimpleNamespace(settings=settings, scratch=tmp_path))  # type: ignore[arg-type]
    assert launcher.chosen_program == ("ft_launcher" if has_resiliency() else "torchrun")
    assert Elastic(program="torchrun").chosen_program == "torchrun"
    program = import_module(MODULES[launcher.chosen_program])
    given = program.get_args_parser().parse_args(line)
    assert (given.nnodes, given.nproc_per_node, given.max_restarts) == ("1:2", "2", 4)
    assert (given.rdzv_endpoint, given.rdzv_backend) == ("10.0.0.1:29400", "c10d")
    assert given.rdzv_conf == "is_host=false,last_call_timeout=7,join_timeout=3600"
    assert (given.local_addr, given.training_script) == ("10.0.0.2", "bunbuku_pretrain.rank")
    assert given.module


def failures(scratch: Path, settings: TrainRun, *texts: str, hosts: tuple[str, ...] = ("first", "second")) -> list[str]:
    """What is told of some failures, one after the other."""
    pulses = [pulse(rank, 7, 0.0).model_copy(update={"host": host}) for rank, host in enumerate(hosts)]
    told = [blame(scratch, settings, died(text), pulses) for text in texts]
    return [text for text in told if text]


def test_a_host_that_cost_ranks_twice_is_left_out_for_good(tmp_path: Path) -> None:
    elastic = TrainRun(ranks=2, launcher=Elastic(least_nodes=1, most_nodes=2))
    hung = "2 of 2 ranks say nothing any more, the longest rank 1 on second: 9 s in `step` after step 7"
    assert failures(tmp_path, elastic, hung) == []
    assert excluded(tmp_path, elastic) == ()
    assert failures(tmp_path, elastic, "rank 1 of 2 was killed by signal 9:\n") == [
        "ranks on second died or hung 2 times: no rank is started there any more"
    ]
    assert excluded(tmp_path, elastic) == ("second",)  # from the disk: another publisher knows it too
    # The last one that is left goes on, whatever happens on it.
    (told,) = failures(tmp_path, elastic, *["rank 0 of 1 ended with status 1:\n"] * 2, hosts=("first",))
    assert told == "ranks on first died or hung 2 times: no other host can take its place"
    named = elastic.model_copy(update={"excluded_hosts": ("node07",)})
    assert excluded(tmp_path, named) == ("node07", "second")


def test_slurm_is_told_which_nodes_to_leave_out_if_the_allocation_has_one_to_spare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = TrainRun(ranks=2, launcher=Srun(ranks_per_node=1))
    error = BunbukuError("srun of 2 ranks ended with status 1:\n", hint="the whole log: /out/log/rank-1.log")
    pulses = [pulse(rank, 7, 0.0) for rank in (0, 1)]
    for nodes, told in (("2", "no other host can take its place"), ("3", "no rank is started there any more")):
        monkeypatch.setenv("SLURM_JOB_NUM_NODES", nodes)
        scratch = tmp_path / nodes
        scratch.mkdir()
        assert blame(scratch, slurm, error, pulses) is None
        assert blame(scratch, slurm, error, pulses) == f"ranks on n1 died or hung 2 times: {told}"
    assert without(slurm.launcher, ()) == slurm.launcher
    left = without(Srun(ranks_per_node=1, options=("--cpu-bind=none",)), ("n1", "n4"))
    (started,) = processes_of(left, tmp_path, monkeypatch)
    assert started.command[-4:] == ["--cpu-bind=none", "--exclude=n1,n4", "python", "job.json"]


def processes_of(launcher: AnyLauncher, log: Path, monkeypatch: pytest.MonkeyPatch) -> list[Process]:
    """As in an allocation, with an `srun` to be found."""
    (log / "srun").touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{log}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    return launcher.processes(["python", "job.json"], ranks=2, log=log)


def test_a_host_is_not_blamed_where_that_was_not_wanted_or_nobody_is_named(tmp_path: Path) -> None:
    lenient = TrainRun(ranks=2, launcher=Elastic(least_nodes=1, most_nodes=2), exclude_after_failures=0)
    assert failures(tmp_path, lenient, *["rank 1 of 2 was killed by signal 9:\n"] * 3) == []
    strict = lenient.model_copy(update={"exclude_after_failures": 1})
    assert failures(tmp_path, strict, "agent 1 of 2 ended with status 1:\n") == []
    assert not excluded(tmp_path, strict)


def test_a_launcher_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(BunbukuError, match="nvidia-resiliency-ext is not installed"):
        Elastic(program="ft_launcher").processes(["python", "job.json"], ranks=1, log=tmp_path)


def test_ranks_divide_evenly_among_nodes() -> None:
    with pytest.raises(ValueError, match="`ranks` 3 is not a multiple of `most_nodes` 2"):
        TrainRun(ranks=3, launcher=Elastic(most_nodes=2))
    with pytest.raises(ValueError, match="`least_nodes` 3 is more than `most_nodes` 2"):
        Elastic(least_nodes=3, most_nodes=2)
