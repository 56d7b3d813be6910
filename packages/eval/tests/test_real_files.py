"""Models whose worth is known, on the published files: `BUNBUKU_DATA` names a folder with them under eval/."""

import os
import random
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from bunbuku_contracts.intervals import wilson
from bunbuku_eval import GenerateConfig, ScoreConfig, generate, mark, score
from bunbuku_eval.tasks import JNLI, JCommonsenseQA, JHumanEval, JSQuAD, Task
from bunbuku_eval.tasks.jhumaneval import passes

FOLDER = Path(os.environ.get("BUNBUKU_DATA", "nowhere")) / "eval"
CHOICES: tuple[tuple[Task, int], ...] = ((JCommonsenseQA(), 5), (JNLI(), 3))


def there(task: Task) -> list:
    """The task's questions, or a skip."""
    if not (FOLDER / task.file).is_file():
        pytest.skip(f"BUNBUKU_DATA has no eval/{task.file}")
    return task.read(FOLDER / task.file)


@pytest.mark.parametrize(("task", "choices"), CHOICES, ids=lambda one: getattr(one, "type", None))
def test_who_guesses_has_the_accuracy_of_chance_within_its_interval(task, choices) -> None:
    questions, guess = there(task), random.Random(1)
    marks = [mark(task, one, guess.choice(one.choices)) for one in questions]
    right = sum(one.strict for one in marks)
    low, high = wilson(right, len(marks))
    assert low < 1 / choices < high
    assert all(one.format_ok for one in marks)
    assert right == sum(one.lenient for one in marks)


@pytest.mark.parametrize(("task", "choices"), CHOICES, ids=lambda one: getattr(one, "type", None))
def test_who_knows_all_and_ignores_the_form_has_lenient_one_and_strict_nought(task, choices) -> None:
    questions = there(task)[:400]
    for said in (chatty_number, chatty_words):
        marks = [mark(task, one, said(one)) for one in questions]
        assert sum(one.lenient for one in marks) / len(marks) > 0.995
        assert sum(one.strict for one in marks) == 0
        assert not any(one.format_ok for one in marks)


def chatty_number(question) -> str:
    """「3. 机」where 「3」was asked for."""
    meaning = question.meanings[question.choices.index(question.gold[0])] if question.meanings else "だと思います"
    return f"{question.gold[0]}. {meaning}"


def chatty_words(question) -> str:
    return f"よく考えました。答えは「{question.gold[0]}」です。"


@pytest.mark.timeout(300)
def test_published_files_are_scored_from_end_to_end(place, named, talk) -> None:
    """A model that looks up the answer, and one that guesses; both through the engine, on fifty questions a task."""
    known = {(one.fields["question"],): one.gold[0] for one in there(JCommonsenseQA())}
    # The same question may be asked of several paragraphs.
    known |= {(one.fields["context"], one.fields["question"]): one.gold[0] for one in there(JSQuAD())}

    def says(prompt: str, seed: int) -> str:
        asked = max(
            (some for some in known if all(one in prompt for one in some)), key=lambda some: sum(map(len, some))
        )
        return f"答えは「{known[asked]}」です。"

    config = ScoreConfig.model_validate(
        {"tasks": [{"type": "jcommonsenseqa", "phrasings": JCommonsenseQA().phrasings[:1]},
                   {"type": "jsquad", "phrasings": JSQuAD().phrasings[:1]}],
         "styles": ["chat"], "items": 50, "bootstrap_rounds": 200}
    )  # fmt: skip
    knowing = score(place("knowing"), config, named, FOLDER, run=talk(says)).manifest.metrics
    assert knowing["lenient.m.jcommonsenseqa.generation.chat"] == 1
    assert knowing["strict.m.jcommonsenseqa.generation.chat"] == 0
    # Of some paragraphs the same question is asked twice, with other answers.
    assert knowing["lenient.m.jsquad.generation.chat"] > 0.9
    guess = random.Random(3)
    config = config.model_copy(update={"tasks": config.tasks[:1]})
    guessed = score(
        place("guessed"), config, named, FOLDER, run=talk(lambda p, s: guess.choice("01234"))
    ).manifest.metrics
    way = "m.jcommonsenseqa.generation.chat"
    assert guessed[f"lenient.{way}.low"] < 0.2 < guessed[f"lenient.{way}.high"]
    assert guessed[f"format_ok.{way}"] == 1


def test_open_questions_as_they_are_published_are_asked_turn_by_turn(place, named, talk) -> None:
    files = ("japanese_mt_bench_question.jsonl", "elyza_tasks_100.jsonl")
    if not all((FOLDER / file).is_file() for file in files):
        pytest.skip("BUNBUKU_DATA has no open questions")
    config = GenerateConfig.model_validate({"prompts": [], "tasks": ["japanese_mt_bench", "elyza_tasks_100"]})
    report = generate(
        place("talks"),
        config,
        named,
        data=FOLDER,
        run=talk(lambda prompt, seed: "はい、そう思います。"),
    )
    rows = pq.read_table(report.dir / "items.parquet").to_pylist()
    asked = [row["name"] for row in rows]
    assert len(asked) == 80 * 2 + 100
    assert all(row["text"] == "はい、そう思います。" for row in rows)
    assert sum(bool(row["criteria"]) for row in rows) == 100
    assert report.manifest.metrics["flagged.m"] == 0


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_reference_of_jhumaneval_passes_and_none_that_was_changed() -> None:
    task = JHumanEval()
    questions = there(task)
    assert len(questions) == 164
    right = [mark(task, one, one.gold[0]).strict for one in questions]
    # The same function, with its answer in a list.
    wrong = [
        passes(f"{one.gold[0]}\n\n{changed(one.fields['entry_point'])}", one.fields["test"], one.fields["entry_point"])
        for one in questions
    ]
    assert sum(right) == 164
    assert sum(wrong) == 0


def changed(function: str) -> str:
    return f"def _changed(was):\n    return lambda *given, **named: [was(*given, **named)]\n\n{function} = _changed({function})\n"


def test_what_is_changed_is_changed() -> None:
    space: dict = {}
    exec(f"def add(a, b):\n    return a + b\n\n{changed('add')}", space)
    assert space["add"](1, 2) == [3]
    assert re.match(r"def _changed", changed("add"))
