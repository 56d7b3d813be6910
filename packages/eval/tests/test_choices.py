"""Multiple choice: what is asked, what is picked, and what the numbers then are."""

import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import BunbukuError, read_sections
from bunbuku_eval import ChoiceConfig, choice, wilson
from bunbuku_eval.choices import Item, Pick, chance, picks
from bunbuku_eval.run import EvalRun
from bunbuku_inference import Message, Score, TransformersEngine

ON_ONE_THREAD = EvalRun(engine=TransformersEngine(threads=1, device="cpu"))
QUESTION = Item("1", "色", (Message(role="user", content="空は何色ですか。"),), ("青", "赤", "白"), 0)


@pytest.fixture(scope="module")
def measured(place, models, items):
    return choice(place("choice"), ChoiceConfig(items=20), models, items, run=ON_ONE_THREAD)


def rows(report) -> list[dict]:
    return pq.read_table(report.dir / "items.parquet").to_pylist()


def row_is(row: dict, model: str, style: str, task: str) -> bool:
    return (row["model"], row["style"], row["task"]) == (model, style, task)


def test_plain_and_chat_put_the_same_question_differently() -> None:
    plain, chat = (QUESTION.requests(style, "{question}\n答え: ") for style in ("plain", "chat"))
    assert [request.completion for request in plain] == ["青", "赤", "白"]
    assert plain[0].prompt == "空は何色ですか。\n答え: "
    assert chat[0].prompt == QUESTION.messages


def test_scores_go_back_to_their_items_whatever_the_numbers_of_choices() -> None:
    two = Item("2", "色", QUESTION.messages, ("緑", "黒"), 1)
    scored = [Score(logprob=value, tokens=1) for value in (-3, -1, -2, -5, -4)]
    found = [pick for pick in picks([QUESTION, two], scored) if isinstance(pick, Pick)]
    assert [pick.logprobs for pick in found] == [(-3, -1, -2), (-5, -4)]
    assert [pick.right for pick in found] == [False, True]
    assert chance([QUESTION, two]) == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_a_long_right_answer_can_win_per_byte_and_lose_as_it_stands() -> None:
    pick = Pick(Item("3", "色", QUESTION.messages, ("とても青い", "赤"), 0), (-6.0, -2.0))
    assert (pick.right, pick.right_per_byte) == (False, True)


def test_accuracies_are_those_of_the_items_and_their_interval_is_wilsons(measured) -> None:
    metrics = measured.manifest.metrics
    for model in ("first", "second"):
        for style in ("plain", "chat"):
            own = [row for row in rows(measured) if (row["model"], row["style"]) == (model, style)]
            right = sum(row["picked"] == row["answer"] for row in own)
            assert len(own) == metrics["items"] == 20
            assert metrics[f"accuracy.{model}.{style}"] == right / 20
            low, high = wilson(right, 20)
            assert (metrics[f"accuracy.{model}.{style}.low"], metrics[f"accuracy.{model}.{style}.high"]) == (low, high)
    assert metrics["chance"] == 0.25


def test_a_logged_likelihood_is_the_models_own(make, measured, models, tokenizer) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(models["second"].dir, dtype=torch.float64).eval()
    row = next(row for row in rows(measured) if (row["model"], row["style"]) == ("second", "plain"))
    for choice_text, logprob in zip(row["choices"], row["logprobs"], strict=True):
        line = torch.tensor([make.ids(tokenizer, row["prompt"] + choice_text)])
        with torch.no_grad():
            logprobs = torch.log_softmax(model(line).logits[0, -2], dim=-1)
        assert logprob == pytest.approx(float(logprobs[line[0, -1]]), rel=1e-5)


def test_tasks_get_a_table_each_and_can_be_chosen(place, measured, models, items) -> None:
    (section,) = read_sections(measured)
    assert [table.caption for table in section.tables] == ["20 items, chance 0.250", "Accuracy by task"]
    assert [row[:2] for row in section.tables[1].rows] == [
        (task, len({row["id"] for row in rows(measured) if row["task"] == task})) for task in ("animal", "thing")
    ]
    right = [row["picked"] == row["answer"] for row in rows(measured) if row_is(row, "first", "plain", "thing")]
    assert section.tables[1].rows[1][3] == pytest.approx(sum(right) / len(right), abs=5e-4)
    config = ChoiceConfig(items=5, tasks=("animal",), styles=("plain",))
    one = choice(place("choice"), config, {"first": models["first"]}, items, run=ON_ONE_THREAD)
    assert {row["task"] for row in rows(one)} == {"animal"}


def test_a_task_without_items_is_one_sentence(place, models, items) -> None:
    with pytest.raises(BunbukuError, match="no item with choices of tasks 色"):
        choice(place("refused"), ChoiceConfig(tasks=("色",)), models, items)


def test_a_plain_template_without_the_question_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has no \{question\}"):
        ChoiceConfig(plain_template="答え: ")
