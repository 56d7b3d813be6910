"""Domains, weights, stages: the arithmetic, and the stages `mix` and `blend`."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, ArtifactError, Blend, BunbukuError, Config, Corpus, Draft, Tokens, stage
from bunbuku_corpus import (
    BlendConfig,
    DedupConfig,
    GatherConfig,
    MixConfig,
    SplitConfig,
    blend,
    dedup,
    gather,
    mix,
    split,
)
from bunbuku_corpus.engine import EngineRun
from bunbuku_corpus.mixing import Domain, Mixture, Size, plan
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

NAMES = ("wiki", "web", "books")
WEIGHTS = st.lists(st.floats(0.01, 10), min_size=3, max_size=3)
RATIOS = st.lists(st.lists(st.floats(0.01, 10), min_size=2, max_size=2), min_size=3, max_size=3)
SIZES = {name: Size(documents=10, characters=1000 * (at + 1)) for at, name in enumerate(NAMES)}


def domains(weights: list[float], ratios: list[list[float]]) -> tuple[Domain, ...]:
    return tuple(
        Domain(name=name, weight=weight, stage_ratio=tuple(ratio), max_epochs=1e9)
        for name, weight, ratio in zip(NAMES, weights, ratios, strict=True)
    )


@given(WEIGHTS, RATIOS, st.integers(1, 10**9))
def test_a_plan_reads_what_was_asked_for_by_weight_and_ratio(
    weights: list[float], ratios: list[list[float]], total: int
):
    mixture = Mixture.of(("first", "second"), domains(weights, ratios), SIZES)
    planned = plan(mixture, dict.fromkeys(NAMES, 1000), total)
    assert planned.tokens == pytest.approx(total, abs=6)
    for at, name in enumerate(NAMES):
        read = [stage.domains[name].tokens for stage in planned.stages]
        assert sum(read) == pytest.approx(total * weights[at] / sum(weights), abs=3)
        assert read[0] == pytest.approx(sum(read) * ratios[at][0] / sum(ratios[at]), abs=3)
        assert planned.epochs[name] == pytest.approx(sum(read) / 1000)
    for one in planned.stages:
        assert sum(domain.weight for domain in one.domains.values()) == pytest.approx(1)


def test_without_weights_the_characters_are_the_weights():
    mixture = Mixture.of(("all",), tuple(Domain(name=name) for name in NAMES), SIZES)
    assert {name: one.weight for name, one in mixture.domains.items()} == {"wiki": 1 / 6, "web": 2 / 6, "books": 3 / 6}


def test_reading_a_domain_too_often_is_refused_with_the_most_that_can_be_read():
    mixture = Mixture.of(("all",), (Domain(name="wiki", weight=1, max_epochs=3), Domain(name="web", weight=3)), SIZES)
    counts = {"wiki": 100, "web": 10_000}
    with pytest.raises(
        BunbukuError, match=r"1,204 tokens would read 'wiki' 3\.01 times, and its `max_epochs` is 3"
    ) as error:
        plan(mixture, counts, 1204)
    assert "1,200 tokens are the most" in str(error.value.hint)
    assert plan(mixture, counts, 1200).epochs["wiki"] == 3


def test_a_domain_without_tokens_and_a_ratio_of_another_length_are_refused():
    mixture = Mixture.of(("all",), (Domain(name="wiki"),), SIZES)
    with pytest.raises(BunbukuError, match="the domain 'wiki' has no tokens"):
        plan(mixture, {}, 10)
    with pytest.raises(BunbukuError, match="`stage_ratio` of 'wiki' has 2 numbers, and there are 1 stages"):
        Mixture.of(("all",), (Domain(name="wiki", stage_ratio=(1, 2)),), SIZES)


@pytest.mark.parametrize(
    ("domains", "problem"),
    [
        ([{"name": "a"}, {"name": "a"}], "name 'a' is taken"),
        ([{"name": "test"}], "name 'test' is taken"),
        ([{"name": "a", "weight": 1}, {"name": "b"}], "'b' has no `weight`"),
        ([{"name": "a", "column": "topic"}], "`column` 'topic' and `values`"),
        ([{"name": "a", "stage_ratio": [0, 0]}], "gives it to no stage"),
    ],
)
def test_a_config_that_cannot_be_meant_is_refused(domains: list[dict[str, Any]], problem: str):
    with pytest.raises(ValidationError, match=problem):
        MixConfig.model_validate({"domains": domains})


def corpus_of(folder: Path, rows: list[dict[str, str]]) -> Artifact[Corpus]:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"licence": "MIT", "language": "ja"} | row for row in rows]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return gather(folder / "raw", GatherConfig(rows_per_shard=7), folder / "texts.jsonl")


def rows_of(artifact: Artifact[Corpus], part: str) -> list[dict[str, Any]]:
    return [row for file in artifact.files(part) for row in pq.read_table(artifact.path(file)).to_pylist()]


def documents(name: str, count: int, **fields: str) -> list[dict[str, str]]:
    return [{"id": f"{name}:{n}", "text": f"{name}の{n}番目の文です。" * 3} | fields for n in range(count)]


def test_each_document_is_in_the_first_domain_that_it_fits(tmp_path: Path):
    web = corpus_of(
        tmp_path / "web", [*documents("a", 10, source="cc"), *documents("b", 5, source="cc", language="en")]
    )
    wiki = corpus_of(tmp_path / "wiki", documents("w", 8, source="wikipedia"))
    config = MixConfig.model_validate(
        {
            "stages": ["broad", "japanese"],
            "domains": [
                {"name": "english", "languages": ["en"], "weight": 1, "stage_ratio": [1, 0]},
                {"name": "wiki", "sources": ["wikipedia"], "weight": 2},
                {"name": "rest", "weight": 1, "stage_ratio": [1, 3]},
            ],
        }
    )
    one, two = (mix(tmp_path / str(n), config, {"web": web, "wiki": wiki}, run=EngineRun(workers=n)) for n in (1, 2))
    assert one.content == two.content
    ids = {part: [row["id"] for row in rows_of(one, part)] for part in ("english", "wiki", "rest")}
    assert {part: len(found) for part, found in ids.items()} == {"english": 5, "wiki": 8, "rest": 10}
    assert {id[0] for id in ids["rest"]} == {"a"} and {id[0] for id in ids["english"]} == {"b"}
    mixture = Mixture.model_validate_json((one.dir / "mixture.json").read_bytes())
    assert mixture.domains["wiki"].stages == (0.25, 0.25) and mixture.domains["english"].stages == (0.25, 0.0)
    assert mixture.domains["rest"].size.documents == 10 and mixture.domains["rest"].stages == (0.0625, 0.1875)


def test_held_out_documents_keep_their_part_and_learn_their_domain(tmp_path: Path):
    raw = corpus_of(tmp_path / "web", documents("a", 60))
    divided = split(tmp_path / "split", SplitConfig(validation=0.2, test=0.2), raw)
    mixed = mix(tmp_path / "mix", MixConfig(), {"web": divided})
    assert {row["domain"] for row in rows_of(mixed, "test")} == {"web"}
    for part, source in (("web", "train"), ("validation", "validation"), ("test", "test")):
        assert [row["id"] for row in rows_of(mixed, part)] == [row["id"] for row in rows_of(divided, source)]


def test_documents_that_were_found_often_are_written_more_often(tmp_path: Path):
    rows = [
        {"id": f"{name}{n}", "text": f"{name}という文書です。" * 4}
        for name, times in (("甲", 1), ("乙", 3))
        for n in range(times)
    ]
    unique = dedup(tmp_path / "unique", DedupConfig(), corpus_of(tmp_path / "raw", rows))
    config = MixConfig.model_validate({"rehydration": [{"copies": 3, "times": 2}, {"copies": 1, "times": 1}]})
    mixed = mix(tmp_path / "mix", config, {"web": unique})
    assert [row["id"] for row in rows_of(mixed, "web")] == ["甲0", "乙0", "乙0~2"]
    assert mixed.manifest.metrics["web.documents"] == 3


def test_an_id_that_two_corpora_have_is_refused_by_both_their_names(tmp_path: Path):
    one, other = documents("a", 20), documents("b", 20)
    web, books = corpus_of(tmp_path / "web", one), corpus_of(tmp_path / "books", [*other, one[13]])
    with pytest.raises(BunbukuError, match="the id 'a:13' is in 'web' and in 'books'"):
        mix(tmp_path / "mix", MixConfig(), {"web": web, "books": books}, run=EngineRun(workers=2))
    assert not (tmp_path / "mix").exists()
    held = split(tmp_path / "split", SplitConfig(validation=0.4, test=0.4), web)
    with pytest.raises(BunbukuError, match="the id 'a:13' is in 'web' and in 'books'"):
        mix(tmp_path / "mix", MixConfig(), {"web": held, "books": books})


def test_a_document_without_a_domain_and_a_domain_without_documents_are_refused(tmp_path: Path):
    raw = corpus_of(tmp_path / "web", documents("a", 3, source="cc"))
    wiki = MixConfig.model_validate({"domains": [{"name": "wiki", "sources": ["wikipedia"]}]})
    with pytest.raises(BunbukuError, match=r"no domain takes 'a:0' of 'web' \(source 'cc', language 'ja'\)"):
        mix(tmp_path / "one", wiki, {"web": raw})
    both = MixConfig.model_validate({"domains": [{"name": "rest"}, {"name": "wiki", "sources": ["wikipedia"]}]})
    with pytest.raises(BunbukuError, match="not one document fits the domain 'wiki'"):
        mix(tmp_path / "two", both, {"web": raw})
    topic = MixConfig.model_validate({"domains": [{"name": "news", "column": "topic", "values": ["news"]}]})
    with pytest.raises(BunbukuError, match="'news' asks for a column 'topic' that is not there"):
        mix(tmp_path / "three", topic, {"web": raw})


@stage("test.tokenize")
def tokenize(draft: Draft, config: Config, corpus: Artifact[Corpus]) -> Tokens:
    """As many tokens as characters."""
    for part in ("web", "wiki"):
        path = draft.dir / f"{part}.bin"
        path.write_bytes(b"\0")
        draft.count(path, tokens=int(corpus.manifest.metrics[f"{part}.characters"]), part=part)
    return Tokens(tokenizer="0" * 64, vocab_size=10, eod_id=2, dtype="uint16")


def test_a_tokenized_mixture_is_planned(tmp_path: Path):
    corpora = {name: corpus_of(tmp_path / name, documents(name, 20)) for name in ("web", "wiki")}
    config = MixConfig.model_validate({"stages": ["a", "b"], "domains": [
        {"name": "web", "corpora": ["web"], "weight": 3, "stage_ratio": [1, 0]},
        {"name": "wiki", "corpora": ["wiki"], "weight": 1},
    ]})  # fmt: skip
    mixed = mix(tmp_path / "mix", config, corpora)
    tokens = tokenize(tmp_path / "tokens", Config(), mixed)
    made = blend(tmp_path / "blend", BlendConfig(total_tokens=1000), mixed, tokens)
    planned = Blend.model_validate_json((made.dir / "blend.json").read_bytes())
    assert [(one.name, one.tokens) for one in planned.stages] == [("a", 875), ("b", 125)]
    assert planned.stages[1].domains["wiki"].weight == 1 and planned.stages[1].domains["web"].tokens == 0
    assert made.manifest.metrics["epochs.web"] == pytest.approx(750 / mixed.manifest.metrics["web.characters"])
    other = mix(tmp_path / "other", MixConfig(), corpora)
    with pytest.raises(ArtifactError, match=r"tokens was not made from .*other"):
        blend(tmp_path / "wrong", BlendConfig(total_tokens=1000), other, tokens)
