"""Best of several, with a judge behind a real server that can be fair, taken in by what comes first, or unclear."""

import re
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from bunbuku_synth import GenerateConfig, GenerateRun, PreferConfig, PreferRun, generate, prefer, read_items
from bunbuku_synth.best_of import BestOf
from bunbuku_synth.checkers import exact
from bunbuku_synth.contrasts import ClassificationContrast, EntailmentContrast, MathematicsContrast
from bunbuku_synth.rivals import Rivals
from bunbuku_synth.sources import Library
from bunbuku_synth.strength import Strength
from bunbuku_synth.tasks import Classification, Cloze, Entailment, Mathematics, SelfReward, Solve
from bunbuku_synth.tasks.judging import parse_judgement
from hypothesis import given
from hypothesis import strategies as st


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


def judged(tmp_path: Path, corpus: Any, pairs: Any, server: Any, judge: str, **changes: Any) -> Any:
    dialogues = generate(tmp_path / "dialogues", GenerateConfig(tasks=(Cloze(count=8),)), corpus, pairs)
    best_of = BestOf(count=8, answers=3, teachers=("strong", "weak"), judge="judge", **changes)
    config = PreferConfig(contrasts=(), best_of=best_of, teachers={"strong": "s", "weak": "w", "judge": judge})
    run = PreferRun(engines={"strong": server.engine("s"), "weak": server.engine("w"), "judge": server.engine(judge)})
    return prefer(tmp_path / judge, config, dialogues, run=run)


def rows(made: Any) -> list[dict[str, Any]]:
    return [row for file in made.files() for row in pq.read_table(made.path(file)).to_pylist()]


def test_the_better_answer_by_both_orders_is_chosen(tmp_path: Path, corpus: Any, pairs_of_all_blocks: Any, server: Any):
    made = judged(tmp_path, corpus, pairs_of_all_blocks, server, "longest")
    found, metrics = rows(made), made.manifest.metrics
    assert len(found) == metrics["preferences.cloze.best_of"] == 8
    assert all(len(row["chosen"]) > len(row["rejected"]) for row in found)
    assert {row["rejected_by"] for row in found} <= {"model:s", "model:w"}
    assert "best_of.orders_disagree" not in metrics
    kept = metrics["best_of.answers"] - metrics.get("best_of.answers_left_out", 0)
    assert (
        metrics["best_of.answers"] == 8 * 3 * 2 and metrics["judge.requests"] == 2 * metrics["best_of.matches"] > kept
    )


def test_a_judge_that_likes_what_comes_first_decides_nothing(
    tmp_path: Path, corpus: Any, pairs_of_all_blocks: Any, server: Any
):
    made = judged(tmp_path, corpus, pairs_of_all_blocks, server, "half-blind")
    metrics = made.manifest.metrics
    assert metrics["best_of.orders_disagree"] > 0 and metrics["best_of.unparsed"] > 0
    matches = metrics["best_of.matches"]
    assert metrics["best_of.orders_disagree"] + metrics["best_of.unparsed"] < matches
    assert len(rows(made)) + metrics.get("best_of.no_clear_pair", 0) == 8


def test_a_stronger_teacher_is_verified_against_a_weaker_one_where_the_answer_is_known(
    tmp_path: Path, corpus: Any, pairs_of_all_blocks: Any, server: Any
):
    tasks = (Mathematics(count=12, shown=("steps",)), Cloze(count=6))
    dialogues = generate(tmp_path / "dialogues", GenerateConfig(tasks=tasks), corpus, pairs_of_all_blocks)
    problems = [item for item in read_items(dialogues) if item.task == "mathematics"]
    # The strong one is right about two thirds of them, and the weak one about none.
    server.answers = {item.prompt[0].content: item.said for item in problems[:8]}
    contrasts = (MathematicsContrast(by_model=0),)
    strength = Strength(count=18, stronger="strong", weaker="weak")
    teachers = {"strong": "strong", "weak": "weak"}
    config = PreferConfig(contrasts=contrasts, strength=strength, teachers=teachers)
    made = prefer(
        tmp_path / "out", config, dialogues, run=PreferRun(engines={one: server.engine(one) for one in teachers})
    )
    found, metrics = rows(made), made.manifest.metrics
    right = {item.prompt[0].content: item.said for item in problems[:8]}
    verified = [row for row in found if row["task"] == "mathematics"]
    assert len(verified) == metrics["strength.verified"] == 8 and metrics["strength.stronger_not_right"] == 4
    for row in verified:
        assert exact(right[row["prompt"][0]["content"]], row["chosen"]) == "right"
        assert exact(right[row["prompt"][0]["content"]], row["rejected"]) == "wrong"
        assert row["rejected_by"] == "model:weak"
    assert metrics["strength.unverified"] + metrics.get("strength.alike", 0) == 6
    known = strength.model_copy(update={"unverified": False})
    alone = prefer(
        tmp_path / "known",
        config.model_copy(update={"strength": known}),
        dialogues,
        run=PreferRun(engines={one: server.engine(one) for one in teachers}),
    )
    assert {row["task"] for row in rows(alone)} == {"mathematics"}


def test_labels_have_other_labels_of_the_same_form_beside_them(tmp_path: Path, corpus: Any):
    dialogues = generate(
        tmp_path / "dialogues", GenerateConfig(tasks=(Classification(count=30), Entailment(count=30))), corpus
    )
    config = PreferConfig(contrasts=(ClassificationContrast(by_rule=20), EntailmentContrast(by_rule=20)))
    found = rows(prefer(tmp_path / "out", config, dialogues))
    items = {item.prompt[0].content: item for item in read_items(dialogues)}
    assert len(found) == 40 and {row["rejected_by"] for row in found} == {"rule:another_class", "rule:another_relation"}
    for row in found:
        item = items[row["prompt"][0]["content"]]
        assert row["rejected"] in (item.choices or ()) and row["rejected"] != row["chosen"] == item.said


def test_solutions_that_lost_while_problems_grew_harder_become_preferences(tmp_path: Path, corpus: Any, server: Any):
    task = SelfReward(count=16, rounds=2, attempts=4, agree=2, judge="judge")
    config = GenerateConfig(tasks=(task,), teacher="writer", teachers={"judge": "longest"})
    run = GenerateRun(engine=server.engine("writer"), engines={"judge": server.engine("longest")})
    made = generate(tmp_path / "made", config, corpus, run=run)
    asked = len(server.seen)
    out = prefer(tmp_path / "out", PreferConfig(contrasts=(), rivals=Rivals(count=50, each=4)), made)
    found, metrics = rows(out), out.manifest.metrics
    assert len(server.seen) == asked  # nobody was asked again
    answers = {item.prompt[0].content: item.said for item in read_items(made)}
    for row in found:
        question, chosen, rejected = row["prompt"][0]["content"], row["chosen"], row["rejected"]
        assert chosen == answers[question] and exact(chosen, rejected) == "wrong"
        # The judge of these tests likes what is longer, in whichever place, and saw the two of them in both.
        assert (len(chosen), chosen) > (len(rejected), rejected)
        shown = [body["messages"][-1]["content"] for body in server.seen if body["model"] == "longest"]
        pairs = [one for one in shown if question in one and chosen in one and rejected in one]
        assert len(pairs) == 2 and row["rejected_by"] == "model:writer"
    assert len(found) == metrics["rivals.judge"] == metrics["preferences.self_reward.rivals"] > 0
    assert made.manifest.metrics["rivals.self_reward.judge"] == metrics["rivals.judge"]
    every = Rivals(count=50, each=4, worse_by=("judge", "agreement"))
    more = rows(prefer(tmp_path / "more", PreferConfig(contrasts=(), rivals=every), made))
    assert len(more) == metrics["rivals.judge"] + metrics["rivals.agreement"] > len(found)


def test_wrong_attempts_at_a_problem_with_an_exact_answer_become_preferences(tmp_path: Path, corpus: Any, server: Any):
    task = Solve(count=12, attempts=3)
    right = {start.words["question"]: start.words["right"] for start in task.starts(Library(corpus), seed=0)}
    server.answers = {question: f"式を立てて考えます。\n答え: {answer}" for question, answer in right.items()}
    run = GenerateRun(engine=server.engine("writer"))
    made = generate(tmp_path / "made", GenerateConfig(tasks=(task,), teacher="writer"), corpus, run=run)
    found = rows(prefer(tmp_path / "out", PreferConfig(contrasts=(), rivals=Rivals()), made))
    assert found
    for row in found:
        expected = f"答え: {right[row['prompt'][0]['content']]}"
        assert exact(expected, row["chosen"]) == "right" and exact(expected, row["rejected"]) == "wrong"


@given(st.lists(st.sampled_from(["[[A]]", "[[B]]", "[A]", "A", "どちらも良い"])))
def test_a_judgement_is_one_tag_or_nothing(said: list[str]):
    tags = set(re.findall(r"\[\[(.)\]\]", "".join(said)))
    assert parse_judgement(" ".join(said)) == (tags.pop() if len(tags) == 1 else None)
