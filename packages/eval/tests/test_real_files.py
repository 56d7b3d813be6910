"""Models whose worth is known, on the published files: `BUNBUKU_DATA` names a folder with them under eval/."""

import os
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from bunbuku_eval import GenerateConfig, generate, mark
from bunbuku_eval.intervals import wilson
from bunbuku_eval.tasks import JNLI, JCommonsenseQA, Task

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
