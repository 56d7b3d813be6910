"""The stages one after another, through the names a user calls."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bunbuku_contracts import Artifact, BunbukuError, Corpus, load, read_sections
from bunbuku_corpus import (
    CleanConfig,
    CleanRun,
    DedupConfig,
    Document,
    GatherConfig,
    SplitConfig,
    clean,
    dedup,
    gather,
    read_documents,
    split,
)
from bunbuku_corpus.cli import main
from bunbuku_corpus.document import read_rows
from bunbuku_corpus.filters import AnyFilter, OtherLanguage
from bunbuku_corpus.sources import AnySource
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

PROSE = (
    "今日は朝から雨が降っていたので、外に出るのをやめて家で本を読んだ。",
    "駅前の新しい食堂では、安くておいしい定食が毎日食べられる。",
    "山の上から見た町の灯りは、まるで星のようにきらきらと輝いていた。",
    "来週の会議で使う資料を、明日までに準備しておかなければならない。",
)
AWFUL = (
    "短い",
    "安い！安い！安い！安い！安い！" * 4,
    "This is English, not Japanese, whatever its label says.",
    "12345678901234567890 12345 67890",
)
STRICT = CleanConfig.model_validate(
    {
        "filters": [
            {"type": "too_short", "min_chars": 20},
            {"type": "other_language"},
            {"type": "too_little_kana"},
            {"type": "repeated_ngrams", "n": 4},
        ]
    }
)


def corpus_of(folder: Path, texts: list[str], language: str = "ja") -> Artifact[Corpus]:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"id": f"d{n}", "text": text, "language": language, "licence": "MIT"} for n, text in enumerate(texts)]
    source = folder / "texts.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return gather(folder / "raw", GatherConfig(), source)


def report_of(artifact: Artifact[Corpus]) -> dict[str, Any]:
    [file] = artifact.files("report")
    return json.loads(artifact.path(file).read_text(encoding="utf-8"))


def documents_of(artifact: Artifact[Corpus], part: str) -> list[Document]:
    return list(read_documents(artifact, part)) if part in artifact.manifest.parts else []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(texts=st.lists(st.sampled_from([*PROSE, *AWFUL]), max_size=12))
def test_what_is_kept_and_what_is_dropped_is_what_was_seen(texts: list[str], tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("run")
    raw = corpus_of(folder, [PROSE[0], *texts])
    seen = {document.id for document in read_documents(raw)}
    cleaned = clean(folder / "clean", STRICT, raw)
    fresh = dedup(folder / "dedup", DedupConfig(), cleaned)
    for before, after in ((seen, cleaned), ({one.id for one in read_documents(cleaned)}, fresh)):
        kept, dropped = documents_of(after, "data"), documents_of(after, "dropped")
        assert sorted(one.id for one in [*kept, *dropped]) == sorted(before)
        metrics, report = after.manifest.metrics, report_of(after)
        assert metrics["seen.documents"] == len(before)
        assert metrics["kept.documents"] == len(kept)
        assert report["kept"]["characters"] == sum(len(one.text) for one in kept)
        assert report["seen"]["characters"] == sum(len(one.text) for one in [*kept, *dropped])


def test_every_dropped_document_has_its_reason(tmp_path: Path):
    cleaned = clean(tmp_path / "clean", STRICT, corpus_of(tmp_path, [*PROSE, *AWFUL]))
    rows = read_rows(cleaned, "dropped", ("text", "reason"))
    assert {row["text"]: row["reason"] for row in rows} == {
        AWFUL[0]: "too_short",
        AWFUL[1]: "repeated_ngrams_4",
        AWFUL[2]: "other_language",
        AWFUL[3]: "other_language",
    }
    assert [one.text for one in read_documents(cleaned)] == list(PROSE)


def test_the_report_counts_each_filter_alone_and_in_sequence(tmp_path: Path):
    cleaned = clean(tmp_path / "clean", STRICT, corpus_of(tmp_path, [*PROSE, *AWFUL, AWFUL[0] * 4]))
    filters = {one["name"]: one for one in report_of(cleaned)["filters"]}
    alone = {name: one["alone"]["documents"] for name, one in filters.items()}
    in_sequence = {name: one["in_sequence"]["documents"] for name, one in filters.items()}
    assert alone == {"too_short": 2, "other_language": 2, "too_little_kana": 2, "repeated_ngrams_4": 3}
    assert in_sequence == {"too_short": 2, "other_language": 2, "too_little_kana": 0, "repeated_ngrams_4": 1}
    assert cleaned.manifest.metrics["alone.too_little_kana.documents"] == 2
    assert cleaned.manifest.metrics["in_sequence.repeated_ngrams_4.characters"] == len(AWFUL[1])
    assert {sample["text"] for sample in filters["other_language"]["samples"]} == {AWFUL[2], AWFUL[3]}
    titles = [section.title for section in read_sections(cleaned)]
    assert titles == ["What the filters removed", "What was kept, by source", "Normalization"]


def test_normalization_is_reported(tmp_path: Path):
    cleaned = clean(tmp_path / "clean", STRICT, corpus_of(tmp_path, ["か\u3099\r\n①" + PROSE[0], PROSE[1]]))
    assert next(read_documents(cleaned)).text == "が\n①" + PROSE[0]
    report = report_of(cleaned)["normalization"]
    assert report["changed_documents"] == 1 and report["newlines"] == 1
    assert report["replaced"] == [{"before": "か\u3099", "after": "が", "times": 1}]
    assert report["nfkc_would_replace"] == [{"before": "①", "after": "1", "times": 1}]


def test_edits_are_made_before_texts_are_judged_and_reported(tmp_path: Path):
    config = CleanConfig.model_validate(
        {"filters": [{"type": "too_short", "min_chars": 20}], "edits": [{"type": "trim_footer"}]}
    )
    cleaned = clean(tmp_path / "clean", config, corpus_of(tmp_path, [PROSE[0] + "\nサイトマップ", PROSE[1]]))
    assert [one.text for one in read_documents(cleaned)] == list(PROSE[:2])
    assert report_of(cleaned)["normalization"]["edited"] == {"trim_footer": 1}
    assert "trim_footer: 1" in read_sections(cleaned)[-1].paragraphs[-1]


def test_a_document_of_unknown_language_gets_the_one_it_is_written_in(tmp_path: Path):
    raw = corpus_of(tmp_path, [PROSE[0], AWFUL[2]], language="und")
    cleaned = clean(tmp_path / "clean", CleanConfig(filters=()), raw)
    assert [one.language for one in read_documents(cleaned)] == ["ja", "en"]
    assert cleaned.spec.languages == ("en", "ja")


def test_a_split_divides_and_later_documents_move_none(tmp_path: Path):
    config = SplitConfig(validation=0.2, test=0.2)
    texts = [f"{n}番目の文です。" for n in range(80)]
    few = split(tmp_path / "few" / "split", config, corpus_of(tmp_path / "few", texts[:40]))
    more = split(tmp_path / "more" / "split", config, corpus_of(tmp_path / "more", texts))
    for part in ("train", "validation", "test"):
        ids = {one.id for one in read_documents(few, part)}
        assert ids and ids <= {one.id for one in read_documents(more, part)}
    assert sum(len(documents_of(more, part)) for part in ("train", "validation", "test")) == 80


def test_a_part_that_would_be_empty_is_one_sentence(tmp_path: Path):
    with pytest.raises(BunbukuError, match="not one of 2 documents falls into 'validation'"):
        split(tmp_path / "split", SplitConfig(test=0), corpus_of(tmp_path, list(PROSE[:2])))


def test_dropping_everything_is_one_sentence_that_names_the_filter(tmp_path: Path):
    with pytest.raises(BunbukuError, match="every one of 1 documents was dropped, 1 by 'too_short'"):
        clean(tmp_path / "clean", STRICT, corpus_of(tmp_path, ["短い"]))


def test_two_filters_of_one_name_are_refused():
    with pytest.raises(ValidationError, match="'too_short' is there twice"):
        CleanConfig.model_validate({"filters": [{"type": "too_short"}, {"type": "too_short", "min_chars": 1}]})


def test_licences_and_languages_travel(tmp_path: Path):
    fresh = dedup(
        tmp_path / "dedup", DedupConfig(), clean(tmp_path / "clean", STRICT, corpus_of(tmp_path, list(PROSE)))
    )
    assert fresh.spec == Corpus(languages=("ja",), licences=("MIT",))


def test_the_number_of_workers_changes_no_byte(tmp_path: Path):
    raw = corpus_of(tmp_path, [f"{PROSE[n % 4]}{n}" for n in range(700)] + list(AWFUL))
    one = clean(tmp_path / "one", STRICT, raw)
    two = clean(tmp_path / "two", STRICT, raw, run=CleanRun(workers=2))
    assert one.content == two.content
    assert one.manifest.metrics == two.manifest.metrics


@pytest.mark.long
def test_workers_end_with_a_parent_that_is_killed_and_the_next_run_gives_the_same_bytes(tmp_path: Path):
    raw = corpus_of(tmp_path, [f"{PROSE[n % 4]}{n}" * 20 for n in range(4000)])
    (tmp_path / "run.toml").write_text("workers = 2", encoding="utf-8")
    arguments = [
        "clean",
        "--corpus",
        str(raw.dir),
        "--out",
        str(tmp_path / "clean"),
        "--run",
        str(tmp_path / "run.toml"),
    ]
    program = f"from bunbuku_corpus.cli import main; main({arguments})"
    parent = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    _wait_for(lambda: len(children.read_text().split()) >= 3)  # two workers and the tracker of their resources
    workers = [Path("/proc", pid) for pid in children.read_text().split()]
    parent.kill()
    parent.wait()
    _wait_for(lambda: not any(worker.exists() for worker in workers))
    assert not (tmp_path / "clean").exists()
    config = CleanConfig(filters=(OtherLanguage(),))
    again = clean(tmp_path / "clean", config, raw)
    assert again.content == clean(tmp_path / "other", config, raw).content


def _wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_command_line_gives_the_same_bytes_under_any_hash_seed(tmp_path: Path):
    raw = corpus_of(tmp_path, [*PROSE, *AWFUL, *PROSE])
    for name, text in (("clean", 'filters = [{ type = "too_short", min_chars = 5 }]'), ("dedup", "")):
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
    contents: list[str] = []
    for seed in ("0", "4711"):
        out = tmp_path / seed
        calls = [
            [stage, str(tmp_path / config), "--corpus", str(source), "--out", str(out / stage)]
            for stage, config, source in (("clean", "clean.toml", raw.dir), ("dedup", "dedup.toml", out / "clean"))
        ]
        program = f"from bunbuku_corpus.cli import main; raise SystemExit(sum(map(main, {calls})))"
        environment = os.environ | {"PYTHONHASHSEED": seed, "LC_ALL": "C"}
        subprocess.run([sys.executable, "-c", program], check=True, env=environment, capture_output=True)
        contents.append(load(out / "dedup", Corpus).content)
    assert contents[0] == contents[1]


def test_a_mistake_at_the_shell_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "clean.toml").write_text('[[filters]]\ntype = "too_short"\nmin_char = 3\n', encoding="utf-8")
    raw = corpus_of(tmp_path, list(PROSE))
    status = main(["clean", str(tmp_path / "clean.toml"), "--corpus", str(raw.dir), "--out", str(tmp_path / "out")])
    assert status == 1
    error = capsys.readouterr().err
    assert "min_char" in error and "min_chars" in error and "Traceback" not in error


def test_the_help_names_every_filter_and_every_source(capsys: pytest.CaptureFixture[str]):
    unions: dict[str, Any] = {"gather": AnySource, "clean": AnyFilter}
    for stage, union in unions.items():
        with pytest.raises(SystemExit) as end:
            main([stage, "--help"])
        assert end.value.code == 0
        help = capsys.readouterr().out
        kinds = TypeAdapter(union).json_schema()["discriminator"]["mapping"]
        assert len(kinds) >= 4 and all(kind in help for kind in kinds)
