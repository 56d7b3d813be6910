"""Killed at any point of publishing, a stage leaves no artifact or a whole one; of two publishers one wins."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bunbuku_contracts import ArtifactError, Corpus, load

STAGE = """
import os, signal, sys, time
from pathlib import Path
from bunbuku_contracts import Config, Corpus, Draft, stage

class C(Config):
    text: str = "狸"

@stage("contracts.kill", resumable={resumable})
def make(draft: Draft, config: C) -> Corpus:
    for number in range(3):
        path = draft.dir / f"part-{{number}}"
        path.write_text(config.text * 100)
        draft.count(path, rows=1)
    draft.log.joinpath("events").write_text("x")
    if len(sys.argv) > 3:
        print("ready", flush=True)
        sys.stdin.readline()
    return Corpus()
"""

# Every system call that publishing makes passes through one of these names: the process dies just before the n-th.
# Each process is forked from one that has imported everything, since an import takes longer than all that is tested.
DYING = """
def dies(function):
    def wrapped(*args, **kwargs):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return wrapped

def act(out):
    for owner, names in (
        (os, ["fsync", "open", "close", "rename", "mkdir", "unlink", "rmdir", "scandir"]), (Path, ["open"])
    ):
        for name in names:
            setattr(owner, name, dies(getattr(owner, name)))
    make(Path(out), C())

for line in sys.stdin:
    calls, out = line.rstrip().split(" ", 1)
    left = float(calls)
    if (child := os.fork()) == 0:
        status = 1
        try:
            act(out)
            status = 0
        finally:
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@contextmanager
def dying(script: str) -> Generator[Callable[[Path, float], int]]:
    """A function that makes `out` in a process of its own, which dies before that many calls, and says how it ended."""
    command = [sys.executable, "-c", script + DYING]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin is not None and parent.stdout is not None
        ask, answers = parent.stdin, parent.stdout

        def run(out: Path, calls: float) -> int:
            print(calls, out, file=ask, flush=True)
            return int(answers.readline())

        yield run
        ask.close()


def state(out: Path) -> str:
    """What a reader finds: nothing, or all of it."""
    try:
        made = load(out, Corpus)
    except ArtifactError:
        assert not (out / "manifest.json").exists()
        return "nothing"
    made.verify()
    assert [made.path(file).read_text() for file in made.files()] == ["狸" * 100] * 3
    return "whole"


@pytest.mark.parametrize("resumable", [False, True])
def test_killed_before_any_call_it_leaves_nothing_or_a_whole_artifact(tmp_path: Path, resumable: bool):
    states: list[str] = []
    with dying(STAGE.format(resumable=resumable)) as run:
        for calls in range(200):
            out = tmp_path / str(calls) / "out"
            out.parent.mkdir()
            status = run(out, calls)
            states.append(state(out))
            if status == 0:
                break
            assert status == -signal.SIGKILL
            assert run(out, math.inf) == 0
            assert state(out) == "whole"
            assert load(out, Corpus).content == load(tmp_path / "0" / "out", Corpus).content
    assert states[0] == "nothing"
    assert states[-1] == "whole"
    assert states == sorted(states)  # once published, always published
    assert len(states) > 10


def test_of_two_publishers_one_wins_whole(tmp_path: Path):
    script = STAGE.format(resumable=False) + "\nmake(Path(sys.argv[1]), C(text=sys.argv[2]))\n"
    out = tmp_path / "out"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, out, text, "wait"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for text in ("甲", "乙")
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"  # both have a draft: nothing is published yet
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    errors = [racer.communicate(timeout=60)[1] for racer in racers]
    assert sorted(racer.returncode == 0 for racer in racers) == [False, True]
    assert "is already there" in "".join(errors)
    load(out, Corpus).verify()


def test_orphans_of_a_killed_publisher_keep_the_next_run_out(tmp_path: Path):
    script = """
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from bunbuku_contracts import Config, Corpus, Draft, stage

@stage("contracts.orphan")
def make(draft: Draft, config: Config) -> Corpus:
    draft.launch([sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"], ranks=1)
    return Corpus()

make(Path(sys.argv[1]), Config())
"""
    out = tmp_path / "out"
    parent = subprocess.Popen([sys.executable, "-c", script, out])
    try:
        while not (logs := list(tmp_path.glob(".out.*.draft/log/rank-0.log"))) or not logs[0].read_text():
            assert parent.poll() is None
    finally:
        parent.kill()
        parent.wait()
    orphan = int(logs[0].read_text())
    try:
        done = subprocess.run([sys.executable, "-c", script, out], capture_output=True, text=True, timeout=20)
        assert "another process is making" in done.stderr
    finally:
        os.kill(orphan, signal.SIGKILL)
