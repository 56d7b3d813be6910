from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Dialogues
from bunbuku_inference import TransformersEngine
from bunbuku_synth import GenerateConfig, PreferConfig, generate, prefer, read_items
from bunbuku_synth.contrasts import (
    AnyContrast,
    ArithmeticContrast,
    ClozeContrast,
    MultipleChoiceContrast,
    TranslateContrast,
)
from bunbuku_synth.prefer import PreferRun
from bunbuku_synth.tasks import Arithmetic, Cloze, MultipleChoice, Translate
from bunbuku_synth.tasks.teaching import TeacherSampling

CONTRASTS: tuple[AnyContrast, ...] = (
    TranslateContrast(by_rule=15),
    ClozeContrast(by_rule=15),
    MultipleChoiceContrast(by_rule=15),
    ArithmeticContrast(by_rule=15),
)


@pytest.fixture
def dialogues(tmp_path: Path, corpus, pairs_of_all_blocks) -> Artifact[Dialogues]:
    tasks = (Translate(count=120), Cloze(count=80), MultipleChoice(count=30), Arithmetic(count=30))
    return generate(tmp_path / "dialogues", GenerateConfig(tasks=tasks), corpus, pairs_of_all_blocks)


def rows(made) -> list[dict]:
    return [row for file in made.files() for row in pq.read_table(made.path(file)).to_pylist()]


def test_every_right_answer_has_a_wrong_one_that_its_checker_turns_down(tmp_path: Path, dialogues):
    made = rows(prefer(tmp_path / "out", PreferConfig(contrasts=CONTRASTS), dialogues))
    assert Counter(row["task"] for row in made) == {contrast.type: 15 for contrast in CONTRASTS}
    by_prompt = {item.prompt[0].content: item for item in read_items(dialogues)}
    contrasts = {contrast.type: contrast for contrast in CONTRASTS}
    for row in made:
        item = by_prompt[row["prompt"][0]["content"]]
        assert row["chosen"] == item.said != row["rejected"]
        assert contrasts[row["task"]].verdict(item, row["rejected"]) == "wrong"
        assert row["rejected_by"].startswith("rule:")
        assert (row["source"], row["template"], row["licence"]) == (item.source, item.template, item.licence)


def test_a_wrong_answer_has_the_form_of_the_right_one(tmp_path: Path, dialogues):
    for row in rows(prefer(tmp_path / "out", PreferConfig(contrasts=CONTRASTS), dialogues)):
        assert (row["chosen"][0] == "「") == (row["rejected"][0] == "「")
        if row["task"] == "arithmetic":
            digits = str.maketrans("", "", "0123456789〇一二三四五六七八九十百")
            assert row["chosen"].translate(digits) == row["rejected"].translate(digits)


def test_the_same_dialogues_make_the_same_preferences(tmp_path: Path, dialogues):
    config = PreferConfig(contrasts=CONTRASTS)
    one, other = (prefer(tmp_path / name, config, dialogues) for name in ("one", "other"))
    assert one.content == other.content
    ids = [row["id"] for row in rows(one)]
    assert ids == sorted(set(ids))


def test_a_models_answers_need_a_model(tmp_path: Path, dialogues):
    with pytest.raises(BunbukuError, match="no model was given"):
        prefer(tmp_path / "out", PreferConfig(contrasts=(ArithmeticContrast(by_model=1),)), dialogues)


def test_dialogues_without_a_task_to_contrast_are_an_error(tmp_path: Path, corpus):
    sums = generate(tmp_path / "sums", GenerateConfig(tasks=(Arithmetic(count=5),)), corpus)
    with pytest.raises(BunbukuError, match="no item of the tasks cloze has a wrong answer"):
        prefer(tmp_path / "out", PreferConfig(contrasts=(ClozeContrast(),)), sums)


def test_a_models_own_mistakes_are_taken_and_counted(tmp_path: Path, dialogues, checkpoint):
    contrasts = tuple(contrast.model_copy(update={"by_rule": 2, "by_model": 6}) for contrast in CONTRASTS)
    config = PreferConfig(contrasts=contrasts, sampling=TeacherSampling(max_tokens=8))
    run = PreferRun(engine=TransformersEngine(threads=1, device="cpu"))
    made = prefer(tmp_path / "out", config, dialogues, checkpoint, run=run)
    by_model = [row for row in rows(made) if row["rejected_by"] == f"model:{checkpoint.content}"]
    metrics = made.manifest.metrics
    verdicts = {name: value for name, value in metrics.items() if name.startswith("model_was.")}
    assert sum(verdicts.values()) == 24 == metrics["model.requests"]
    assert len(by_model) == sum(value for name, value in verdicts.items() if name.endswith(".wrong")) > 0
    items = {item.prompt[0].content: item for item in read_items(dialogues)}
    for row in by_model:
        item = items[row["prompt"][0]["content"]]
        contrast = next(contrast for contrast in contrasts if contrast.type == row["task"])
        assert contrast.verdict(item, row["rejected"]) == "wrong"
        assert row["rejected"] != row["chosen"] == item.said
