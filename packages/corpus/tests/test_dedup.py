"""`dedup` as a user calls it: what stays, what goes, and that neither depends on how the work was done."""

import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, ArtifactError, BunbukuError, Corpus, read_sections
from bunbuku_corpus import DedupConfig, GatherConfig, dedup, gather
from bunbuku_corpus.comparison import Buffer, comparable
from bunbuku_corpus.engine import EngineRun
from bunbuku_corpus.minhash import NearDuplicates, jaccard, shingles
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

WORDS = [
    "犬",
    "猫",
    "鳥",
    "走る",
    "眠る",
    "食べる",
    "公園",
    "図書館",
    "昨日",
    "今日",
    "静かに",
    "大きな",
    "青い",
    "山",
    "川",
    "海",
]
# Few words and short texts, so that equal and similar ones come up; so many bands that no pair is missed.
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map("".join), min_size=1, max_size=12)
THOROUGH = NearDuplicates(ngram=2, threshold=0.6, bands=100, rows=1)


def prose(seed: int, words: int = 120) -> str:
    chooser = random.Random(seed)
    return "".join(chooser.choice(WORDS) + chooser.choice("がをにで、。") for _ in range(words))


def changed(text: str, places: int, seed: int = 0) -> str:
    letters = list(text)
    for place in random.Random(seed).sample(range(len(letters)), places):
        letters[place] = "〇"
    return "".join(letters)


def corpus_of(
    folder: Path, texts: dict[str, str] | list[str], *, shard: int = 100_000, source: str = "web"
) -> Artifact[Corpus]:
    folder.mkdir(parents=True, exist_ok=True)
    named = texts if isinstance(texts, dict) else {f"d{n}": text for n, text in enumerate(texts)}
    rows = [
        {"id": id, "text": text, "language": "ja", "licence": "MIT", "source": source} for id, text in named.items()
    ]
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return gather(folder / "raw", GatherConfig(rows_per_shard=shard), path)


def rows_of(artifact: Artifact[Corpus], part: str = "data") -> list[dict[str, Any]]:
    if part not in artifact.manifest.parts:
        return []
    return [row for file in artifact.files(part) for row in pq.read_table(artifact.path(file)).to_pylist()]


@dataclass
class Outcome:
    """What became of each document, by id."""

    stays: dict[str, dict[str, Any]]
    goes: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, artifact: Artifact[Corpus]) -> "Outcome":
        return cls(*({row["id"]: row for row in rows_of(artifact, part)} for part in ("data", "dropped")))

    @property
    def clusters(self) -> dict[str, tuple[str, int]]:
        return {id: (row["cluster"], row["cluster_size"]) for id, row in (self.stays | self.goes).items()}


def outcome(folder: Path, texts: dict[str, str] | list[str], config: DedupConfig | None = None, **how: Any) -> Outcome:
    return Outcome.of(dedup(folder / "out", config or DedupConfig(), corpus_of(folder, texts), **how))


def merit(text: str) -> tuple[int, int]:
    """Less is better: longer texts first, then by a hash."""
    compared = comparable(text)
    digest = hashlib.blake2b(compared.encode("utf-32-le"), digest_size=16).digest()
    return -len(compared), int.from_bytes(digest[:8], "little")


def near_pairs(texts: list[str], near: NearDuplicates) -> dict[frozenset[int], float]:
    """All pairs, compared one by one."""
    sets = list(shingles(Buffer.of(texts), near.ngram))
    equal = [comparable(text) for text in texts]
    found: dict[frozenset[int], float] = {}
    for one in range(len(texts)):
        for other in range(one):
            enough = min(len(sets[one]), len(sets[other])) > 0
            similarity = 1.0 if equal[one] == equal[other] else jaccard(sets[one], sets[other]) if enough else 0.0
            if similarity >= near.threshold:
                found[frozenset((one, other))] = similarity
    return found


@settings(max_examples=30)
@given(TEXTS)
def test_it_agrees_with_comparing_all_pairs(tmp_path_factory: pytest.TempPathFactory, texts: list[str]):
    found = outcome(tmp_path_factory.mktemp("run"), texts, DedupConfig(near=THOROUGH))
    pairs = near_pairs(texts, THOROUGH)
    order = sorted(range(len(texts)), key=lambda one: (*merit(texts[one]), f"d{one}"))
    stay: list[int] = []
    for one in order:
        if not any(frozenset((one, other)) in pairs for other in stay):
            stay.append(one)
    assert found.stays.keys() == {f"d{one}" for one in stay}
    for id, row in found.goes.items():
        pair = frozenset((int(id[1:]), int(row["duplicate_of"][1:])))
        assert row["duplicate_of"] in found.stays and row["similarity"] == pairs[pair]
        equal = len({comparable(texts[one]) for one in pair}) == 1
        assert row["reason"] == ("exact_duplicate" if equal else "near_duplicate")
    names = {id: cluster for id, (cluster, _) in found.clusters.items()}
    assert all(len({names[f"d{one}"] for one in pair}) == 1 for pair in pairs)
    for cluster in set(names.values()):
        members = [id for id, name in names.items() if name == cluster]
        assert cluster in found.stays and cluster in members
        assert {size for id, (_, size) in found.clusters.items() if id in members} == {len(members)}
        assert sum(found.stays[id]["copies"] for id in members if id in found.stays) == len(members)


@settings(max_examples=20)
@given(TEXTS, st.randoms(use_true_random=False), st.integers(1, 4))
def test_the_order_of_documents_and_shards_decides_nothing(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], chooser: random.Random, shard: int
):
    folder = tmp_path_factory.mktemp("run")
    named = [(f"d{n}", text) for n, text in enumerate(texts)]
    config = DedupConfig(near=THOROUGH)
    before = Outcome.of(dedup(folder / "one", config, corpus_of(folder / "a", dict(named))))
    chooser.shuffle(named)
    after = Outcome.of(dedup(folder / "other", config, corpus_of(folder / "b", dict(named), shard=shard)))
    assert before == after
    assert list(after.stays) == [id for id, _ in named if id in after.stays]


@settings(max_examples=15)
@given(TEXTS)
def test_deduplicating_twice_removes_nothing_more(tmp_path_factory: pytest.TempPathFactory, texts: list[str]):
    folder = tmp_path_factory.mktemp("run")
    config = DedupConfig(near=THOROUGH)
    once = dedup(folder / "once", config, corpus_of(folder, texts))
    twice = dedup(folder / "twice", config, once)
    assert rows_of(twice) == rows_of(once) and not rows_of(twice, "dropped")


@settings(max_examples=20)
@given(TEXTS, st.integers(0, 12), st.booleans())
def test_what_repeats_an_earlier_corpus_goes(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], old: int, index: bool
):
    folder = tmp_path_factory.mktemp("run")
    old = max(1, min(old, len(texts) - 1))
    named = {f"d{n}": text for n, text in enumerate(texts)}
    config = DedupConfig(near=THOROUGH, index=index)
    earlier = dedup(folder / "earlier", config, corpus_of(folder / "a", dict(list(named.items())[:old])))
    fresh = dict(list(named.items())[old:])
    if not fresh:
        return
    pairs = near_pairs(texts, THOROUGH)
    stays = {row["id"] for row in rows_of(earlier)}
    new = sorted(fresh, key=lambda id: (*merit(fresh[id]), id))
    expected: set[str] = set()
    for id in new:
        if not any(frozenset((int(id[1:]), int(other[1:]))) in pairs for other in stays | expected):
            expected.add(id)
    corpus = corpus_of(folder / "b", fresh)
    if not expected:
        with pytest.raises(BunbukuError, match=f"not one of {len(fresh)} documents in .* is new"):
            dedup(folder / "later", config, corpus, {"earlier": earlier})
        return
    later = Outcome.of(dedup(folder / "later", config, corpus, {"earlier": earlier}))
    assert later.stays.keys() == expected
    assert all(row["duplicate_of"] in stays | expected for row in later.goes.values())


def test_an_index_gives_what_the_texts_would(tmp_path: Path):
    first = {f"a{n}": prose(n) for n in range(30)}
    second = {f"b{n}": changed(prose(n), 2) if n % 3 else prose(1000 + n) for n in range(30)}
    plain, indexed = (
        dedup(tmp_path / f"earlier-{index}", DedupConfig(index=index), corpus_of(tmp_path / "a", first))
        for index in (False, True)
    )
    assert rows_of(plain) == rows_of(indexed) and "index" not in plain.manifest.parts
    corpus = corpus_of(tmp_path / "b", second)
    made = [
        dedup(tmp_path / f"later-{n}", DedupConfig(), corpus, {"earlier": one})
        for n, one in enumerate((plain, indexed))
    ]
    assert Outcome.of(made[0]) == Outcome.of(made[1])
    found = Outcome.of(made[1])
    assert len(found.stays) == 10 and {row["duplicate_of"] for row in found.goes.values()} <= first.keys()
    assert all(row["cluster"] == row["duplicate_of"] for row in found.goes.values())
    assert made[1].manifest.metrics["earlier.documents"] == 30


def test_an_index_of_other_settings_is_refused(tmp_path: Path):
    earlier = dedup(tmp_path / "earlier", DedupConfig(index=True), corpus_of(tmp_path / "a", [prose(1)]))
    config = DedupConfig(near=NearDuplicates(bands=14, rows=8))
    with pytest.raises(
        ArtifactError, match=r'was made with {"ngram":5,"bands":20,"rows":5}, and `near` is .*"bands":14'
    ):
        dedup(tmp_path / "later", config, corpus_of(tmp_path / "b", [prose(2)]), {"earlier": earlier})


@pytest.mark.parametrize("rows", [0, 3])
def test_an_index_with_fewer_documents_than_its_manifest_says_is_refused(tmp_path: Path, rows: int):
    """It would find too few duplicates, or none, and say nothing of it."""
    first = {f"a{n}": prose(n) for n in range(5)}
    earlier = dedup(tmp_path / "earlier", DedupConfig(index=True), corpus_of(tmp_path / "a", first))
    path = earlier.path(earlier.files("index")[0])
    path.chmod(0o644)
    pq.write_table(pq.read_table(path).slice(0, rows), path)
    corpus = corpus_of(tmp_path / "b", {"b": prose(4)})
    with pytest.raises(ArtifactError, match=f"has {rows} documents, where its manifest says 5 and the corpus has 5"):
        dedup(tmp_path / "later", DedupConfig(), corpus, {"earlier": earlier})
    assert not (tmp_path / "later").exists()


def test_an_index_of_exact_copies_alone_is_refused():
    with pytest.raises(ValidationError, match="`index` holds what near-duplicates are found by"):
        DedupConfig(index=True, exact_only=True)


def test_equal_texts_are_found_however_short(tmp_path: Path):
    found = outcome(tmp_path, ["はい", "いいえ", "は い\n", "良い", "良い "])
    assert found.stays.keys() == {"d0", "d1", "d3"}
    assert found.goes["d2"]["duplicate_of"] == "d0" and found.goes["d2"]["reason"] == "exact_duplicate"
    assert found.stays["d0"]["copies"] == 2


def test_voicing_and_digits_keep_short_texts_apart(tmp_path: Path):
    assert len(outcome(tmp_path, ["です。ガギグ", "てす。カキク", "2024年", "2025年"]).stays) == 4


@pytest.mark.parametrize("places", [1, 3, 5])
def test_a_document_with_a_few_changed_characters_is_found(tmp_path: Path, places: int):
    texts = [text for seed in range(40) for text in (prose(seed), changed(prose(seed), places, seed))]
    assert len(outcome(tmp_path, texts).goes) >= 39


def test_unlike_documents_stay(tmp_path: Path):
    assert not outcome(tmp_path, [prose(seed) for seed in range(200)]).goes


def test_a_copy_of_a_document_that_went_points_to_one_that_stays(tmp_path: Path):
    first = prose(1)
    near_copy = changed(first, 2)[:-3]
    found = outcome(tmp_path, [first, near_copy, near_copy])
    assert [row["duplicate_of"] for row in found.goes.values()] == ["d0", "d0"]
    assert {row["reason"] for row in found.goes.values()} == {"near_duplicate"}
    assert found.stays["d0"]["copies"] == 3


def test_a_chain_does_not_drop_what_is_unlike(tmp_path: Path):
    """The ends of a chain are no near-duplicates: they are in one cluster, and both stay."""
    text = prose(3)
    part = len(text) // 10
    first, middle, last = text[: 8 * part], text[part : 9 * part - 1], text[2 * part : 10 * part - 2]
    near = NearDuplicates(threshold=0.75, bands=40, rows=3)
    found = outcome(tmp_path, {"first": first, "middle": middle, "last": last}, DedupConfig(near=near))
    assert found.clusters == dict.fromkeys(("first", "middle", "last"), ("first", 3))
    assert found.goes.keys() == {"middle"} and sum(row["copies"] for row in found.stays.values()) == 3


def test_the_representative_is_chosen_by_the_rule(tmp_path: Path):
    long, short = prose(5), prose(5)[:-6]
    raw = corpus_of(tmp_path, {"b": short, "a": long, "c": short})
    stays = {}
    for rule in ({"type": "longest"}, {"type": "first"}, {"type": "from_source", "sources": ["web"]}):
        config = DedupConfig.model_validate({"representative": rule})
        stays[rule["type"]] = [row["id"] for row in rows_of(dedup(tmp_path / str(rule["type"]), config, raw))]
    assert stays == {"longest": ["a"], "first": ["b"], "from_source": ["a"]}
    with pytest.raises(BunbukuError, match="no column 'quality'"):
        dedup(
            tmp_path / "highest",
            DedupConfig.model_validate({"representative": {"type": "highest", "column": "quality"}}),
            raw,
        )


def test_duplicates_of_different_sources_are_found(tmp_path: Path):
    texts = [prose(seed) for seed in range(30)]
    rows = [
        {"id": f"{source}-{n}", "text": text, "source": source, "language": "ja", "licence": "MIT"}
        for source in ("wiki", "web")
        for n, text in enumerate(texts)
    ]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    raw = gather(tmp_path / "raw", GatherConfig(rows_per_shard=10), tmp_path / "texts.jsonl")
    config = DedupConfig.model_validate({"representative": {"type": "from_source", "sources": ["wiki"]}})
    assert {row["source"] for row in rows_of(dedup(tmp_path / "out", config, raw))} == {"wiki"}


def test_shards_keep_their_names_and_order(tmp_path: Path):
    texts = [prose(seed) for seed in range(9)]
    texts[3:6] = texts[:3]
    raw = corpus_of(tmp_path, texts, shard=3)
    fresh = dedup(tmp_path / "out", DedupConfig(), raw)
    assert [file.path for file in fresh.files()] == ["part-00000.parquet", "part-00002.parquet"]
    assert [file.path for file in fresh.files("dropped")] == ["dropped/part-00001.parquet"]
    assert [row["id"] for row in rows_of(fresh)] == ["d0", "d1", "d2", "d6", "d7", "d8"]
    assert pq.read_schema(fresh.path(fresh.files()[0])).names[:6] == [
        "id",
        "text",
        "source",
        "url",
        "licence",
        "language",
    ]


def test_the_report_counts_candidates_and_those_that_bands_alone_would_have_dropped(tmp_path: Path):
    text = prose(8, words=200)
    texts = [text, text + "。", changed(text, 2), changed(text, 60, 1), prose(9)]
    fresh = dedup(tmp_path / "out", DedupConfig(near=NearDuplicates(bands=100, rows=2)), corpus_of(tmp_path, texts))
    metrics = fresh.manifest.metrics
    assert metrics["pairs.near_duplicates"] == 3 and metrics["pairs.false_candidates"] >= 3
    assert metrics["pairs.candidates"] == metrics["pairs.near_duplicates"] + metrics["pairs.false_candidates"]
    report = json.loads((fresh.dir / "report.json").read_text())
    assert report["copies"] == {"1": 2, "3": 1} and report["pairs"]["crowded"] == 0
    assert {sample["of"] for sample in report["samples"]} == {row["id"] for row in rows_of(fresh) if row["copies"] == 3}
    curve = read_sections(fresh)[1].curves[0]
    assert dict(curve.points)[0.5] == pytest.approx(1 - (1 - 0.5**2) ** 100)


def test_a_band_that_everybody_shares_is_not_compared_pair_by_pair(tmp_path: Path):
    text = prose(4)
    texts = [changed(text, 2, seed) for seed in range(120)]
    near = NearDuplicates(max_bucket=20)
    fresh = dedup(tmp_path / "out", DedupConfig(near=near), corpus_of(tmp_path, texts))
    metrics = fresh.manifest.metrics
    assert metrics["pairs.crowded"] > 0 and metrics["pairs.candidates"] < 120 * 119 / 2
    assert metrics["kept.documents"] <= 3
    assert "not all were compared" in read_sections(fresh)[1].paragraphs[1]


def test_the_way_it_was_done_changes_no_byte(tmp_path: Path):
    texts = [prose(seed % 40) + "あ" * (seed // 40) for seed in range(100)]
    raw = corpus_of(tmp_path, texts, shard=17)
    one, two = (
        dedup(tmp_path / str(workers), DedupConfig(index=True), raw, run=EngineRun(workers=workers))
        for workers in (1, 2)
    )
    assert one.content == two.content and one.manifest.metrics == two.manifest.metrics


def test_a_document_of_a_million_characters_and_an_empty_one(tmp_path: Path):
    huge = prose(1, words=1000) * 400
    found = outcome(tmp_path, {"huge": huge, "copy": huge[:-2], "empty": "", "blank": " \n"})
    assert len(huge) > 1_000_000 and found.stays.keys() == {"huge", "blank"}
