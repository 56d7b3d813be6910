import json

from bunbuku_inference import read_json, schema_of
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel


class Quiz(BaseModel):
    question: str
    answers: list[str]
    right: int = 0


QUIZZES = st.builds(Quiz, question=st.text(), answers=st.lists(st.text(), max_size=4), right=st.integers(0, 9))


@given(QUIZZES)
def test_what_fits_is_read_without_mending(quiz: Quiz) -> None:
    assert read_json(quiz.model_dump_json(), Quiz) == (quiz, ())


@given(QUIZZES, st.sampled_from(["はい、こちらです。\n", "以下の通り: "]))
def test_words_and_fences_around_it_are_left_out(quiz: Quiz, before: str) -> None:
    said = quiz.model_dump_json()
    assert read_json(before + said, Quiz).value == quiz
    if "```" not in said:
        assert read_json(f"{before}```json\n{said}\n```\n以上です。", Quiz).value == quiz


@given(QUIZZES, st.data())
def test_a_reply_cut_off_anywhere_never_gains_a_word(quiz: Quiz, data: st.DataObject) -> None:
    said = quiz.model_dump_json()
    cut = said[: data.draw(st.integers(0, len(said)))]
    value = read_json(cut, Quiz).value
    if value is not None:
        assert value.question == quiz.question
        assert value.answers == quiz.answers[: len(value.answers)]


def test_no_sense_is_no_value() -> None:
    for text in ("", "はい", "{}", '{"question": 3}', "```json\n[1, 2]\n```"):
        assert read_json(text, Quiz) == (None, ())


def test_the_schema_of_a_class_is_one_text() -> None:
    assert schema_of(Quiz) == schema_of(Quiz)
    assert set(json.loads(schema_of(Quiz))["required"]) == {"question", "answers"}
