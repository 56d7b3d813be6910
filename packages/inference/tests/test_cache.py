"""The request cache: what it keeps, what it never keeps, and what a killed process leaves."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from bunbuku_contracts import BunbukuError
from bunbuku_inference import Failure, Request, Sampling, ScoreRequest, TransformersEngine, open_model
from bunbuku_inference.cache import Cache

WRITER = """
import sys
from pathlib import Path
from bunbuku_inference.cache import Cache
with Cache(Path(sys.argv[1])) as cache:
    for group in range(int(sys.argv[3])):
        cache.write((f"{sys.argv[2]}/{group}/{at}", f"{group}") for at in range(10))
        print(group, flush=True)
"""


def test_a_value_is_found_again_and_never_replaced(tmp_path: Path) -> None:
    with Cache(tmp_path / "deep" / "cache.sqlite") as cache:
        cache.write([("a", "狸"), ("b", "釜")])
        cache.write([("a", "狐")])
    with Cache(tmp_path / "deep" / "cache.sqlite") as cache:
        assert cache.read(["a", "b", "c", "a"]) == {"a": "狸", "b": "釜"}
        many = [f"{at}" for at in range(5000)]
        cache.write((key, key) for key in many)
        assert cache.read(many) == {key: key for key in many}


def test_a_group_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def breaking() -> Any:
        yield "a", "1"
        raise RuntimeError("no more")

    with Cache(tmp_path / "cache.sqlite") as cache:
        with pytest.raises(RuntimeError):
            cache.write(breaking())
        assert cache.read(["a"]) == {}


def test_another_file_is_not_taken_for_a_cache(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("昔々、あるところに" * 200, encoding="utf-8")
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    for path in (text, other, tmp_path):
        with pytest.raises(BunbukuError, match="cannot be used as a request cache"):
            Cache(path)
    assert text.read_text(encoding="utf-8").startswith("昔々")


def _writer(path: Path, name: str, groups: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), name, str(groups)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_share_one_file(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    writers = [_writer(path, name, 50) for name in "abc"]
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    with Cache(path) as cache:
        keys = [f"{name}/{group}/{at}" for name in "abc" for group in range(50) for at in range(10)]
        assert len(cache.read(keys)) == len(keys)


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.05])
def test_a_killed_process_leaves_whole_groups_and_all_it_was_told_of(tmp_path: Path, seconds: float) -> None:
    path = tmp_path / "cache.sqlite"
    writer = _writer(path, "a", 1_000_000)
    assert writer.stdout
    writer.stdout.readline()
    time.sleep(seconds)
    os.kill(writer.pid, signal.SIGKILL)
    told = [0, *(int(line) for line in writer.stdout.read().split())]
    writer.wait()
    writer.stdout.close()
    with Cache(path) as cache:
        groups = [len(cache.read([f"a/{group}/{at}" for at in range(10)])) for group in range(max(told) + 3)]
        assert set(groups) <= {0, 10}
        assert all(groups[: max(told) + 1])
        cache.write([("after", "it works again")])
        assert cache.read(["after"]) == {"after": "it works again"}


def test_the_same_question_is_asked_once(checkpoint: Path, tmp_path: Path) -> None:
    engine, cache = TransformersEngine(threads=1, device="cpu"), tmp_path / "cache.sqlite"
    greedy, drawn = Sampling(max_tokens=4), Sampling(max_tokens=4, temperature=1.0)
    texts = [Request(prompt="昔々", sampling=greedy, seed=seed) for seed in (1, 2)]
    texts += [Request(prompt="昔々", sampling=drawn, seed=seed) for seed in (1, 2, 1)]
    scores = [ScoreRequest(prompt="昔々", completion=end) for end in ("狸", "釜", "狸")]
    with open_model(engine, checkpoint, cache=cache) as model:
        steps: list[int] = []
        first = model.generate(texts, progress=steps.append), model.score(scores)
        # A greedy answer has no use for a seed; equal requests of one call are computed once.
        assert (model.meter.requests, model.meter.cached, sum(steps)) == (8, 3, 5)
        spent = model.meter.completion_tokens
    with open_model(engine, checkpoint, cache=cache) as model:
        steps = []
        assert (model.generate(texts, progress=steps.append), model.score(scores)) == first
        assert (model.meter.requests, model.meter.cached, sum(steps)) == (8, 8, 5)
        assert (model.meter.completion_tokens, model.meter.scored_tokens) == (0, 0)
        model.generate([Request(prompt="昔々", sampling=drawn, seed=3)])
        assert model.meter.cached == 8
    assert spent == sum(answer.completion_tokens for answer in (first[0][0], *first[0][2:4]))


def test_an_answer_of_other_weights_or_other_arithmetic_is_not_taken(checkpoint: Path, tmp_path: Path) -> None:
    cache, asked = tmp_path / "cache.sqlite", [Request(prompt="昔々", sampling=Sampling(max_tokens=2))]
    other = tmp_path / "other"
    other.mkdir()
    for file in checkpoint.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    engine = TransformersEngine(threads=1, device="cpu")
    for weights, change, cached in (
        (checkpoint, {}, 0),
        (other, {"batch_size": 3}, 1),
        (other, {"dtype": "bfloat16"}, 0),
    ):
        with open_model(engine.model_copy(update=change), weights, cache=cache) as model:
            model.generate(asked)
            assert model.meter.cached == cached, (weights, change)
    (other / "generation_config.json").write_text('{"eos_token_id": 2, "bos_token_id": 1}', encoding="utf-8")
    with open_model(engine, other, cache=cache) as model:
        model.generate(asked)
        assert model.meter.cached == 0


def test_a_failure_is_not_kept(checkpoint: Path, tmp_path: Path) -> None:
    asked = [Request(prompt="a" * 400)]
    with open_model(TransformersEngine(threads=1), checkpoint, cache=tmp_path / "cache.sqlite") as model:
        for _ in range(2):
            assert isinstance(model.try_generate(asked)[0], Failure)
        assert (model.meter.cached, model.meter.failed) == (0, 2)
