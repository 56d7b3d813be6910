"""Sources, through the stage that reads them."""

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Corpus
from bunbuku_corpus import Document, GatherConfig, GatherRun, gather, read_documents
from bunbuku_corpus.document import read_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

ROWS = [
    {
        "id": "a",
        "text": "犬が走る。",
        "source": "web",
        "url": "https://example.org/a",
        "licence": "MIT",
        "language": "ja",
    },
    {"id": "b", "text": "A cat sleeps.", "source": "web", "url": None, "licence": "CC0-1.0", "language": "en"},
]


def config(**source: Any) -> GatherConfig:
    return GatherConfig.model_validate({"sources": [source]})


def lines(rows: Sequence[object]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zst":
        with pa.output_stream(str(path), compression="zstd") as stream:
            stream.write(content)
    else:
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def gathered(tmp_path: Path, source: Path | None, **config_of_source: Any) -> Artifact[Corpus]:
    return gather(tmp_path / "out", config(**config_of_source), source)


@pytest.mark.parametrize("name", ["web.jsonl", "web.jsonl.gz", "web.jsonl.zst"])
def test_json_lines_keep_all_they_say(name: str, tmp_path: Path):
    corpus = gathered(tmp_path, write(tmp_path / name, lines(ROWS)), type="jsonl")
    assert list(read_documents(corpus)) == [Document(**row) for row in ROWS]
    assert corpus.spec.licences == ("CC0-1.0", "MIT")
    assert corpus.spec.languages == ("en", "ja")
    assert corpus.manifest.metrics["characters.ja"] == 5


def test_parquet_keeps_all_it_says(tmp_path: Path):
    pq.write_table(pa.Table.from_pylist([row | {"other": 1} for row in ROWS]), tmp_path / "web.parquet")
    corpus = gathered(tmp_path, tmp_path, type="parquet")
    assert list(read_documents(corpus)) == [Document(**row) for row in ROWS]


def test_a_saved_data_set_keeps_all_it_says(tmp_path: Path):
    import datasets

    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "saved"))
    corpus = gathered(tmp_path, tmp_path / "saved", type="datasets")
    assert list(read_documents(corpus)) == [Document(**row) for row in ROWS]


def test_a_split_of_a_saved_data_set_is_chosen(tmp_path: Path):
    import datasets

    both = datasets.DatasetDict(
        {"train": datasets.Dataset.from_list(ROWS[:1]), "test": datasets.Dataset.from_list(ROWS[1:])}
    )
    both.save_to_disk(str(tmp_path / "saved"))
    corpus = gathered(tmp_path, tmp_path / "saved", type="datasets", split="test")
    assert [document.id for document in read_documents(corpus)] == ["b"]
    with pytest.raises(BunbukuError, match="saved does not open as a data set"):
        gather(tmp_path / "other", config(type="datasets", split="dev"), tmp_path / "saved")


def test_a_folder_that_datasets_understands_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "csv" / "train.csv", "id,text\n1,犬\n2,猫\n".encode())
    documents = read_documents(gathered(tmp_path, Path("csv"), type="datasets"))
    assert [(document.id, document.text, document.source) for document in documents] == [
        ("1", "犬", "csv"),
        ("2", "猫", "csv"),
    ]


def test_a_hub_that_cannot_be_reached_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(BunbukuError, match=r"data set 'user/data' at 0+ cannot be read") as error:
        gathered(tmp_path, None, type="datasets", hub="user/data", revision="0" * 40)
    assert "--source DIR" in error.value.hint


def test_other_field_names_are_mapped_and_nested_ones_reached(tmp_path: Path):
    row = {"key": 7, "body": "本文です。", "meta": {"url": "https://example.org/7", "license": "MIT"}}
    fields = {"id": "key", "text": "body", "url": "meta.url", "licence": "meta.license"}
    source = write(tmp_path / "crawl.jsonl", lines([row]))
    [document] = read_documents(
        gathered(tmp_path, source, type="jsonl", fields=fields, language="ja", name="crawl of may")
    )
    assert document == Document("7", "本文です。", "crawl of may", "https://example.org/7", "MIT", "ja")


def test_what_a_row_does_not_say_gets_a_default(tmp_path: Path):
    source = write(tmp_path / "notes.jsonl.gz", lines([{"text": "一"}, {"text": "二"}, {"text": "一"}]))
    first, second, again = read_documents(gathered(tmp_path, source, type="jsonl"))
    assert (first.source, first.licence, first.language, first.url) == ("notes", "unknown", "und", None)
    assert len({first.id, second.id, again.id}) == 3
    assert again.id == f"{first.id}~2"


def test_ids_made_of_the_text_stay_when_rows_are_added(tmp_path: Path):
    few = gathered(
        tmp_path / "few", write(tmp_path / "few" / "n.jsonl", lines([{"text": "一"}, {"text": "二"}])), type="jsonl"
    )
    more = write(tmp_path / "more" / "n.jsonl", lines([{"text": "零"}, {"text": "二"}, {"text": "一"}]))
    ids = {document.text: document.id for document in read_documents(gathered(tmp_path / "more", more, type="jsonl"))}
    assert all(ids[document.text] == document.id for document in read_documents(few))


def test_several_sources_share_a_folder_in_the_order_of_the_config(tmp_path: Path):
    write(tmp_path / "in" / "web" / "2.jsonl", lines([{"text": "二"}]))
    write(tmp_path / "in" / "web" / "1.jsonl.gz", lines([{"text": "一"}]))
    pq.write_table(pa.table({"text": ["三"]}), tmp_path / "in" / "wiki.parquet")
    sources = [{"type": "parquet"}, {"type": "jsonl", "files": "web/*"}]
    corpus = gather(tmp_path / "out", GatherConfig.model_validate({"sources": sources}), tmp_path / "in")
    assert [document.text for document in read_documents(corpus)] == ["三", "一", "二"]


def test_only_a_line_feed_ends_a_line(tmp_path: Path):
    text = "一行目\u2028二行目\u0085三行目"
    corpus = gathered(tmp_path, write(tmp_path / "web.jsonl", lines([{"text": text}])), type="jsonl")
    assert [document.text for document in read_documents(corpus)] == [text]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"text": "x"', "is not JSON"),
        (b'["text"]', "is not a JSON object"),
        (b'{"text": 7}', "'text' is 7, not a text"),
        (b'{"text": null}', "'text' is null, not a text"),
        (b'{"body": "x"}', "has no field 'text'; it has 'body'"),
        (b'{"text": "\xff"}', "is not UTF-8"),
        (b'{"text": "\\ud83d"}', "half of a surrogate pair"),
        (b'{"text": "x", "id": {}}', "'id' is {}, not a text"),
        (b"[" * 100_000, "is nested too deeply"),
    ],
)
def test_a_malformed_line_is_one_sentence_with_its_number(line: bytes, problem: str, tmp_path: Path):
    source = write(tmp_path / "web.jsonl.gz", lines([{"text": "一"}, {"text": "二"}]) + line + b"\n")
    with pytest.raises(BunbukuError) as error:
        gathered(tmp_path, source, type="jsonl")
    assert f"{source}:3" in str(error.value) and problem in str(error.value)
    assert error.value.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["web.jsonl.gz", "web.jsonl.zst"])
def test_a_file_that_was_cut_off_is_refused(name: str, tmp_path: Path):
    source = write(tmp_path / name, lines([{"text": str(n * 7919 % 10_007)} for n in range(5000)]))
    source.write_bytes(source.read_bytes()[:-500])
    with pytest.raises(BunbukuError, match=f"{name} cannot be read"):
        gathered(tmp_path, source, type="jsonl")


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path):
    write(tmp_path / "web.parquet", b"no")
    with pytest.raises(BunbukuError, match=r"web\.parquet does not read as Parquet"):
        gathered(tmp_path, tmp_path, type="parquet")


def test_a_misspelt_field_is_not_covered_by_a_default(tmp_path: Path):
    source = write(tmp_path / "web.jsonl", lines([{"text": "一", "license": "MIT"}]))
    with pytest.raises(
        BunbukuError, match=r"no row has the field 'licens' that `fields.licence` names; .* has 'license', 'text'"
    ):
        gathered(tmp_path, source, type="jsonl", fields={"licence": "licens"})


def test_an_id_that_was_there_before_is_refused_with_its_place(tmp_path: Path):
    source = write(tmp_path / "web.jsonl", lines([{"id": "a", "text": "一"}, {"id": "a", "text": "二"}]))
    with pytest.raises(BunbukuError, match=r"web\.jsonl:2: the id 'a' was there before"):
        gathered(tmp_path, source, type="jsonl")


def test_nothing_to_read_is_one_sentence(tmp_path: Path):
    (tmp_path / "in").mkdir()
    with pytest.raises(BunbukuError, match=r"no file under .*in matches '\*\*/\*\.jsonl\*'"):
        gathered(tmp_path, tmp_path / "in", type="jsonl")
    with pytest.raises(BunbukuError, match="there is not one document in"):
        gathered(tmp_path, write(tmp_path / "in" / "empty.jsonl", b"\n\n"), type="jsonl")
    with pytest.raises(BunbukuError, match="no --source was given"):
        gathered(tmp_path, None, type="jsonl")


def test_a_revision_is_one_of_a_data_set_of_the_hub():
    with pytest.raises(ValidationError, match="is one of a `hub` data set, and none is named"):
        config(type="datasets", revision="1" * 40)
    config(type="datasets", hub="user/data", revision="1" * 40)  # asks nobody


SENTENCES = (
    "10\t犬が走る。\tA dog runs.\tEen hond rent.\n"
    "11\t猫が寝る。\t-\t-\n"
    "12\t鳥が飛ぶ。\tA bird flies.\t-\n"
    "13\t鳥は飛ぶ。\tA bird flies.\t-\n"
    "14\t-\tOnly English.\t-\n"
)


def test_tatoeba_joins_consecutive_sentences_and_keeps_the_pairs(tmp_path: Path):
    source = write(tmp_path / "SENTENCES", SENTENCES.encode())
    corpus = gathered(tmp_path, source, type="tatoeba", sentences_per_document=2)
    documents = {document.id: document for document in read_documents(corpus)}
    assert {id: document.text for id, document in documents.items()} == {
        "tatoeba:0": "犬が走る。\n猫が寝る。",
        "tatoeba:0#en": "A dog runs.",
        "tatoeba:1": "鳥が飛ぶ。\n鳥は飛ぶ。",
        "tatoeba:1#en": "A bird flies.",
        "tatoeba:2#en": "Only English.",
    }
    assert documents["tatoeba:1"].url == "https://tatoeba.org/sentences/show/12"
    pairs = list(read_documents(corpus, "parallel"))
    assert [(pair.id, pair.text) for pair in pairs] == [
        ("tatoeba:0/10", "犬が走る。\nA dog runs."),
        ("tatoeba:1/12", "鳥が飛ぶ。\nA bird flies."),
        ("tatoeba:1/13", "鳥は飛ぶ。\nA bird flies."),
    ]
    assert {pair.language for pair in pairs} == {"ja-en"}
    assert corpus.spec.licences == ("CC BY 2.0 FR",)
    assert corpus.spec.languages == ("en", "ja")


def test_tatoeba_keeps_the_share_of_a_language_that_is_asked_for(tmp_path: Path):
    content = "".join(f"{n}\t文{n}。\tSentence {n}.\n" for n in range(2000)).encode()
    source = write(tmp_path / "SENTENCES", content)
    keep = {"ja": 1.0, "en": 0.25}
    corpus = gathered(tmp_path, source, type="tatoeba", sentences_per_document=2, keep=keep)
    assert corpus.manifest.metrics["documents.ja"] == 1000
    assert corpus.manifest.metrics["documents.en"] == pytest.approx(250, rel=0.2)
    assert corpus.manifest.metrics["pairs"] == 2000


def test_tatoeba_reads_only_so_many_blocks(tmp_path: Path):
    source = write(tmp_path / "SENTENCES", SENTENCES.encode())
    corpus = gathered(tmp_path, source, type="tatoeba", sentences_per_document=2, max_blocks=1)
    assert [document.id for document in read_documents(corpus)] == ["tatoeba:0", "tatoeba:0#en"]


@pytest.mark.parametrize(("line", "problem"), [(b"12\tonly\n", "has 2 columns"), (b"12\t\xff\t-\n", "is not UTF-8")])
def test_a_line_that_is_no_sentence_is_one_sentence_with_its_number(line: bytes, problem: str, tmp_path: Path):
    source = write(tmp_path / "SENTENCES", SENTENCES.encode() + line)
    with pytest.raises(BunbukuError, match=f"SENTENCES:6 {problem}"):
        gathered(tmp_path, source, type="tatoeba")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=8),
    suffix=st.sampled_from(["", ".gz", ".zst"]),
)
def test_every_text_comes_through_json_lines_unchanged(
    texts: list[str], suffix: str, tmp_path_factory: pytest.TempPathFactory
):
    folder = tmp_path_factory.mktemp("corpus")
    source = write(folder / f"web.jsonl{suffix}", lines([{"text": text} for text in texts]))
    assert [document.text for document in read_documents(gathered(folder, source, type="jsonl"))] == texts


@pytest.mark.parametrize(
    ("shape", "row", "expected"),
    [
        (
            "culturax",
            {"text": "本文", "timestamp": "2020-01-01", "url": "https://example.jp/", "source": "OSCAR-2301"},
            ("OSCAR-2301", "https://example.jp/", "und"),
        ),
        (
            "mc4",
            {"text": "本文", "timestamp": "2020-01-01", "url": "https://example.jp/"},
            ("web", "https://example.jp/", "und"),
        ),
        (
            "slimpajama",
            {"text": "本文", "meta": {"redpajama_set_name": "RedPajamaWikipedia"}},
            ("RedPajamaWikipedia", None, "und"),
        ),
        (
            "fineweb-2",
            {
                "text": "本文",
                "id": "<urn:uuid:1>",
                "dump": "CC-MAIN-2024-10",
                "url": "https://example.jp/",
                "language": "jpn",
            },
            ("CC-MAIN-2024-10", "https://example.jp/", "ja"),
        ),
        (
            "llm-jp-corpus",
            {"text": "本文", "meta": {"id": "1", "url": "https://example.jp/", "language": "ja"}},
            ("web", "https://example.jp/", "ja"),
        ),
    ],
)
def test_a_known_collection_is_read_as_it_is(
    tmp_path: Path, shape: str, row: dict[str, object], expected: tuple[str, str | None, str]
):
    write(tmp_path / "in" / "web.jsonl", lines([row]))
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "in" / "web.parquet")
    for kind in ("jsonl", "parquet"):
        [document] = read_documents(gather(tmp_path / kind, config(type=kind, shape=shape), tmp_path / "in"))
        assert (document.source, document.url, document.language) == expected
        assert document.text == "本文"


def _lost(corpus: Artifact[Corpus]) -> list[dict[str, str]]:
    return list(read_rows(corpus, "failed", ("id", "text", "reason")))


def test_lines_that_cannot_be_read_are_kept_with_what_is_wrong_and_nothing_is_lost(tmp_path: Path):
    good = json.dumps({"text": "良い行"}).encode()
    long = b'{"text": "' + b"x" * 4000 + b'"}'
    bad = [b"{broken", b'{"text": "\xff\xfe"}', b'{"text": "a\0b"}', b"[1]", long]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([good, *bad, b"", good.replace(b"text", b"text")]))
    (tmp_path / "b.jsonl").write_bytes(b"")
    packed = gzip.compress(
        b"\n".join(json.dumps({"text": f"{n}行目", "k": os.urandom(40).hex()}).encode() for n in range(999))
    )
    (tmp_path / "c.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    source = {"type": "jsonl", "malformed": "keep", "max_line_bytes": 1000}
    corpus = gather(tmp_path / "out", GatherConfig.model_validate({"sources": [source]}), tmp_path)
    lost = _lost(corpus)
    assert [row["id"] for row in lost] == [*(f"a.jsonl:{n}" for n in range(2, 7)), "c.jsonl.gz"]
    words = (
        "is not JSON",
        "is not UTF-8",
        "is not JSON",
        "is not a JSON object",
        "longer than `max_line_bytes` 1,000",
        "cannot be read",
    )
    assert all(word in row["reason"] for word, row in zip(words, lost, strict=True))
    assert lost[1]["text"] == '{"text": "\\xff\\xfe"}\n'
    assert corpus.manifest.metrics["failed"] == 6
    texts = [one.text for one in read_documents(corpus)]
    assert texts.count("良い行") == 2 and 100 < len(texts) < 999


def test_a_line_that_is_too_long_ends_a_run_with_its_place(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n{"text": "' + b"x" * 2_000_000 + b'"}\n')
    config = GatherConfig.model_validate({"sources": [{"type": "jsonl", "max_line_bytes": 1_000_000}]})
    with pytest.raises(BunbukuError, match=r"a\.jsonl:2 is longer than `max_line_bytes` 1,000,000"):
        gather(tmp_path / "out", config, tmp_path)


BAD_ROWS: list[dict[str, object]] = [
    {"id": "good", "text": "良い行"},
    {"id": "null", "text": None},
    {"id": "number", "text": 7},
    {"id": "half", "text": "\ud83d"},
    {"id": "good", "text": "同じ名前"},
    {"id": "last", "text": "最後の行"},
]


def _is_kept_with_its_error(corpus: Artifact[Corpus], place: str, problems: dict[int, str], texts: list[str]) -> None:
    lost = _lost(corpus)
    assert [row["id"] for row in lost] == [f"{place}:{number}" for number in problems]
    for row, problem in zip(lost, problems.values(), strict=True):
        assert row["reason"].startswith(row["id"]) and problem in row["reason"]
    assert [one.text for one in read_documents(corpus)] == texts
    assert corpus.manifest.metrics["failed"] == len(problems)
    assert corpus.manifest.metrics["documents"] == len(texts)


def test_rows_of_json_lines_that_make_no_document_are_kept_with_their_error(tmp_path: Path):
    rows = [*BAD_ROWS, {"id": "none"}]
    (tmp_path / "web.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = gathered(tmp_path, tmp_path / "web.jsonl", type="jsonl", malformed="keep")
    problems = {
        2: "'text' is null",
        3: "'text' is 7, not a text",
        4: "half of a surrogate pair",
        5: "the id 'good' was there before",
        7: "has no field 'text'; it has 'id'",
    }
    _is_kept_with_its_error(corpus, "web.jsonl", problems, ["良い行", "最後の行"])
    texts = [row["text"] for row in _lost(corpus)]
    assert texts[0] == '{"id": "null", "text": null}' and texts[2] == '{"id": "half", "text": "\\ud83d"}'
    assert texts[3] == "同じ名前"


def test_rows_of_parquet_that_make_no_document_are_kept_with_their_error(tmp_path: Path):
    texts = pa.array(["良い行".encode(), None, b"\xff\xfe", "同じ名前".encode(), "最後の行".encode()], pa.binary())
    strings = pa.Array.from_buffers(pa.string(), len(texts), texts.buffers())
    ids = ["good", "null", "bytes", "good", "last"]
    pq.write_table(pa.table({"id": ids, "text": strings}), tmp_path / "web.parquet")
    write(tmp_path / "worse.parquet", b"no")
    corpus = gathered(tmp_path, tmp_path, type="parquet", malformed="keep")
    assert "does not read as Parquet" in _lost(corpus)[-1]["reason"]
    problems = {2: "'text' is null", 3: "is not UTF-8", 4: "the id 'good' was there before"}
    assert [row["id"] for row in _lost(corpus)] == [*(f"web.parquet:{n}" for n in problems), "worse.parquet"]
    for row, problem in zip(_lost(corpus), problems.values(), strict=False):
        assert problem in row["reason"]
    assert [one.text for one in read_documents(corpus)] == ["良い行", "最後の行"]
    with pytest.raises(BunbukuError, match=r"web\.parquet:2: 'text' is null"):
        gather(tmp_path / "stop", config(type="parquet", files="web.parquet"), tmp_path)


def test_rows_of_a_data_set_that_make_no_document_are_kept_with_their_error(tmp_path: Path):
    import datasets

    rows = [row for row in BAD_ROWS if isinstance(row["text"], str | None) and row["id"] != "half"]
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))
    corpus = gathered(tmp_path, tmp_path / "saved", type="datasets", malformed="keep")
    problems = {2: "'text' is null", 3: "the id 'good' was there before"}
    _is_kept_with_its_error(corpus, "saved", problems, ["良い行", "最後の行"])


def test_a_run_goes_on_with_the_file_that_it_was_at(tmp_path: Path):
    for number in range(4):
        write(tmp_path / "in" / f"{number}.jsonl", lines([{"text": f"{number}の{n}"} for n in range(3)]))
    whole = gather(tmp_path / "whole", config(type="jsonl"), tmp_path / "in")
    write(tmp_path / "broken" / "2.jsonl", b"{")
    for number in (0, 1, 3):
        write(tmp_path / "broken" / f"{number}.jsonl", (tmp_path / "in" / f"{number}.jsonl").read_bytes())
    with pytest.raises(BunbukuError, match=r"2\.jsonl:1 is not JSON"):
        gathered(tmp_path, tmp_path / "broken", type="jsonl")
    [scratch] = tmp_path.glob(".out.*.scratch")
    read = {path.name: path.stat().st_mtime_ns for path in scratch.glob("*.parquet")}
    assert sorted(read) == ["000000.parquet", "000001.parquet"]
    with pytest.raises(BunbukuError, match=r"2\.jsonl:1 is not JSON"):
        gathered(tmp_path, tmp_path / "broken", type="jsonl")
    assert {path.name: path.stat().st_mtime_ns for path in scratch.glob("*.parquet")} == read
    two = gather(tmp_path / "two", config(type="jsonl"), tmp_path / "in", run=GatherRun(workers=2))
    assert two.content == whole.content
