from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Config, Dialogues, Draft, stage
from bunbuku_synth import RenderConfig, render
from bunbuku_synth.item import Item, Turn, write_items
from bunbuku_synth.scripts import SCRIPTS, Labelled, Templated, told
from hypothesis import given
from hypothesis import strategies as st

TURNS = (
    Turn("system", "敬語で答えてください。"),
    Turn("user", "東京はどこの首都ですか。"),
    Turn("assistant", "日本の首都です。"),
    Turn("user", "大阪は？"),
    Turn("assistant", "首都ではありません。"),
)
ITEM = Item("0", TURNS, "talk", "ja", None, "t@1", "teacher", "x", 0, "CC0-1.0")


class Made(Config):
    items: int = 300
    first: int = 0


@stage("test.made")
def publish(draft: Draft, config: Made) -> Dialogues:
    """Publish items of three tasks in turn."""
    ids = range(config.first, config.first + config.items)
    items = (replace(ITEM, id=f"{n:032x}", task=("talk", "translate", "cloze")[n % 3]) for n in ids)
    write_items(items, draft, rows_per_shard=70)
    return Dialogues(licences=("CC0-1.0",))


def rows(made: Artifact) -> list[dict[str, str]]:
    return [row for file in made.files() for row in pq.read_table(made.path(file)).to_pylist()]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_says_every_turn_in_its_order(script: Labelled | Templated):
    text = script.text(TURNS)
    places = [text.index(turn.content) for turn in TURNS]
    assert places == sorted(places)


def test_a_labelled_script_names_who_speaks_and_may_leave_instructions_out():
    assert Labelled(name="talk", system=None, between="｜").text(TURNS[:3]) == (
        "ユーザー：東京はどこの首都ですか。｜アシスタント：日本の首都です。"
    )


def test_weights_leave_out_and_repeat_items_in_other_scripts(tmp_path: Path):
    config = RenderConfig(weights={"talk": 2.0, "translate": 0.25}, weight=0.0, rows_per_shard=64)
    made = render(tmp_path / "out", config, {"one": publish(tmp_path / "made", Made())})
    documents = rows(made)
    counts = Counter(row["source"] for row in documents)
    assert counts["synth:talk"] == 200 and 10 < counts["synth:translate"] < 45 and "synth:cloze" not in counts
    pairs = Counter(row["id"].partition("/")[0] for row in documents if row["source"] == "synth:talk")
    assert set(pairs.values()) == {2}
    assert len({(row["id"].partition("/")[0], row["script"]) for row in documents}) == len(documents)
    assert {row["licence"] for row in documents} == {"CC0-1.0"} and made.manifest.spec.licences == ("CC0-1.0",)
    assert made.manifest.metrics["documents.talk"] == 200


def test_what_an_item_becomes_depends_on_no_other(tmp_path: Path):
    few = render(tmp_path / "few", RenderConfig(weight=0.7), {"a": publish(tmp_path / "a", Made(items=60))})
    parts = {"b": publish(tmp_path / "b", Made(items=60)), "c": publish(tmp_path / "c", Made(first=60))}
    more = {row["id"]: row for row in rows(render(tmp_path / "more", RenderConfig(weight=0.7), parts))}
    assert all(more[row["id"]] == row for row in rows(few)) and len(more) > len(rows(few))


def test_scripts_are_taken_as_their_weights_ask():
    scripts = (Labelled(name="a", weight=3), Labelled(name="b", weight=1))
    taken = Counter(script.name for n in range(4000) for script, _ in told(replace(ITEM, id=str(n)), 1.0, scripts))
    assert taken["a"] / 4000 == pytest.approx(0.75, abs=0.03)


@given(st.floats(0, 5), st.integers(0, 10**6))
def test_an_item_is_told_as_often_as_its_weight_or_once_more(weight: float, n: int):
    count = sum(1 for _ in told(replace(ITEM, id=str(n)), weight, SCRIPTS))
    assert int(weight) <= count <= int(weight) + 1


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{{ turns[0].content }}", "leaves out what the user says"),
        ("{{ messages }}", "names 'messages'"),
        ("{% for %}", "not valid Jinja2"),
        ("{{ turns.nothing.at_all }}", "not valid Jinja2"),
    ],
)
def test_a_template_that_loses_what_is_said_is_refused(template: str, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        Templated(name="mine", template=template)


def test_the_same_item_twice_a_task_that_is_not_there_and_no_weight_at_all_are_refused(tmp_path: Path):
    made = publish(tmp_path / "made", Made(items=9))
    for inputs, config, complaint in (
        ({"a": made, "b": made}, RenderConfig(), "item 0+ is there 2 times, and 8 others are"),
        ({"a": made}, RenderConfig(weights={"tlak": 1}), "task 'tlak', of which there is no dialogue"),
        ({"a": made}, RenderConfig(weight=0), "every weight is 0"),
    ):
        with pytest.raises(BunbukuError, match=complaint):
            render(tmp_path / "out", config, inputs)
        assert not (tmp_path / "out").exists()
