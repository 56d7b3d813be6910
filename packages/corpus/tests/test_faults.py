"""What the stages say, and what is left of their work, when files are damaged or the machine fails them.

`test_gather.py`, `test_extract.py` and `test_dedup_faults.py` have more of what is particular to one of them.
"""

import gzip
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Corpus, load
from bunbuku_corpus import (
    AnnotateConfig,
    AnnotateRun,
    CleanConfig,
    DedupConfig,
    EngineRun,
    ExtractConfig,
    ExtractRun,
    GatherConfig,
    MixConfig,
    SplitConfig,
    ThinConfig,
    annotate,
    clean,
    dedup,
    extract,
    gather,
    mix,
    read_documents,
    split,
    thin,
)
from bunbuku_corpus.document import read_rows

LETTERS = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをん山川空海町雨"


def prose(seed: int, sentences: int) -> str:
    chooser = random.Random(seed)
    return "".join("".join(chooser.choices(LETTERS, k=30)) + "。" for _ in range(sentences))


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def corpus_of(folder: Path, count: int, *, sentences: int = 8, shard: int = 100_000) -> Artifact[Corpus]:
    rows = [
        {
            "id": f"d{n}",
            "text": prose(n, sentences),
            "language": "ja",
            "licence": "MIT",
            "url": f"https://example.jp/{n}",
        }
        for n in range(count)
    ]
    return gather(folder / "raw", GatherConfig(rows_per_shard=shard), lines(folder / "texts.jsonl", rows))


def pages(folder: Path, files: int, each: int, sentences: int = 12) -> Path:
    """WARC archives, a member a record, as crawlers write them."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in range(files):
        members: list[bytes] = []
        for n in range(each):
            body = f"<html><body><article><p>{prose(file * each + n, sentences)}</p></article></body></html>".encode()
            http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + body
            head = (
                f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://example.jp/{file}/{n}\r\n"
                f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
            )
            members.append(gzip.compress(head.encode() + http + b"\r\n\r\n", 1))
        (folder / f"{file:03d}.warc.gz").write_bytes(b"".join(members))
    return folder


# ── shards that are not what they were ──


def no_policy(folder: Path, corpus: Artifact[Corpus]) -> Artifact[Corpus]:
    return clean(folder, CleanConfig(filters=()), corpus)


READERS: dict[str, Callable[[Path, Artifact[Corpus]], object]] = {
    "clean": no_policy,
    "annotate": lambda out, corpus: annotate(out, AnnotateConfig(), corpus),
    "dedup": lambda out, corpus: dedup(out, DedupConfig(), corpus),
    "thin": lambda out, corpus: thin(out, ThinConfig(), corpus),
    "split": lambda out, corpus: split(out, SplitConfig(), corpus),
    "mix": lambda out, corpus: mix(out, MixConfig(), {"web": corpus}),
}


@pytest.mark.parametrize("damage", ["empty", "cut", "overwritten", "without text"])
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_shard_is_one_sentence_with_its_name(tmp_path: Path, name: str, damage: str):
    raw = corpus_of(tmp_path, 30, shard=10)
    path = raw.path(raw.files()[1])
    path.chmod(0o644)
    whole = path.read_bytes()
    if damage == "without text":
        pq.write_table(pq.read_table(path).drop_columns(["text"]), path)
    elif damage == "overwritten":  # its ends are whole, and its pages are not
        path.write_bytes(whole[:8] + b"\xff" * (len(whole) // 2) + whole[8 + len(whole) // 2 :])
    else:
        path.write_bytes(b"" if damage == "empty" else whole[: len(whole) // 2])
    with pytest.raises(BunbukuError) as error:
        READERS[name](tmp_path / "out", raw)
    assert "part-00001.parquet" in str(error.value) and "\n" not in str(error.value)
    assert ("has no column 'text'" if damage == "without text" else "does not read as Parquet") in str(error.value)
    assert error.value.hint and not (tmp_path / "out").exists()


def test_ids_that_are_there_twice_cost_no_document(tmp_path: Path):
    """`gather` lets none come about; who made shards in another way loses nothing by it."""
    raw = corpus_of(tmp_path, 10)
    path = raw.path(raw.files()[0])
    path.chmod(0o644)
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, table.schema.field("id"), pa.array(["same"] * 10)), path)
    assert clean(tmp_path / "clean", CleanConfig(filters=()), raw).manifest.metrics["kept.documents"] == 10
    assert dedup(tmp_path / "dedup", DedupConfig(), raw).manifest.metrics["kept.documents"] == 10


# ── files from outside ──


@pytest.mark.parametrize("name", ["none.jsonl", "none.jsonl.gz", "none.jsonl.zst"])
def test_a_file_of_no_bytes_has_no_documents_and_stops_nobody(tmp_path: Path, name: str):
    lines(tmp_path / "in" / "some.jsonl", [{"text": "一"}])
    (tmp_path / "in" / name).write_bytes(b"")
    assert [one.text for one in read_documents(gather(tmp_path / "out", GatherConfig(), tmp_path / "in"))] == ["一"]


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_what_stands_before_the_place_where_a_file_breaks_off_is_kept_on_request(tmp_path: Path, suffix: str):
    rows = [{"id": f"d{n}", "text": prose(n, 3)} for n in range(6000)]
    whole = "".join(json.dumps(row) + "\n" for row in rows).encode()
    packed = gzip.compress(whole, 1) if suffix == "gz" else pa.compress(whole, "zstd", asbytes=True)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / f"cut.jsonl.{suffix}").write_bytes(packed[: len(packed) * 3 // 4])
    lines(tmp_path / "in" / "later.jsonl", [{"id": "later", "text": "一"}])
    config = GatherConfig.model_validate({"sources": [{"type": "jsonl", "malformed": "keep"}]})
    corpus = gather(tmp_path / "out", config, tmp_path / "in")
    *before, last = [one.id for one in read_documents(corpus)]
    assert before == [f"d{n}" for n in range(len(before))] and 3000 < len(before) < 6000 and last == "later"
    failed = list(read_rows(corpus, "failed", ("id", "reason")))
    assert [row["id"] for row in failed] == [f"cut.jsonl.{suffix}"]
    assert "cannot be read" in failed[0]["reason"] and str(tmp_path) not in failed[0]["reason"]


def strings(*values: bytes) -> pa.Array:
    """An array that says it is UTF-8, whatever it is."""
    return pa.Array.from_buffers(pa.string(), len(values), pa.array(values, pa.binary()).buffers())


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        (strings("良い".encode(), b"\xff\xfe"), r"web\.parquet:2.*not UTF-8"),
        (pa.array(["a", None]), r"web\.parquet:2 has no field 'text'"),
        (None, r"web\.parquet:1 has no field 'text'; it has 'id'"),
    ],
)
def test_a_row_of_parquet_that_is_no_document_is_one_sentence(tmp_path: Path, column: pa.Array | None, problem: str):
    columns: dict[str, Any] = {"id": ["a", "b"]} | ({} if column is None else {"text": column})
    pq.write_table(pa.table(columns), tmp_path / "web.parquet")
    config = GatherConfig.model_validate({"sources": [{"type": "parquet"}]})
    with pytest.raises(BunbukuError, match=problem) as error:
        gather(tmp_path / "out", config, tmp_path)
    assert error.value.hint and not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["empty", "cut", "twice"])
def test_a_damaged_parquet_file_and_an_id_twice_are_one_sentence(tmp_path: Path, damage: str):
    path = tmp_path / "web.parquet"
    pq.write_table(pa.table({"id": ["a", "a"], "text": ["一", "二"]}), path)
    if damage != "twice":
        path.write_bytes(b"" if damage == "empty" else path.read_bytes()[:-100])
    messages = {"empty": "does not read as Parquet", "cut": "does not read as Parquet", "twice": "the id 'a' was there"}
    with pytest.raises(BunbukuError, match=rf"web\.parquet.*{messages[damage]}") as error:
        gather(tmp_path / "out", GatherConfig.model_validate({"sources": [{"type": "parquet"}]}), tmp_path)
    assert "\n" not in str(error.value) and error.value.hint and not (tmp_path / "out").exists()


def test_a_nul_in_a_text_comes_through_and_is_cleaned_away(tmp_path: Path):
    text = prose(1, 4)
    source = lines(tmp_path / "nul.jsonl", [{"id": "nul", "text": text[:40] + "\0" + text[40:]}])
    raw = gather(tmp_path / "raw", GatherConfig(), source)
    assert next(read_documents(raw)).text.count("\0") == 1
    for name in ("clean", "annotate"):
        made = READERS[name](tmp_path / name, raw)
        assert isinstance(made, Artifact) and next(read_documents(made)).text == text
    assert dedup(tmp_path / "dedup", DedupConfig(), raw).manifest.metrics["kept.documents"] == 1


# ── the machine ──


def command(stage: str, given: dict[str, Path], out: Path, *more: str) -> list[str]:
    program = "import sys; from bunbuku_corpus.cli import main; sys.exit(main(sys.argv[1:]))"
    roles = [word for role, path in given.items() for word in (f"--{role}", str(path))]
    return [sys.executable, "-c", program, stage, *roles, "--out", str(out), *more]


def may_mount() -> bool:
    """Whether this machine lets us have a small disk of our own."""
    if shutil.which("unshare") is None:
        return False
    mount = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(mount, capture_output=True).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="no disk of our own can be mounted here")
@pytest.mark.parametrize(("stage", "workers"), [("gather", 0), ("extract", 1), ("clean", 1), ("annotate", 2)])
def test_a_disk_that_fills_is_one_sentence_and_costs_nothing(tmp_path: Path, stage: str, workers: int):
    raw = corpus_of(tmp_path, 400, sentences=30)
    source = pages(tmp_path / "pages", 4, 60, sentences=60) if stage == "extract" else tmp_path / "texts.jsonl"
    given = {"source": source} if stage in ("gather", "extract") else {"corpus": raw.dir}
    (tmp_path / "run.toml").write_text(f"workers = {max(workers, 1)}", encoding="utf-8")
    more = ("--run", str(tmp_path / "run.toml")) if workers else ()
    small = tmp_path / "small"
    small.mkdir()
    script = f'mount -t tmpfs -o size=200k tmpfs "{small}" && shift && "$@"; status=$?; test -e "{small}/out" && status=9; exit $status'
    call = ["unshare", "-rm", "sh", "-c", script, "sh", "-", *command(stage, given, small / "out", *more)]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == "", done.stderr
    assert "cannot be written: the disk is full" in done.stderr and "Traceback" not in done.stderr
    assert load(raw.dir, Corpus).content == raw.content
    whole = subprocess.run(command(stage, given, tmp_path / "out", *more), capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr


def killing_a_worker() -> threading.Thread:
    """Kills the first worker process that comes up."""

    def kill() -> None:
        while not multiprocessing.active_children():
            time.sleep(0.01)
        os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


@pytest.mark.parametrize("stage", ["extract", "annotate", "dedup"])
def test_a_worker_that_is_killed_is_one_sentence_and_the_same_command_goes_on(tmp_path: Path, stage: str):
    source = pages(tmp_path / "pages", 6, 20)
    raw = corpus_of(tmp_path, 600, shard=100)

    def run(out: Path) -> Artifact[Corpus]:
        if stage == "extract":
            return extract(out, ExtractConfig(), source, run=ExtractRun(workers=2))
        if stage == "annotate":
            return annotate(out, AnnotateConfig(), raw, run=AnnotateRun(workers=2))
        return dedup(out, DedupConfig(), raw, run=EngineRun(workers=2))

    thread = killing_a_worker()
    with pytest.raises(
        BunbukuError, match="one of 2 worker processes was killed, as happens when memory runs out"
    ) as error:
        run(tmp_path / "out")
    thread.join()
    assert "fewer `workers`" in str(error.value.hint) and not (tmp_path / "out").exists()
    assert run(tmp_path / "out").content == run(tmp_path / "whole").content


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


def waiting(folder: Path, pattern: str) -> int:
    return sum(1 for _ in folder.glob(pattern))


@pytest.mark.parametrize("stage", ["extract", "annotate"])
def test_killed_twice_it_goes_on_and_makes_the_same_bytes(tmp_path: Path, stage: str):
    if stage == "extract":
        given = {"source": pages(tmp_path / "pages", 30, 50)}
        pattern = ".out.*.scratch/*.parquet"
        whole = extract(tmp_path / "whole", ExtractConfig(), given["source"])
    else:
        raw = corpus_of(tmp_path, 1200, sentences=30, shard=150)
        given = {"corpus": raw.dir}
        pattern = ".out.*.scratch/done/*.arrow"
        whole = annotate(tmp_path / "whole", AnnotateConfig(), raw)
    call = command(stage, given, tmp_path / "out")
    assert killed(call, lambda _: waiting(tmp_path, pattern) >= 2)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob(pattern)}
    assert killed(call, lambda _: waiting(tmp_path, pattern) >= len(before) + 2)
    assert not (tmp_path / "out").exists()
    assert {path: path.stat().st_mtime_ns for path in before} == before  # what was done is not done again
    subprocess.run(call, check=True, capture_output=True)
    assert load(tmp_path / "out", Corpus).content == whole.content


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("stage", ["extract", "clean", "annotate"])
def test_killed_at_ten_random_moments_it_makes_the_same_bytes(tmp_path: Path, stage: str):
    (tmp_path / "run.toml").write_text("workers = 2", encoding="utf-8")
    if stage == "extract":
        given = {"source": pages(tmp_path / "pages", 40, 200, sentences=30)}
    else:
        given = {"corpus": corpus_of(tmp_path, 6000, sentences=30, shard=1500).dir}
    more = ("--run", str(tmp_path / "run.toml"))
    begun = time.monotonic()
    subprocess.run(command(stage, given, tmp_path / "whole", *more), check=True, capture_output=True)
    seconds = time.monotonic() - begun
    whole = load(tmp_path / "whole", Corpus).content
    moments, unfinished = random.Random(4), 0
    for n in range(10):
        call = command(stage, given, tmp_path / f"killed-{n}", *more)
        moment = moments.uniform(0.1, 0.8) * seconds
        unfinished += killed(call, lambda now, moment=moment: now > moment)
        subprocess.run(call, check=True, capture_output=True)
        assert load(tmp_path / f"killed-{n}", Corpus).content == whole, n
    assert unfinished >= 5


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_line_of_two_hundred_megabytes_goes_through_every_stage(tmp_path: Path):
    """A document of 67 million characters, between others. The memory of each stage is what benchmarks/RESULTS.md says."""
    sentence = prose(7, 1)
    huge = sentence * (200_000_000 // len(sentence.encode()))
    source = tmp_path / "huge.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for id, text in (("before", prose(1, 8)), ("huge", huge), ("after", prose(2, 8))):
            file.write(json.dumps({"id": id, "text": text, "language": "ja"}, ensure_ascii=False) + "\n")
    assert source.stat().st_size > 200_000_000
    with pytest.raises(BunbukuError, match=r"huge\.jsonl:2 is longer than `max_line_bytes` 100,000,000"):
        gather(tmp_path / "refused", GatherConfig(), source)
    kept = GatherConfig.model_validate({"sources": [{"type": "jsonl", "malformed": "keep"}]})
    held = gather(tmp_path / "held", kept, source)
    assert [one.id for one in read_documents(held)] == ["before", "after"]
    [failed] = read_rows(held, "failed", ("id", "text", "reason"))
    assert failed["id"] == "huge.jsonl:2" and "max_line_bytes" in failed["reason"] and len(failed["text"]) > 30_000_000
    (tmp_path / "gather.toml").write_text(
        '[[sources]]\ntype = "jsonl"\nmax_line_bytes = 300_000_000\n', encoding="utf-8"
    )
    (tmp_path / "clean.toml").write_text("filters = []\n", encoding="utf-8")
    given = {
        "raw": ("gather", {"source": source}, str(tmp_path / "gather.toml")),
        "clean": ("clean", {"corpus": tmp_path / "raw"}, str(tmp_path / "clean.toml")),
        "annotated": ("annotate", {"corpus": tmp_path / "raw"}, ""),
        "unique": ("dedup", {"corpus": tmp_path / "raw"}, ""),
    }
    for name, (stage, roles, config) in given.items():
        call = command(stage, roles, tmp_path / name)
        call[4:4] = [config] if config else []
        peak = peak_bytes(call)
        sys.stderr.write(f"{stage}: {peak / 2**20:,.0f} MiB at most\n")
        sizes = {one.id: len(one.text) for one in read_documents(load(tmp_path / name, Corpus))}
        assert sizes["huge"] == len(huge) and len(sizes) == 3
        assert peak < 6 << 30


def peak_bytes(call: list[str]) -> int:
    """The most memory that a command has held."""
    with subprocess.Popen(call, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as run:
        assert run.stderr is not None
        said = run.stderr.read().decode()
        _, status, used = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    assert run.returncode == 0, said
    assert isinstance(used, resource.struct_rusage)
    return used.ru_maxrss * 1024
