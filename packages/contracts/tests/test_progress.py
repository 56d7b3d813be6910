"""Progress: a bar on a terminal, a line now and then elsewhere, and the items unchanged."""

import logging
import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import pytest
from bunbuku_contracts import progress


def test_the_items_come_through_in_order():
    assert list(progress.track(iter("分福茶釜"), unit="characters", label="kettle")) == list("分福茶釜")


def test_a_log_gets_a_line_now_and_then(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    ticks = iter(float(tick) for tick in range(0, 1000, 25))
    monkeypatch.setattr("bunbuku_contracts.progress.time.monotonic", lambda: next(ticks))
    with caplog.at_level(logging.INFO):
        list(progress.track(range(6), unit="documents", label="corpus.clean"))
    assert [record.getMessage().split(",")[0] for record in caplog.records] == [
        "corpus.clean: 3 of 6 documents (50 %)",
        "corpus.clean: 6 of 6 documents (100 %)",
    ]


def test_what_was_done_before_is_no_speed(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    ticks = iter([0.0, *[1.0] * 8, 60.0])  # eight in a second, which were there; the ninth in a minute
    monkeypatch.setattr("bunbuku_contracts.progress.time.monotonic", lambda: next(ticks))
    with caplog.at_level(logging.INFO):
        list(progress.track(range(9), unit="steps", label="train", total=20, done=8))
    assert [record.getMessage() for record in caplog.records] == ["train: 9 of 20 steps (45 %), 0.0/s, 11 min left"]


def test_a_line_of_the_log_says_what_the_work_has_to_say(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    ticks = iter([0.0, 60.0])
    monkeypatch.setattr("bunbuku_contracts.progress.time.monotonic", lambda: next(ticks))
    with caplog.at_level(logging.INFO):
        list(progress.track(range(1), unit="steps", label="train", total=2, note=lambda: "loss 2.31"))
    assert [record.getMessage() for record in caplog.records] == [
        "train: 1 of 2 steps (50 %), 0.0/s, 1 min left; loss 2.31"
    ]


def test_a_terminal_shows_the_panel_over_all_bars_as_long_as_its_work_goes():
    shown = _on_a_terminal("""
import time
from bunbuku_contracts.progress import track
for step in track(range(2), unit="steps", label="train", panel=lambda: "the panel"):
    for file in track(range(3), unit="files", label="export"):
        time.sleep(0.1)
for step in track(range(3), unit="lines", label="after it"):
    time.sleep(0.1)
""")
    assert shown.rindex("the panel") > shown.index("export")
    assert "the panel" not in shown[shown.index("after it") :]


def test_a_terminal_gets_one_live_display_also_for_trackers_inside_one_another():
    shown = _on_a_terminal("""
import time
from bunbuku_contracts.progress import track
for outer in track(range(2), unit="shards", label="outer"):
    for inner in track(range(3), unit="documents", label="inner"):
        time.sleep(0.1)
""")
    assert "outer" in shown
    assert "inner" in shown
    assert "documents" in shown


def _on_a_terminal(script: str) -> str:
    """What a script shows there."""
    master, slave = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.Popen([sys.executable, "-c", script], stderr=slave, env=environment)
    os.close(slave)
    shown = "".join(_read(master))
    assert done.wait() == 0
    return shown


def _read(terminal: int) -> Iterator[str]:
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            return
        if not piece:
            return
        yield piece.decode("utf-8", "replace")
