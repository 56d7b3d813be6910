"""The recipes that teachers write, each against a real server that writes the same reply to the same request."""

from collections import Counter
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Config, Draft, Report, stage
from bunbuku_synth import GenerateConfig, GenerateRun, generate, read_items
from bunbuku_synth.sources import Library
from bunbuku_synth.tasks import Debate, Facts, Instruct, Rephrase, Solve, Textbook
from bunbuku_synth.tasks.instruct import MANNERS
from bunbuku_synth.tasks.rephrase import STYLES, copied_share
from bunbuku_synth.tasks.textbook import Goal, read_curriculum


def _scribe() -> Any:
    spec = spec_from_file_location("scribe", Path(__file__).with_name("scribe.py"))
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIBE = _scribe()


@pytest.fixture
def server() -> Iterator[Any]:
    with SCRIBE.Scribe() as server:
        yield server


@pytest.fixture
def run(tmp_path: Path, corpus: Any, server: Any) -> Any:
    """Make a task; its items, and the reasons of what was dropped."""

    def make(task: Any, **inputs: Any) -> tuple[list[Any], Counter[str]]:
        config = GenerateConfig(tasks=(task,), teacher="writer", seed=4)
        made = generate(tmp_path / task.type, config, corpus, run=GenerateRun(engine=server.engine("writer")), **inputs)
        files = made.files("dropped") if "dropped" in made.manifest.parts else ()
        rows = [row for file in files for row in pq.read_table(made.path(file)).to_pylist()]
        return list(read_items(made)), Counter(row["reason"] for row in rows)

    return make


def test_a_solution_is_kept_only_if_it_ends_in_the_exact_answer(run: Any, server: Any):
    task = Solve(count=12, attempts=3)
    starts = list(task.starts(Library(None), seed=4))  # pyright: ignore[reportArgumentType]
    server.answers = {
        start.words["question"]: f"式を立てて考えます。\n答え: {start.words['right']}" for start in starts
    }
    items, reasons = run(task)
    assert len(items) + reasons["none_right"] == 12 and len(items) > 6
    right = {start.words["question"]: start.words["right"] for start in starts}
    assert all(item.said.endswith(f"答え: {right[item.prompt[0].content]}") for item in items)
    assert max(Counter(body["messages"][-1]["content"] for body in server.seen).values()) <= 3


def test_a_program_is_kept_only_if_it_passes_its_tests(run: Any, server: Any):
    task = Solve(count=6, attempts=2, problems="code")
    starts = list(task.starts(Library(None), seed=4))  # pyright: ignore[reportArgumentType]
    for n, start in enumerate(starts):
        challenge = task._challenge(n, 4)
        source = challenge.source if n % 3 else f"def {challenge.function}(x):\n    return 'wrong'\n"
        server.answers[start.words["question"]] = f"順に処理します。\n```python\n{source}```"
    items, reasons = run(task)
    kept = {item.prompt[0].content for item in items}
    assert kept and kept <= {start.words["question"] for n, start in enumerate(starts) if n % 3}
    assert len(items) + reasons["none_right"] == 6


def test_a_problem_that_a_teacher_poses_is_kept_if_solutions_agree(run: Any):
    items, reasons = run(Solve(count=12, problems="posed", attempts=4, agree=3))
    assert len(items) + reasons["no_agreement"] + reasons["repetitive"] == 12
    assert items and reasons["no_agreement"]
    assert all("\n答え: " in item.said for item in items)


def test_a_textbook_has_its_chapters_and_exercises_and_names_its_goal(run: Any):
    goals = (
        Goal(subject="算数", id="ratio", says="割合が分かる"),
        Goal(subject="理科", id="ions", says="イオンが分かる"),
    )
    items, reasons = run(Textbook(count=4, goals=goals, max_chapters=3))
    assert items and len(items) + reasons.total() == 4
    for item in items:
        assert item.source in ("goal:算数/ratio", "goal:理科/ions")
        assert item.said.count("\n## ") == 3 and "## 練習問題\n\n問1. " in item.said and "解答: " in item.said


def test_every_goal_gets_its_first_book_before_any_gets_its_second():
    task = Textbook(count=50)
    goals = [start.source for start in task.starts(Library(None), seed=0)]  # pyright: ignore[reportArgumentType]
    assert len(set(goals[: len(task.goals)])) == len(task.goals) and goals[len(task.goals)] == goals[0]


def test_a_curriculum_is_a_table_a_subject(tmp_path: Path):
    (tmp_path / "mine.toml").write_text('["音楽"]\nrhythm = "拍子が分かる"\n')
    assert read_curriculum(tmp_path / "mine.toml") == (Goal(subject="音楽", id="rhythm", says="拍子が分かる"),)


def test_a_debate_goes_from_cases_to_a_winner(run: Any):
    items, reasons = run(Debate(count=6))
    assert items and len(items) + reasons.total() == 6
    for item in items:
        assert len(item.messages) == 12 and item.said.rsplit("\n", 1)[1].startswith("勝者: ")
        assert item.messages[0].content.startswith("論題「")
    assert len({item.messages[0].content for item in items}) == len(items)


class Rows(Config):
    exposures: tuple[int, ...]


@stage("test.coverage")
def coverage(draft: Draft, config: Rows) -> Report:
    """Publish what an audit of facts would."""
    rows = [
        {"id": f"f{n}", "subject": f"第{n}の山", "relation": "県", "object": f"第{n}の県", "exposures": seen}
        for n, seen in enumerate(config.exposures)
    ]
    pq.write_table(pa.Table.from_pylist(rows), draft.dir / "facts.parquet")
    return Report(title="Facts")


def test_rare_facts_are_said_again_until_they_are_said_enough(tmp_path: Path, run: Any):
    audit: Artifact[Report] = coverage(tmp_path / "audit", Rows(exposures=(0, 9, 2, 1)))
    task = Facts(count=40, enough=4, per_fact=3)
    made = Counter(start.source for start in task.starts(Library(None, None, audit), seed=1))  # pyright: ignore[reportArgumentType]
    assert made == {"fact:f0": 3, "fact:f3": 3, "fact:f2": 2}
    items, reasons = run(task, coverage=audit)
    assert items and len(items) + reasons.total() == 8 and reasons["fact_not_named"]
    for item in items:
        number = item.source[-1]
        assert f"第{number}の山" in item.said and f"第{number}の県" in item.said


def test_facts_ask_for_an_audit(run: Any):
    with pytest.raises(BunbukuError, match="no audit of them was given"):
        run(Facts(count=3))


def test_a_style_is_kept_or_the_talk_is_not(run: Any):
    items, reasons = run(
        Instruct(count=16, manners=tuple(one for one in MANNERS if one.name in ("schoolmate", "polite")))
    )
    assert items and len(items) + reasons.total() == 16
    assert reasons["manner_not_kept"] > 4  # that teacher is polite, always
    assert not any("タメ口" in item.messages[0].content for item in items)


def test_talks_about_passages_begin_with_them(run: Any):
    task = Instruct(count=6, begin="passages", min_chars=40, max_chars=140, manners=MANNERS[:1], max_turns=2)
    items, _ = run(task)
    assert items
    for item in items:
        assert item.source and "#" in item.source
        assert len(item.messages) == 4 and len(item.messages[0].content.split("\n\n")) == 2


def test_what_a_rephrasing_copies_is_measured():
    text = "".join(chr(ord("一") + n) for n in range(90))
    assert copied_share(text, text) == 1 and copied_share(text, text[::-1]) == 0
    assert 0.45 < copied_share(text, text[:45] + text[:45][::-1]) <= 0.51


def test_every_style_has_its_own_name_and_an_unknown_one_is_refused():
    assert len({style.name for style in STYLES}) == len(STYLES) == 8
    with pytest.raises(ValueError, match="`only` names 'poem'"):
        Rephrase(count=1, only=("poem",))
