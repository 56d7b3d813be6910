import pytest
from bunbuku_synth.replies import Exchange, exchange_flaw, exchanges, flaw, is_repetitive, repair, rewriting_flaw
from hypothesis import given
from hypothesis import strategies as st


@given(st.text(alphabet="ab .!?\"'\n:", max_size=60), st.booleans())
def test_a_repair_only_leaves_out(text: str, cut_off: bool):
    repaired = repair(text, "en", cut_off=cut_off)
    assert repaired.text in text
    assert (repaired.text == text.strip()) or repaired.repairs


@pytest.mark.parametrize(
    ("text", "cut_off", "left", "repairs"),
    [
        ("Sure! I like cats.", False, "I like cats.", ("preface",)),
        ("Here is a new version: I like cats.", False, "I like cats.", ("preface",)),
        ("I like cats. I like do", True, "I like cats.", ("cut_off",)),
        ("I like ca", True, "", ("cut_off",)),
        ("はい、以下が書き直した文章です。\n猫が好きです。", False, "猫が好きです。", ("preface",)),
        ("「猫が好きです。」", False, "猫が好きです。", ("quotes",)),
        ("Here I am.", False, "Here I am.", ()),
        ('"Yes," he said, "no."', False, '"Yes," he said, "no."', ()),
    ],
)
def test_repairs_are_named(text: str, cut_off: bool, left: str, repairs: tuple[str, ...]):
    language = "ja" if any(c > "⺀" for c in text) else "en"
    assert repair(text, language, cut_off=cut_off) == (left, repairs)


@pytest.mark.parametrize(
    ("text", "language", "reason"),
    [
        ("I like cats.", "en", None),
        ("猫が好きです。", "ja", None),
        ("", "en", "empty"),
        ("...", "en", "empty"),
        ("I like cats.", "ja", "wrong_language"),
        ("猫が好きです。", "en", "wrong_language"),
        ("As an AI language model, I cannot.", "en", "meta"),
        ("I'm sorry, but I can't do that.", "en", "meta"),
        ("申し訳ありませんが、できません。", "ja", "meta"),
        ("I like cats. I like cats.", "en", "repetitive"),
        ("猫が好きです。猫が好きです。", "ja", "repetitive"),
    ],
)
def test_what_is_not_fit_to_be_kept_has_a_reason(text: str, language, reason: str | None):
    assert flaw(text, language) == reason


PASSAGE = "The old man planted a tall tree behind the village school in spring."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("In spring, a tall tree was planted behind the village school by the old man.", None),
        (PASSAGE, "copied"),
        (PASSAGE.upper(), "copied"),
        ("A tall building was sold.", "unrelated"),
        (
            "The old man planted a tall tree behind the village school, and a hungry lion ate his golden hat.",
            "adds_too_much",
        ),
        ("Old man planted tall tree.", "length"),
    ],
)
def test_what_is_no_rewriting_has_a_reason(text: str, reason: str | None):
    assert rewriting_flaw(PASSAGE, text) == reason


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("Who planted a tree?", "The old man.", None),
        ("Where is the tree?", "Behind the school.", None),
        ("The man planted a tree.", "A tall tree.", "no_question"),
        ("How big is the moon?", "Tall.", "question_not_about_passage"),
        ("Who planted a tree?", "A young woman.", "answer_not_in_passage"),
        ("Who planted a tree?", "He did.", "answer_not_in_passage"),
        ("Who is the old man?", "The old man.", "answer_repeats_question"),
    ],
)
def test_what_is_no_answered_question_about_a_passage_has_a_reason(question: str, answer: str, reason: str | None):
    assert exchange_flaw(PASSAGE, Exchange(question, answer)) == reason


def test_questions_and_answers_are_found_in_many_forms():
    assert exchanges("Question 1: Who?\nAnswer 1: Me.\n\nQuestion 2: Why?\nAnswer 2: So.") == [
        ("Who?", "Me."),
        ("Why?", "So."),
    ]
    assert exchanges("質問：だれですか。\n答え：私です。") == [("だれですか。", "私です。")]
    assert exchanges("問1. だれですか。\n答1. 私です。") == [("だれですか。", "私です。")]
    assert exchanges("Just a sentence.") == []
    assert exchanges("Answer: me.\nQuestion: who?") == []
    assert exchanges("A boy: he ran.\nQuick: yes") == []


@given(st.text(max_size=200))
def test_any_reply_can_be_read(text: str):
    for exchange in exchanges(text):
        assert exchange.question and exchange.answer
        flaw(exchange.question, "en")
        exchange_flaw(PASSAGE, exchange)
    flaw(text, "ja")
    rewriting_flaw(PASSAGE, text)
    is_repetitive(text)
