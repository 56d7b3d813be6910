"""What a rephrasing says that its source does not: marked, cut out, or a reason to drop it."""

import json
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from bunbuku_synth import GenerateConfig, GenerateRun, generate, read_items
from bunbuku_synth.item import Doubt
from bunbuku_synth.language import sentences
from bunbuku_synth.tasks import Rephrase
from bunbuku_synth.tasks.support import Support, doubts_of
from hypothesis import given
from hypothesis import strategies as st


def _scribe() -> Any:
    spec = spec_from_file_location("scribe", Path(__file__).with_name("scribe.py"))
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIBE = _scribe()
TEXT = "犬が駅で鳴いた。猫は逃げた。空は青かった。"


@pytest.fixture
def server() -> Iterator[Any]:
    with SCRIBE.Scribe() as server:
        yield server


def verdicts(*said: str) -> str:
    return json.dumps({"sentences": [{"number": n, "verdict": one} for n, one in enumerate(said, start=1)]})


def test_what_a_judge_doubts_is_marked_cut_out_or_dropped():
    reply = verdicts("supported", "contradicted", "supported")
    marking, cutting, dropping = (Support(then=then, max_share=0.4) for then in ("mark", "cut", "drop"))
    marked = marking.read(TEXT, reply, "ja")
    assert doubts_of(TEXT, TEXT, "ja", judged=marked.words["support"]) == [Doubt(8, 14, "contradicted")]
    assert cutting.read(TEXT, reply, "ja").words["written"] == "犬が駅で鳴いた。空は青かった。"
    assert dropping.read(TEXT, reply, "ja").reason == "not_supported"
    assert marked.notes == cutting.read(TEXT, reply, "ja").notes == ("contradicted",)
    assert Support(max_share=0.3).read(TEXT, reply, "ja").reason == "not_supported"
    sound = verdicts(*["supported"] * 3)
    assert all(one.read(TEXT, sound, "ja").reason is None for one in (marking, cutting, dropping))


@pytest.mark.parametrize(
    "reply",
    [
        verdicts("supported", "supported"),
        verdicts(*["supported"] * 4),
        json.dumps({"sentences": [{"number": 1, "verdict": "supported"}] * 3}),
        "すべて言えます。",
    ],
)
def test_a_reply_that_does_not_speak_of_every_sentence_once_is_none(reply: str):
    assert Support().read(TEXT, reply, "ja").reason == "support_unparsed"


@given(st.lists(st.sampled_from(["supported", "not_in_source", "contradicted"]), min_size=3, max_size=3))
def test_a_cut_text_has_exactly_the_sentences_that_follow(said: list[str]):
    reading = Support(then="cut", max_share=1).read(TEXT, verdicts(*said), "ja")
    kept = [TEXT[start:end] for start, end in sentences(TEXT, "ja")]
    assert reading.words["written"] == "".join(
        one for one, verdict in zip(kept, said, strict=True) if verdict == "supported"
    )


def test_names_and_sentences_that_the_source_has_not_are_marked():
    source = "三月に東京で国際会議が開かれ、代表が環境の協定に署名した。"
    made = "東京での国際会議で、代表が環境の協定に署名した。アメリカの大統領が工場の建設費用を発表した。"
    found = {(made[mark.start : mark.end], mark.why) for mark in doubts_of(source, made, "ja")}
    assert found == {("アメリカの大統領が工場の建設費用を発表した。", "few_source_words"), ("アメリカ", "new_name")}, (
        found
    )
    english = doubts_of("The dog met Peter in Rome.", "Peter met the dog. The dog met Anna in Paris.", "en")
    assert {mark.why for mark in english} == {"new_name"} and len(english) == 2


def test_lengths_are_measured_and_doubts_are_beside_the_items(tmp_path: Path, corpus: Any, server: Any):
    task = Rephrase(count=60, strictness=0.8, min_chars=60, max_chars=140, only=("textbook", "blog"), support=Support())
    config = GenerateConfig(tasks=(task,), teacher="writer", teachers={"judge": "judge"})
    run = GenerateRun(engine=server.engine("writer"), engines={"judge": server.engine("judge")})
    made = generate(tmp_path / "out", config, corpus, run=run)
    items, metrics = list(read_items(made)), made.manifest.metrics
    marked = [(item, mark) for item in items for mark in item.doubts or ()]
    assert {"not_in_source", "contradicted"} <= {mark.why for _, mark in marked}
    for item, mark in marked:
        assert 0 <= mark.start < mark.end <= len(item.said)
        if mark.why in ("not_in_source", "contradicted"):
            assert item.said[mark.start : mark.end] in [item.said[a:b] for a, b in sentences(item.said, "ja")]
    assert metrics["noted.rephrase.marked_contradicted"] == sum(
        any(mark.why == "contradicted" for mark in item.doubts or ()) for item in items
    )
    gone = [row["reason"] for file in made.files("dropped") for row in pq.read_table(made.path(file)).to_pylist()]
    assert {"support_unparsed", "not_supported"} <= set(gone)
    least, median, most = (metrics[f"length_ratio.ja-ja.rephrase.{what}"] for what in ("least", "median", "most"))
    ratios = [len(item.said) / len(item.prompt[0].content.partition("\n\n")[2]) for item in items]
    assert least <= min(ratios) <= median <= max(ratios) <= most and min(ratios) >= 0.48
    assert metrics["accepted_tokens"] == sum(len(item.said) for item in items)  # not the judge's
