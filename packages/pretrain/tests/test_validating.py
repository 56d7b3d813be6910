"""Measuring that takes much longer than a step may: nothing is ended for it, and it has an end of its own."""

import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from bunbuku_contracts import Artifact, Config, Draft, Tokenizer, Tokens, stage
from bunbuku_pretrain import TrainConfig, TrainRun, train
from bunbuku_pretrain.course import Course
from bunbuku_pretrain.indexed import IndexedFile, IndexedWriter
from bunbuku_pretrain.observations import Event, read
from bunbuku_pretrain.providing import warn_of_interval
from bunbuku_pretrain.pulses import read_pulses


class Times(Config):
    times: int


@stage("test.long-held-out")
def make_long_held_out(draft: Draft, config: Times, tokens: Artifact[Tokens]) -> Tokens:
    """The same text, held out so many times over."""
    whole = IndexedFile(tokens.dir / "train")
    for name in ("train.bin", "train.idx"):
        shutil.copyfile(tokens.dir / name, draft.dir / name)
    draft.count(draft.dir / "train.bin", rows=len(whole), tokens=int(whole.lengths.sum()), part="train")
    with IndexedWriter(draft.dir / "validation", "uint16") as writer:
        for _ in range(config.times):
            for ids in whole.documents():
                writer.add(ids, np.array([len(ids)], dtype=np.int32))
    draft.count(writer.bin, rows=writer.documents, tokens=writer.tokens, part="validation")
    for part in ("train", "validation"):
        draft.count(draft.dir / f"{part}.idx", part=part)
    return tokens.spec


class Watch(threading.Thread):
    """Sees from when to when a run measured before its first step."""

    def __init__(self, out: Path) -> None:
        super().__init__(daemon=True)
        self._out, self.over = out, threading.Event()
        self.seen: list[float] = []

    def run(self) -> None:
        while not self.over.wait(0.05):
            for scratch in self._out.parent.glob(f".{self._out.name}.*.scratch"):
                pulses = read_pulses(scratch)
                self.seen += [time.monotonic()] * any(one.doing == "validate" and one.step == 0 for one in pulses)

    @property
    def seconds(self) -> float:
        return self.seen[-1] - self.seen[0]


@pytest.mark.slow
def test_a_validation_longer_than_a_step_may_take_ends_nothing_and_one_over_its_own_time_is_cut_short(
    tmp_path: Path, tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace
) -> None:
    held_out = make_long_held_out(tmp_path / "tokens", Times(times=60), tokens)
    config = tiny.config(steps=1).model_copy(update={"overlap": "ignore"})
    run = TrainRun(micro_batch_sequences=1, step_timeout_seconds=5, restarts=0)
    out = tmp_path / "whole"
    watch = Watch(out)
    watch.start()
    made = train(out, config, held_out, tokenizer, run=run)
    watch.over.set()
    watch.join()
    assert watch.seconds > 1.5 * run.step_timeout_seconds, "the held-out text is too short to show anything"
    assert [one.kind for one in read(Event, made.dir / "log" / "events.jsonl")] == ["start"]

    brief = run.model_copy(update={"validation_timeout_seconds": 0.2})
    short = train(tmp_path / "short", config, held_out, tokenizer, run=brief)
    told = [one for one in read(Event, short.dir / "log" / "events.jsonl") if one.kind == "validation"]
    assert [one.step for one in told] == [0, 1]
    assert "part 'validation' was measured on " in told[0].text
    assert "`validation_tokens` in the config makes it shorter" in told[0].text
    whole_loss, short_loss = (one.manifest.metrics["validation.loss"] for one in (made, short))
    assert whole_loss != short_loss
    assert abs(whole_loss - short_loss) < 0.5  # of the same text, as far as it was read


def test_an_interval_longer_than_the_run_is_warned_of(tiny: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> None:
    for interval in (100, 46_875_000):
        config = TrainConfig.model_validate(tiny.dense.model_dump() | {"validation_interval_steps": interval})
        warn_of_interval(config, Course(config))
    (told,) = [one.getMessage() for one in caplog.records if "46,875,000" in one.getMessage()]
    assert "`validation_interval_steps` is 46,875,000 and the run has 60 steps" in told
    assert "`validation_tokens` makes it short" in told
    caplog.clear()
    warn_of_interval(tiny.dense, Course(tiny.dense))
    assert not caplog.records
