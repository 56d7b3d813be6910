from collections import Counter
from pathlib import Path

import pytest
from bunbuku_contracts import Config, Dialogues, Draft, read_sections, stage
from bunbuku_synth import SurveyConfig, survey
from bunbuku_synth.item import Item, dialogue, write_items
from bunbuku_synth.survey import entropy
from bunbuku_synth.tasks.textbook import Goal


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
    [_, covered] = read_sections(report)
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
