"""What the stages say, and what is left of their work, when files are damaged.

`test_gather.py` and `test_extract.py` have more of what is particular to one of them, `test_machine.py` what happens when it is
the machine that fails.
"""

import gzip
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Corpus, load
from bunbuku_corpus import (
    AnnotateConfig,
    CleanConfig,
    DedupConfig,
    GatherConfig,
    MixConfig,
    SplitConfig,
    ThinConfig,
    annotate,
    clean,
    dedup,
    gather,
    mix,
    read_documents,
    split,
    thin,
)
from bunbuku_corpus.document import read_rows

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
def test_a_damaged_shard_is_one_sentence_with_its_name(make, tmp_path: Path, name: str, damage: str):
    raw = make.some(tmp_path, 30, shard=10)
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


def test_ids_that_are_there_twice_cost_no_document(make, tmp_path: Path):
    """`gather` lets none come about; who made shards in another way loses nothing by it."""
    raw = make.some(tmp_path, 10)
    path = raw.path(raw.files()[0])
    path.chmod(0o644)
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, table.schema.field("id"), pa.array(["same"] * 10)), path)
    assert clean(tmp_path / "clean", CleanConfig(filters=()), raw).manifest.metrics["kept.documents"] == 10
    assert dedup(tmp_path / "dedup", DedupConfig(), raw).manifest.metrics["kept.documents"] == 10


# ── files from outside ──


@pytest.mark.parametrize("name", ["none.jsonl", "none.jsonl.gz", "none.jsonl.zst"])
def test_a_file_of_no_bytes_has_no_documents_and_stops_nobody(make, tmp_path: Path, name: str):
    make.lines(tmp_path / "in" / "some.jsonl", [{"text": "一"}])
    (tmp_path / "in" / name).write_bytes(b"")
    assert [one.text for one in read_documents(gather(tmp_path / "out", GatherConfig(), tmp_path / "in"))] == ["一"]


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_what_stands_before_the_place_where_a_file_breaks_off_is_kept_on_request(make, tmp_path: Path, suffix: str):
    rows = [{"id": f"d{n}", "text": make.prose(n, 3)} for n in range(6000)]
    whole = "".join(json.dumps(row) + "\n" for row in rows).encode()
    packed = gzip.compress(whole, 1) if suffix == "gz" else pa.compress(whole, "zstd", asbytes=True)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / f"cut.jsonl.{suffix}").write_bytes(packed[: len(packed) * 3 // 4])
    make.lines(tmp_path / "in" / "later.jsonl", [{"id": "later", "text": "一"}])
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
        (pa.array(["a", None]), r"web\.parquet:2: 'text' is null"),
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


def test_a_nul_in_a_text_comes_through_and_is_cleaned_away(make, tmp_path: Path):
    text = make.prose(1, 4)
    source = make.lines(tmp_path / "nul.jsonl", [{"id": "nul", "text": text[:40] + "\0" + text[40:]}])
    raw = gather(tmp_path / "raw", GatherConfig(), source)
    assert next(read_documents(raw)).text.count("\0") == 1
    for name in ("clean", "annotate"):
        made = READERS[name](tmp_path / name, raw)
        assert isinstance(made, Artifact) and next(read_documents(made)).text == text
    assert dedup(tmp_path / "dedup", DedupConfig(), raw).manifest.metrics["kept.documents"] == 1


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_line_of_two_hundred_megabytes_goes_through_every_stage(make, tmp_path: Path):
    """A document of 67 million characters, between others. The memory of each stage is what benchmarks/RESULTS.md says."""
    sentence = make.prose(7, 1)
    huge = sentence * (200_000_000 // len(sentence.encode()))
    source = tmp_path / "huge.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for id, text in (("before", make.prose(1, 8)), ("huge", huge), ("after", make.prose(2, 8))):
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
        call = make.command(stage, roles.items(), tmp_path / name)
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
