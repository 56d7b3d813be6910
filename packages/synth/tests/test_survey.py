import json
import math
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from bunbuku_contracts import BunbukuError, Config, Dialogues, Draft, read_sections, stage
from bunbuku_synth import SurveyConfig, survey
from bunbuku_synth.item import Item, dialogue, write_items
from bunbuku_synth.map import Map
from bunbuku_synth.survey import entropy
from bunbuku_synth.tasks.textbook import Goal
from bunbuku_synth.topics import Topics


class Sources(Config):
    sources: tuple[tuple[str, str, str], ...]


@stage("test.sources")
def publish(draft: Draft, config: Sources) -> Dialogues:
    """Publish an item a source: task, source, answer."""
    items = (
        Item(str(n), dialogue("何？", said), task, "ja", source, "t@1", "teacher", "x", n, "CC0-1.0")
        for n, (task, source, said) in enumerate(config.sources)
    )
    write_items(items, draft, rows_per_shard=100)
    return Dialogues()


def test_goals_are_counted_by_distinct_texts_against_their_share(tmp_path: Path):
    goals = (Goal(subject="算数", id="ratio", says="a"), Goal(subject="算数", id="area", says="b"))
    books = ("本一冊目", "本二冊目", "本、二冊目。")
    made = publish(tmp_path / "made", Sources(sources=tuple(("textbook", "goal:算数/ratio", said) for said in books)))
    report = survey(tmp_path / "report", SurveyConfig(goals=goals, books_per_subject=10), {"one": made})
    covered = next(section for section in read_sections(report) if "goals" in section.title)
    assert [row[3:] for row in covered.tables[0].rows] == [(0, 5, 5), (2, 5, 3)]
    assert report.manifest.metrics["goals.missing_texts"] == 8 and report.manifest.metrics["goals.begun"] == 1


def test_the_balance_says_how_much_of_each_task_is_to_be_made(tmp_path: Path):
    made = publish(tmp_path / "made", Sources(sources=(("a", "s", "あ" * 60), ("b", "s", "い" * 10))))
    report = survey(tmp_path / "report", SurveyConfig(shares={"a": 2, "b": 1, "c": 1}), {"one": made})
    *_, balance = read_sections(report)
    assert balance.tables[0].rows == (("a", 60, "50.0%", 0), ("b", 10, "25.0%", 20), ("c", 0, "25.0%", 30))


def test_facts_that_were_said_again_are_listed_rarest_first(tmp_path: Path):
    said = (("facts", "fact:x", "一"), ("facts", "fact:x", "二"), ("facts", "fact:y", "三"))
    report = survey(tmp_path / "r", SurveyConfig(), {"one": publish(tmp_path / "m", Sources(sources=said))})
    facts = next(section for section in read_sections(report) if "facts" in section.title)
    assert facts.tables[0].rows == (("y", 1, 1000), ("x", 2, 1000))


def test_an_even_draw_has_the_most_entropy():
    assert entropy(Counter("ab")) == 1 > entropy(Counter("aaab")) > entropy(Counter("a")) == 0
    assert entropy(Counter("いろはにほへとち")) == pytest.approx(3)


def row(id: str, text: str) -> dict[str, Any]:
    return {"id": id, "text": text, "source": "web", "url": None, "licence": "CC0-1.0", "language": "ja"}


ABOUT = {
    "野球": ("投手", "打者", "本塁打", "球場", "監督", "試合"),
    "料理": ("包丁", "鍋底", "味噌", "砂糖", "食材", "煮物"),
    "天文": ("惑星", "望遠鏡", "銀河", "彗星", "太陽", "軌道"),
}


def about(topic: str, number: int) -> str:
    words = [ABOUT[topic][(number + n * (number % 4 + 1)) % 6] for n in range(4)]
    return f"{topic}の話です。" + "".join(f"{word}がありました。" for word in words)


def test_a_topic_that_the_reference_has_and_nobody_made_is_to_be_made_first(tmp_path: Path, toy: Any):
    said = [about("野球", n) for n in range(60)] + [about("料理", n) for n in range(30)]
    made = publish(tmp_path / "made", Sources(sources=tuple(("a", "s", one) for one in said)))
    documents = [row(f"{topic}:{n}", about(topic, n)) for topic in ABOUT for n in range(40)]
    reference = toy.corpus("web", documents)
    config = SurveyConfig(topics=Topics(count=3, seed=1))
    report = survey(tmp_path / "r", config, {"one": made}, reference)
    [topics] = [section for section in read_sections(report) if "about" in section.title]
    found = {
        next(name for name, words in ABOUT.items() if {*words, name} & set(str(one[0]).split("・"))): one
        for one in topics.tables[0].rows
    }
    assert found.keys() == ABOUT.keys() and topics.tables[0].rows[0] == found["天文"]
    assert [found[name][1:] for name in ABOUT] == [
        ("66.7%", "33.3%", "", "33.3%", 0),
        ("33.3%", "33.3%", "", "33.3%", 30),
        ("0.0%", "33.3%", "", "33.3%", 60),
    ]
    assert report.manifest.metrics["topics.to_make"] == 90
    turned = toy.corpus("turned", documents[::-1])
    assert read_sections(survey(tmp_path / "t", config, {"one": made}, turned)) == read_sections(report)


def test_shares_can_be_named_by_a_word_of_the_topic(tmp_path: Path):
    said = [about(topic, n) for topic in ("野球", "料理") for n in range(40)]
    made = publish(tmp_path / "made", Sources(sources=tuple(("a", "s", one) for one in said)))
    plain = survey(tmp_path / "plain", SurveyConfig(topics=Topics(count=2)), {"one": made})
    [topics] = [section for section in read_sections(plain) if "about" in section.title]
    word = next(word for row in topics.tables[0].rows for word in str(row[0]).split("・") if word in ABOUT["野球"])
    report = survey(tmp_path / "r", SurveyConfig(topics=Topics(count=2, shares={word: 0.8})), {"one": made})
    [topics] = [section for section in read_sections(report) if "about" in section.title]
    rows = {word in str(one[0]).split("・"): one for one in topics.tables[0].rows}
    assert rows[True][4:] == ("80.0%", 120) and rows[False][4:] == ("20.0%", 0)


def test_a_map_has_items_reference_and_prompts_and_prompts_lie_beside_what_they_ask_about(tmp_path: Path, toy: Any):
    pytest.importorskip("sklearn")
    said = [about(topic, n) for topic in ("野球", "料理") for n in range(30)]
    made = publish(tmp_path / "made", Sources(sources=tuple(("a", "s", one) for one in said)))
    reference = toy.corpus("web", [row(f"{topic}:{n}", about(topic, n)) for topic in ABOUT for n in range(30)])
    asked = {"games": "野球", "stars": "天文"}
    exams = {name: tmp_path / f"{name}.jsonl" for name in asked}
    for name, topic in asked.items():
        lines = (json.dumps({"question": about(topic, n)}, ensure_ascii=False) for n in range(12))
        exams[name].write_text("\n".join(lines), encoding="utf-8")
    with exams["stars"].open("a", encoding="utf-8") as stars:
        stars.write(
            '\n{"question": "それはどうしてですか。"}'
        )  # about nothing that is a word here: of no topic, and nowhere
    config = SurveyConfig(topics=Topics(count=3, seed=1), map=Map())
    report = survey(tmp_path / "r", config, {"one": made}, reference, exams)
    found = {section.title: section for section in read_sections(report)}
    # Nobody wrote about stars: the reference has what that evaluation asks, and the items do not.
    nearness: dict[str, Any] = {str(one[0]).partition("[")[0]: one[1:] for one in found["Where it lies"].tables[0].rows}
    assert nearness["games"][:2] == (12, 12) and nearness["stars"][:2] == (13, 12)
    assert nearness["games"][2] > 0.9 and nearness["stars"][2] < 0.1 and nearness["stars"][3] > 0.9
    shares = [str(one[3]) for one in found["What it is about"].tables[0].rows]
    assert sorted(shares) == ["0.0%", "50.0%", "50.0%"]
    svg = ElementTree.fromstring((report.dir / found["Where it lies"].pictures[0].path).read_text())
    space = "{http://www.w3.org/2000/svg}"
    groups = {group[0].text: group for group in svg.iter(f"{space}g")}
    middles = {
        name: tuple(
            sum(float(dot.attrib[at]) for dot in group.iter(f"{space}circle")) / (len(group) - 1) for at in ("cx", "cy")
        )
        for name, group in groups.items()
    }
    assert [len(group) - 1 for group in groups.values()] == [60, 90, 12, 12]
    assert [group.attrib["fill"] == "none" for group in groups.values()] == [False, False, True, True]
    # On the plane the prompts about stars lie among the reference's texts about stars, and those about games do not.
    dots = [one for one in groups["reference"] if one.tag.endswith("circle")]
    near = min(
        math.dist((float(one.attrib["cx"]), float(one.attrib["cy"])), middles["stars[question]"]) for one in dots
    )
    assert near < math.dist(middles["stars[question]"], middles["games[question]"]) / 2
    assert svg.tag.endswith("svg") and (report.dir / str(report.manifest.spec.page)).read_text().count("<svg") == 1


def test_a_map_without_topics_is_refused(tmp_path: Path):
    made = publish(tmp_path / "made", Sources(sources=(("a", "s", "一"),)))
    with pytest.raises(BunbukuError, match="a map and evaluations need `topics`"):
        survey(tmp_path / "r", SurveyConfig(topics=None, map=Map()), {"one": made})
