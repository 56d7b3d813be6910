"""Facts in a corpus: found however they are written, counted as a brute force counts them, and never twice for a copy."""

import json
from itertools import product
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Corpus, read_sections
from bunbuku_corpus import CoverageConfig, GatherConfig, coverage, gather
from bunbuku_corpus.document import Document
from bunbuku_corpus.exposures import Coverages, Windows, is_stated, nearest
from bunbuku_corpus.facts import Fact, read_facts
from bunbuku_corpus.mentions import Finder, Span, Spans, folded
from hypothesis import given
from hypothesis import strategies as st

NOBITA = Fact(id="n", subject=("野比のび太", "のび太"), relation=("特技", "得意"), object=("あやとり",))
WORDS = ("のび太", "あやとり", "特技", "、", "とても長い文", "東京", "東京都", "ab")


def document(text: str, id: str = "d", url: str | None = None, source: str = "s") -> Document:
    return Document(id, text, source, url, "MIT", "ja")


def counted(texts: list[str], fact: Fact = NOBITA, windows: Windows | None = None) -> tuple[int, ...]:
    tally = Coverages([fact], windows or Windows(near_chars=5, far_chars=20))
    for number, text in enumerate(texts):
        tally.add(document(text, str(number)))
    [found] = tally.finish()
    return found.subject, found.object, found.document, found.far, found.near, found.stated, found.exposures


def spans_of(text: str, words: tuple[str, ...]) -> list[Span]:
    return [Span(at, at + len(word)) for word in words for at in range(len(text)) if text.startswith(word, at)]


def apart(left: Span, right: Span) -> int:
    return max(right.start - left.end, left.start - right.end)


@given(st.lists(st.sampled_from(WORDS), max_size=12).map("".join), st.integers(0, 12))
def test_the_nearest_pair_and_the_statement_are_those_of_a_brute_force(text: str, chars: int):
    words = (("のび太",), ("あやとり", "東京"), ("特技", "東京都"))
    found = Finder(words).find(text)
    empty = Spans(())
    subject, object, relation = (found.get(index, empty) for index in range(3))
    everything = [spans_of(text, word) for word in words]
    pairs = [(one, other) for one, other in product(everything[0], everything[1]) if apart(one, other) >= 0]
    pair = nearest(subject, object)
    assert (pair.gap if pair else None) == min((apart(*one) for one in pairs), default=None)
    hulls = [Span(min(a.start, b.start), max(a.end, b.end)) for a, b in pairs if apart(a, b) <= chars]
    expected = any(apart(hull, word) <= chars for hull, word in product(hulls, everything[2]))
    assert is_stated(subject, object, relation, chars) is expected


@given(st.text("のび太あやとりカタナabc12 ", max_size=60))
def test_the_finder_finds_what_a_search_for_each_word_finds(text: str):
    words = ("のび太", "び太", "あや", "カタ", "カタナ", "ab", "1")
    kinds = {**dict.fromkeys("カタナ", 1), **dict.fromkeys("abc", 2), **dict.fromkeys("12", 3)}

    def free(at: int) -> bool:
        return not 0 < at < len(text) or kinds.get(text[at - 1], 0) != kinds.get(text[at], 0) or text[at] not in kinds

    for index, word in enumerate(words):
        expected = [one for one in spans_of(text, (word,)) if free(one.start) and free(one.end)]
        assert list(Finder([(one,) for one in words]).find(text).get(index, ())) == expected


def test_each_level_is_counted_by_the_distance_between_subject_and_object():
    far, document_only = "のび太は" + "あ" * 12 + "あやとり", "のび太" + "あ" * 40 + "あやとり"
    texts = ["のび太はあやとりが得意", "あやとりとのび太", far, document_only, "のび太", "あやとり"]
    assert counted(texts) == (5, 5, 4, 3, 2, 1, 2)


def test_width_and_ways_of_writing_make_no_difference():
    fact = Fact(subject=("Doraemon", "ドラえもん"), object=("ポケット",))
    assert counted(["ＤＯＲＡＥＭＯＮのﾎﾟｹｯﾄ", "ドラえもんのポケット"], fact)[-1] == 2
    assert folded("ﾎﾟｹｯﾄ") == "ポケット"


def test_a_word_inside_a_longer_one_is_no_mention():
    assert counted(["ポケットモンスターとdoraemons"], Fact(subject=("doraemon",), object=("モンスター",)))[:2] == (0, 0)
    assert counted(["東京都"], Fact(subject=("東京都",), object=("東京",)))[:3] == (1, 1, 0)


def test_copies_are_one_exposure_and_hosts_are_domains():
    tally = Coverages([NOBITA], Windows())
    text = "のび太はあやとりが得意"
    tally.add(document(text, "1", "https://www.a.example/1"))
    tally.add(document(f"{text} ", "2", "https://a.example/2"))
    tally.add(document(f"{text}だ", "3", None, "blogs"))
    [found] = tally.finish()
    assert (found.near, found.exposures, len(found.domains)) == (3, 2, 2)
    clustered = Coverages([NOBITA], Windows())
    for id in "123":
        clustered.add(document(f"{text}{id}", id), cluster="c" if id < "3" else None)
    assert clustered.finish()[0].exposures == 2


@given(st.permutations([f"のび太は{'あ' * gap}あやとりが得意" for gap in range(0, 60, 5)]))
def test_the_order_of_documents_changes_nothing(texts: list[str]):
    def result(texts: list[str]) -> list[object]:
        tally = Coverages([NOBITA], Windows(near_chars=30, samples=2))
        for text in texts:
            tally.add(document(text, str(len(text))))
        [found] = tally.finish()
        return [found.document, found.near, found.texts, [one.id for one in found.passages]]

    assert result(texts) == result(sorted(texts))


def corpus_of(folder: Path, texts: list[str]) -> Artifact[Corpus]:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"id": f"d{n}", "text": text, "licence": "MIT", "language": "ja"} for n, text in enumerate(texts)]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return gather(folder / "raw", GatherConfig(), folder / "texts.jsonl")


def facts_of(folder: Path, *lines: object) -> Path:
    path = folder / "facts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_the_stage_says_which_facts_are_said_often_enough(tmp_path: Path):
    corpus = corpus_of(tmp_path, [f"{n}日、のび太はあやとりをした。" for n in range(12)] + ["しずかとバイオリン"])
    facts = facts_of(
        tmp_path,
        {"subject": ["野比のび太", "のび太"], "object": "あやとり"},
        {"subject": "しずか", "object": "バイオリン"},
        {"id": "taiko", "subject": "のび太", "object": "太鼓"},
    )
    report = coverage(tmp_path / "coverage", CoverageConfig(enough=10), corpus, facts)
    rows = {row["id"]: row for row in pq.read_table(report.dir / "facts.parquet").to_pylist()}
    assert {id: row["verdict"] for id, row in rows.items()} == {
        "野比のび太・あやとり": "enough",
        "しずか・バイオリン": "too few",
        "taiko": "never",
    }
    assert (rows["taiko"]["subject_documents"], rows["taiko"]["object_documents"]) == (12, 0)
    assert report.manifest.metrics["facts.never"] == 1
    assert [section.title for section in read_sections(report)] == ["Which facts are there", "Where they are said"]
    html = (report.dir / "index.html").read_text(encoding="utf-8")
    assert "taiko" in html or "のび太・太鼓" in html
    assert html.count("<svg") == 1


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"subject": "a"}', "facts.jsonl:1: object: Field required"),
        ('{"subject": "a", "object": [" "]}', "is empty, and would be found everywhere"),
        ("{", "facts.jsonl:1 is not JSON"),
        ("", "has no fact"),
        (
            '{"subject": "a", "object": "b"}\n{"subject": "a", "object": "b"}',
            "facts.jsonl:2: the fact 'a・b' was there",
        ),
    ],
)
def test_what_is_no_fact_is_one_sentence(line: str, complaint: str, tmp_path: Path):
    (tmp_path / "facts.jsonl").write_text(line, encoding="utf-8")
    with pytest.raises(BunbukuError, match=complaint):
        read_facts(tmp_path / "facts.jsonl")
