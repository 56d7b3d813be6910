"""Items of benchmarks in a corpus: planted ones are found, clean ones are not, and an empty index is refused."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, ArtifactError, BunbukuError, Corpus, load, read_sections
from bunbuku_corpus import (
    ContaminationConfig,
    DecontaminateConfig,
    EngineRun,
    GatherConfig,
    contamination,
    decontaminate,
    gather,
    read_documents,
)
from bunbuku_corpus.benchmarks import Item, Reading, read_items
from bunbuku_corpus.document import Document
from bunbuku_corpus.overlap import Evidence, Overlap, letters
from hypothesis import given
from hypothesis import strategies as st

QUESTIONS = (
    "江戸時代の町人が正月に飾った餅の名前は、次のうちどれですか？",
    "海の水がしょっぱいのは、川が岩から溶かして運ぶ何のためでしょうか。",
    "図書館で本を借りるときに、はじめに作ってもらうものは何ですか。",
    "りんごの皮は何色？",
)
FILLER = "駅前の新しい食堂では、安くておいしい定食が毎日食べられるので、昼になると近くの会社から大勢の人がやって来る。"


def lines(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def corpus_of(folder: Path, texts: Iterable[str]) -> Artifact[Corpus]:
    folder.mkdir(parents=True, exist_ok=True)
    rows = ({"id": f"d{n}", "text": text, "licence": "MIT", "language": "ja"} for n, text in enumerate(texts))
    return gather(folder / "raw", GatherConfig(), lines(folder / "texts.jsonl", rows))


def found(texts: Iterable[str], items: Iterable[str], evidence: Evidence | None = None) -> list[tuple[bool, float]]:
    overlap = Overlap([Item(str(n), text) for n, text in enumerate(items)], evidence or Evidence())
    for number, text in enumerate(texts):
        overlap.add(Document(f"d{number}", text, "s", None, "MIT", "ja"))
    return [(one.contaminated, round(one.coverage, 9)) for one in overlap.findings]


def brute_coverage(item: str, text: str, n: int) -> float:
    item, text = letters(item), letters(text)
    covered = {at + k for at in range(len(item) - n + 1) if item[at : at + n] in text for k in range(n)}
    return round(len(covered) / len(item), 9)


@given(st.text("あいう、Aａ", max_size=40), st.lists(st.text("あいう 。a", max_size=60), max_size=4))
def test_coverage_is_that_of_a_brute_force(item: str, texts: list[str]):
    anchor = "ことさらに長い句読点のない独立した文"
    evidence = Evidence(ngram=4, least_chars=4, shared_by=1000)
    [(_, coverage), _] = found(texts, [item, anchor], evidence)
    size = len(letters(item))
    best = max((brute_coverage(item, text, 4) for text in texts), default=0.0) if size >= 4 else 0.0
    assert coverage == best


@given(st.permutations([f"{FILLER}{question}{n}{FILLER}" for n, question in enumerate(QUESTIONS * 2)]))
def test_the_order_of_documents_changes_nothing(texts: list[str]):
    def result(texts: list[str]) -> list[object]:
        overlap = Overlap([Item(question, question) for question in QUESTIONS], Evidence())
        for text in texts:
            overlap.add(Document(text, text, "s", None, "MIT", "ja"))
        return [(one.documents, one.document, one.passage) for one in overlap.findings]

    assert result(texts) == result(sorted(texts))


def test_planted_items_are_found_whatever_their_width_and_punctuation():
    edited = [question.replace("、", "，").replace("？", " ? ").replace("は", "は ") for question in QUESTIONS]
    assert [bad for bad, _ in found([FILLER + "".join(edited) + FILLER], QUESTIONS)] == [True] * 4
    assert [bad for bad, _ in found([FILLER], QUESTIONS)] == [False] * 4


def test_a_short_item_is_found_only_as_a_whole():
    assert found(["りんごの皮は何色ですか"], ["りんごの皮は何色？", FILLER])[0] == (True, 1.0)
    assert found(["りんごの皮は何の色ですか"], ["りんごの皮は何色？", FILLER])[0] == (False, 0.0)


def test_wording_that_many_items_share_is_no_evidence():
    template = "次の質問に、日本語で簡潔に答えてください。"
    items = [f"{template}{n * 7919}番の{FILLER[n : n + 25]}について" for n in range(30)]
    assert not any(bad for bad, _ in found([template], items, Evidence(shared_by=20)))
    assert any(coverage for _, coverage in found([template], items, Evidence(shared_by=30)))


def test_items_without_text_of_their_own_are_not_judged():
    overlap = Overlap([Item("a", "？！"), Item("b", QUESTIONS[0])], Evidence())
    assert [one.method for one in overlap.findings] == ["not judged", "ngrams"]


def test_the_stage_flags_items_by_id(tmp_path: Path):
    rows = [{"q_id": n, "question": question, "choices": ["赤", "青"]} for n, question in enumerate(QUESTIONS)]
    items = lines(tmp_path / "items.jsonl", rows)
    config = ContaminationConfig(id="q_id", fields=("question",))
    corpus = corpus_of(tmp_path, [FILLER, f"{FILLER}{QUESTIONS[1]}{FILLER}", FILLER * 2])
    report = contamination(tmp_path / "out", config, corpus, items)
    table = pq.read_table(report.dir / "items.parquet").to_pylist()
    assert [row["id"] for row in table if row["contaminated"]] == ["1"]
    assert (table[1]["document"], table[1]["coverage"], table[1]["documents"]) == ("d1", 1.0, 1)
    assert report.manifest.metrics["share"] == 0.25
    assert [section.title for section in read_sections(report)][1] == "Which they are"
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "items.parquet")
    again = contamination(tmp_path / "again", config, corpus, tmp_path / "items.parquet")
    assert pq.read_table(again.dir / "items.parquet").to_pylist() == table


def test_documents_that_have_items_in_them_are_dropped_and_kept_apart(tmp_path: Path):
    items = lines(tmp_path / "items.jsonl", [{"id": n, "question": one} for n, one in enumerate(QUESTIONS)])
    texts = [FILLER, f"{FILLER}{QUESTIONS[0]}", f"{QUESTIONS[1]}{QUESTIONS[0]}{FILLER}", f"{FILLER}{QUESTIONS[3]}"]
    corpus = corpus_of(tmp_path, texts)
    audits = [
        contamination(tmp_path / f"audit{n}", ContaminationConfig(), corpus, items, run=EngineRun(workers=n))
        for n in (1, 2)
    ]
    assert audits[0].content == audits[1].content
    [hits] = audits[0].files("documents")
    pairs = [(row["document"], row["item"]) for row in pq.read_table(audits[0].path(hits)).to_pylist()]
    assert pairs == [("d1", "0"), ("d2", "0"), ("d2", "1"), ("d3", "3")]

    cleaned = decontaminate(tmp_path / "clean", DecontaminateConfig(), corpus, audits[0])
    assert [one.id for one in read_documents(cleaned)] == ["d0", "d3"]  # the last item has seven letters
    dropped = [row for one in cleaned.files("dropped") for row in pq.read_table(cleaned.path(one)).to_pylist()]
    assert {row["id"]: row["reason"] for row in dropped} == {"d1": "contaminated", "d2": "contaminated"}
    assert cleaned.manifest.metrics["dropped.contaminated.documents"] == 2
    strict = decontaminate(tmp_path / "strict", DecontaminateConfig(min_chars=1), corpus, audits[0])
    assert [one.id for one in read_documents(strict)] == ["d0"]


def test_findings_of_another_corpus_and_of_another_stage_drop_nothing(tmp_path: Path):
    items = lines(tmp_path / "items.jsonl", [{"id": 1, "question": QUESTIONS[0]}])
    corpus = corpus_of(tmp_path / "one", [FILLER, QUESTIONS[0]])
    other = corpus_of(tmp_path / "other", [FILLER, f"{QUESTIONS[0]}{FILLER}"])
    audit = contamination(tmp_path / "audit", ContaminationConfig(), corpus, items)
    with pytest.raises(ArtifactError, match="did not look at"):
        decontaminate(tmp_path / "out", DecontaminateConfig(), other, audit)
    alone = contamination(tmp_path / "alone", ContaminationConfig(), corpus_of(tmp_path / "all", [QUESTIONS[0]]), items)
    with pytest.raises(BunbukuError, match="every one of 1 documents was dropped"):
        decontaminate(tmp_path / "none", DecontaminateConfig(), load(tmp_path / "all" / "raw", Corpus), alone)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has no item, so that nothing would ever be found"),
        ('{"id": 1, "question": "？"}', "not one of 1 items has text to look for"),
        ('{"id": 1, "question": ""}\n{"id": 2, "question": " "}', "not one of 2 items has text to look for"),
        ('{"id": 1, "text": "a"}', "items.jsonl:1 has no text in 'question'; its fields are id, text"),
        ('{"id": 1, "question": "a"}\n{"id": 1, "question": "b"}', "has the item '1' twice"),
        ("[1]", "is no JSON object"),
    ],
)
def test_an_index_of_nothing_is_an_error(text: str, complaint: str, tmp_path: Path):
    (tmp_path / "items.jsonl").write_text(text, encoding="utf-8")
    corpus = corpus_of(tmp_path, [FILLER])
    with pytest.raises(BunbukuError, match=complaint):
        contamination(tmp_path / "out", ContaminationConfig(), corpus, tmp_path / "items.jsonl")
    assert not (tmp_path / "out").exists()


def test_a_corpus_without_text_is_an_error(tmp_path: Path):
    items = lines(tmp_path / "items.jsonl", [{"id": 1, "question": QUESTIONS[0]}])
    with pytest.raises(BunbukuError, match="has no text to look in"):
        contamination(tmp_path / "out", ContaminationConfig(), corpus_of(tmp_path, [""]), items)


def test_one_source_of_items_is_needed(tmp_path: Path):
    with pytest.raises(BunbukuError, match="one source of items"):
        read_items(None, None, Reading())


@pytest.mark.skipif("BUNBUKU_DATA" not in os.environ, reason="needs BUNBUKU_DATA, a folder with eval/ (JGLUE)")
def test_recall_of_planted_items_is_at_least_that_of_thirteen_grams():
    folder = Path(os.environ["BUNBUKU_DATA"]) / "eval"
    questions = [json.loads(line) for line in (folder / "jcommonsenseqa-v1.3-valid.jsonl").read_text().splitlines()]
    squad = json.loads((folder / "jsquad-v1.3-valid.json").read_text())["data"]
    paragraphs = [paragraph for article in squad for paragraph in article["paragraphs"]]
    contexts = [paragraph["context"].split("[SEP]")[-1] for paragraph in paragraphs]
    random = Random(5)
    kinds = {
        "question": [row["question"] for row in questions[:500]],
        "with choices": [
            "\n".join([row["question"], *(row[f"choice{n}"] for n in range(5))]) for row in questions[:500]
        ],
        "squad": [paragraph["qas"][0]["question"] for paragraph in paragraphs[:500]],
    }
    recalls: dict[str, float] = {}
    for kind, items in kinds.items():
        planted, clean = items[::2], items[1::2]
        texts: list[str] = []
        for item in planted:
            at = random.randrange(300)
            filler = random.choice(contexts[500:]) + random.choice(contexts[500:])
            texts.append(filler[:at] + item.replace("、", " , ").replace("？", "?") + filler[at:])
        results = [bad for bad, _ in found(texts, [*planted, *clean])]
        recalls[kind] = sum(results[: len(planted)]) / len(planted)
        assert sum(results[len(planted) :]) <= 0.02 * len(clean), kind
    assert recalls["question"] >= 0.9 and recalls["with choices"] >= 0.99 and recalls["squad"] >= 0.9, recalls
