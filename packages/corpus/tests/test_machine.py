"""What the stages say, and what is left of their work, when the machine fails them; and that the way it is done changes nothing."""

import multiprocessing
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, Corpus, Spec, load
from bunbuku_corpus import AnnotateConfig, ContaminationConfig, LearnConfig, annotate, contamination, learn
from bunbuku_corpus.cli import main
from bunbuku_corpus.features import Features

RESUMABLE = ("extract", "clean", "annotate", "decide", "classify", "dedup", "decontaminate")
FROM_THE_START = ("thin", "split", "mix", "topics", "coverage", "contamination")
ON_ENGINES = (*RESUMABLE, *FROM_THE_START)
ALONE = ("explain", "learn", "balance", "map")
FROM_OUTSIDE = ("gather", "extract")
AUDITS = ("coverage", "contamination", *ALONE)
OPTIONS = {
    "extract": ('name="pages"',),
    "clean": ('preset="web"',),
    "decide": ('filters=[{type="too_short", min_chars=50}]',),
    "dedup": ("index=true",),
    "thin": ("min_documents=3", "keep_documents=0"),
    "split": ("validation=0.2", "test=0.2"),
    "learn": ("features={slot_bits=12}",),
    "map": ("documents=100", "dimensions=6", "slot_bits=12"),
    "topics": ("topics=3", "dimensions=6", "slot_bits=12"),
}
"""What is asked of a stage beyond its defaults, so that it has something to do with random kana."""


class Task(NamedTuple):
    """What a stage is given."""

    roles: tuple[tuple[str, Path], ...]
    options: tuple[str, ...]


def task(
    make, stage: str, folder: Path, count: int, *, sentences: int = 8, shard: int = 100_000, shuffled: bool = False
) -> Task:
    """So many documents for a stage, a tenth of them twice and under the same menu; and what it needs besides.

    Shuffled, they are in the same shards in another order.
    """
    options = tuple(word for one in OPTIONS.get(stage, ()) for word in ("--set", one))
    if stage == "extract":
        files = max(count // 40, 2)
        pages = make.pages(folder / "pages", files, 50, sentences)
        for n in range(files) if shuffled else ():
            (pages / f"{n:03d}.warc.gz").rename(pages / f"{files - n:03d}.again.warc.gz")
        return Task((("source", pages),), options)
    menu = ["送料無料\n" * (n % 10 < 2) for n in range(count)]
    texts = [menu[n] + make.prose(n - 1 if n % 10 == 1 else n, sentences) for n in range(count)]
    blocks = [range(begin, min(begin + shard, count)) for begin in range(0, count, shard)]
    order = [n for block in (reversed(blocks) if shuffled else blocks) for n in block]
    raw = make.corpus(folder, [{"id": f"d{n}", "text": texts[n]} for n in order], shard=shard)
    if stage == "gather":
        lines = [{"id": f"d{n}", "text": texts[n]} for n in order]
        for n in range(4):
            make.lines(folder / "lines" / f"{n}.jsonl", lines[n::4])
        return Task((("source", folder / "lines"),), options)
    return Task(tuple(besides(make, stage, folder, raw, texts).items()), options)


def besides(make, stage: str, folder: Path, raw: Artifact[Corpus], texts: list[str]) -> dict[str, Path]:
    """A corpus by its role, and what a stage is given beside it."""
    roles = {"corpora" if stage in ("mix", "map") else "corpus": raw.dir}
    if stage in ("decide", "explain"):
        roles["corpus"] = annotate(folder / "annotated", AnnotateConfig(), raw).dir
    if stage in ("classify", "learn", "balance"):
        field = "purpose" if stage == "balance" else "label"
        named = ({"id": f"d{n}", field: "menu" if n % 10 < 2 else "none"} for n in range(200))
        roles["labels"] = make.lines(folder / "labels.jsonl", named)
    if stage == "classify":
        config = LearnConfig(features=Features(slot_bits=12))
        roles["classifier"] = learn(folder / "classifier", config, roles.pop("labels"), raw).dir
    if stage == "coverage":
        roles["facts"] = make.lines(folder / "facts.jsonl", [{"subject": "送料", "object": "無料"}])
    if stage in ("contamination", "decontaminate"):
        items = make.lines(
            folder / "items.jsonl", ({"id": n, "question": texts[n * 7 % len(texts)][-40:]} for n in range(20))
        )
        roles["items"] = items
        if stage == "decontaminate":
            roles["findings"] = contamination(folder / "findings", ContaminationConfig(), raw, roles.pop("items")).dir
    return roles


def asked(make, stage: str, given: Task, out: Path, *more: str) -> list[str]:
    """The command for it. `mix` and `map` name their corpora."""
    roles = tuple((role, f"web={path}" if role == "corpora" else path) for role, path in given.roles)
    return make.command(stage, roles, out, *given.options, *more)


def workers(folder: Path, count: int) -> tuple[str, str]:
    path = folder / f"run-{count}.toml"
    path.write_text(f"workers = {count}", encoding="utf-8")
    return "--run", str(path)


def content(path: Path) -> str:
    """The digest of what was made, whatever it is."""
    return load(path, Spec).content


@pytest.mark.parametrize(
    ("stage", "count"),
    [
        *(("gather", 0), ("extract", 1), ("clean", 1), ("annotate", 2), ("decide", 1), ("classify", 1), ("dedup", 1)),
        *(("thin", 1), ("split", 1), ("mix", 2), ("topics", 1), ("decontaminate", 1)),
    ],
)
def test_a_disk_that_fills_is_one_sentence_and_costs_nothing(
    make, on_a_small_disk, tmp_path: Path, stage: str, count: int
):
    pytest.importorskip("sklearn")
    given = task(make, stage, tmp_path, 400, sentences=30)
    before = {path: content(path) for role, path in given.roles if role.startswith("corp")}
    more = workers(tmp_path, count) if count else ()
    done = on_a_small_disk(asked(make, stage, given, tmp_path / "small" / "out", *more), tmp_path / "small")
    assert done.returncode == 1 and done.stdout == "", done.stderr
    assert "cannot be written: the disk is full" in done.stderr and "Traceback" not in done.stderr
    assert {path: content(path) for path in before} == before
    assert main(asked(make, stage, given, tmp_path / "out")[3:]) == 0


def rows(folder: Path) -> dict[str, list[str]]:
    """All rows of what was made, by part, in an order of their own."""
    made = load(folder, Spec)
    parts = {file.part for file in made.manifest.files if file.path.endswith(".parquet")} - {"index"}
    return {
        part: sorted(
            repr(row)
            for file in made.files(part)
            if file.path.endswith(".parquet")
            for row in pq.read_table(made.path(file)).to_pylist()
        )
        for part in parts
    }


def files(folder: Path) -> list[tuple[str, str]]:
    """The digests of all files that were made, by part, whatever their names are."""
    return sorted((file.part, file.sha256) for file in load(folder, Spec).manifest.files if file.in_content)


@pytest.mark.parametrize("stage", ("gather", *ON_ENGINES, *ALONE))
def test_the_order_of_shards_decides_nothing(make, tmp_path: Path, stage: str):
    """What makes no corpus is the same to its digest; a corpus has the same files under their shards' names.

    What reads files from outside writes documents as they come, so that shards have others in them.
    """
    pytest.importorskip("sklearn")
    for name, shuffled in (("one", False), ("other", True)):
        given = task(make, stage, tmp_path / name, 600, shard=100, shuffled=shuffled)
        if stage == "classify":  # what it learned is another matter
            learned = tmp_path / "one" / "classifier"
            given = given._replace(
                roles=tuple((role, learned if role == "classifier" else at) for role, at in given.roles)
            )
        assert main(asked(make, stage, given, tmp_path / f"{name}-out")[3:]) == 0
    one, other = tmp_path / "one-out", tmp_path / "other-out"
    if stage in FROM_OUTSIDE:
        assert rows(one) == rows(other) and sum(map(len, rows(one).values())) > 0
        return
    assert files(one) == files(other)
    assert (content(one) == content(other)) is (stage in AUDITS)


def killing_a_worker() -> threading.Thread:
    """Kills the first worker process that comes up."""

    def kill() -> None:
        while not multiprocessing.active_children():
            time.sleep(0.01)
        os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


@pytest.mark.parametrize("stage", ON_ENGINES)
def test_a_worker_that_is_killed_is_one_sentence_and_the_same_command_goes_on(
    make, tmp_path: Path, stage: str, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("sklearn")
    given = task(make, stage, tmp_path, 600, shard=100)
    thread = killing_a_worker()
    assert main(asked(make, stage, given, tmp_path / "out", *workers(tmp_path, 2))[3:]) == 1
    thread.join()
    said = " ".join(capsys.readouterr().err.split())
    assert "one of 2 worker processes was killed, as happens when memory runs out" in said
    assert "fewer `workers`" in said and not (tmp_path / "out").exists()
    assert main(asked(make, stage, given, tmp_path / "out")[3:]) == 0
    assert main(asked(make, stage, given, tmp_path / "whole")[3:]) == 0
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def killed(call: list[str], when: Callable[[float], bool]) -> bool:
    """Run a command and kill all its processes at the moment that is told; whether it had not ended by then."""
    begun = time.monotonic()
    run = subprocess.Popen(call, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
    while run.poll() is None and not when(time.monotonic() - begun):
        time.sleep(0.005)
    unfinished = run.poll() is None
    if unfinished:
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    return unfinished


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "pattern"),
    [("extract", "*.parquet"), ("annotate", "done/*.arrow"), ("dedup", "signatures/*.arrow")],
)
def test_killed_twice_it_goes_on_and_makes_the_same_bytes(make, tmp_path: Path, stage: str, pattern: str):
    given = task(make, stage, tmp_path, 1200, sentences=30, shard=20 if stage == "dedup" else 150)
    pattern = f".out.*.scratch/{pattern}"
    assert main(asked(make, stage, given, tmp_path / "whole")[3:]) == 0
    call = asked(make, stage, given, tmp_path / "out")
    assert killed(call, lambda _: len(list(tmp_path.glob(pattern))) >= 2)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob(pattern)}
    assert killed(call, lambda _: len(list(tmp_path.glob(pattern))) >= len(before) + 2)
    assert not (tmp_path / "out").exists()
    assert {path: path.stat().st_mtime_ns for path in before} == before  # what was done is not done again
    subprocess.run(call, check=True, capture_output=True)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("stage", ("gather", *ON_ENGINES, *ALONE))
def test_killed_at_ten_random_moments_it_makes_the_same_bytes(make, tmp_path: Path, stage: str):
    """One run after another is killed, the last let through with one worker; where one ends before, others follow."""
    pytest.importorskip("sklearn")
    given = task(make, stage, tmp_path, 4000, sentences=30, shard=1000)
    more = () if stage in ALONE else workers(tmp_path, 2)
    begun = time.monotonic()
    subprocess.run(asked(make, stage, given, tmp_path / "whole", *more), check=True, capture_output=True)
    seconds = time.monotonic() - begun
    moments, kills, made = random.Random(4), 0, 0
    while kills < 10:
        assert made < 20, "it ends before it is killed"
        out = tmp_path / f"killed-{made}"
        moment = moments.uniform(0.1, 0.9) * seconds
        if killed(asked(make, stage, given, out, *more), lambda now, moment=moment: now > moment):
            kills += 1
            assert not out.exists()
        else:
            made += 1
            assert content(out) == content(tmp_path / "whole"), made
    out = tmp_path / f"killed-{made}"
    subprocess.run(asked(make, stage, given, out), check=True, capture_output=True)  # with one worker in place of two
    assert content(out) == content(tmp_path / "whole")
