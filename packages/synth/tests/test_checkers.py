import pytest
from bunbuku_synth.checkers import arithmetic, choice, cloze, translation
from bunbuku_synth.numerals import kanji
from hypothesis import assume, given
from hypothesis import strategies as st

words = st.text(alphabet="駅図書館学校新聞カメラピアノ", min_size=1, max_size=5)
english = st.lists(
    st.sampled_from(["dog", "house", "river", "music", "letter", "school", "garden"]), min_size=1, max_size=4
)


@given(english)
def test_a_translation_is_right_whatever_its_case_and_punctuation(found: list[str]):
    text = " ".join(found)
    assert translation(text, f"「{text.upper()}!」") == "right"


@given(english, english)
def test_a_translation_that_shares_a_word_is_never_called_wrong(ours: list[str], theirs: list[str]):
    verdict = translation(" ".join(ours), " ".join(theirs))
    if ours == theirs:
        assert verdict == "right"
    else:
        assert verdict == ("unclear" if set(ours) & set(theirs) else "wrong")


@given(words, words)
def test_a_word_is_right_in_every_form_and_wrong_only_without_a_common_letter(right: str, given_word: str):
    for said in (given_word, f"「{given_word}」", f"＿＿＿に入るのは「{given_word}」です。"):
        verdict = cloze(f"「{right}」", said)
        if right == given_word:
            assert verdict == "right"
        else:
            assert verdict == ("unclear" if set(right) & set(given_word) else "wrong")


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_number_is_right_in_either_numerals_and_wrong_if_it_is_another(right: int, other: int):
    assume(right != other)
    for write in (kanji, str):
        assert arithmetic(f"{kanji(right)}個です。", f"答えは{write(right)}") == "right"
        assert arithmetic(f"{right}個です。", f"{write(other)}です。") == "wrong"
        assert arithmetic(str(right), f"{write(other)}ではなく{write(right)}") == "unclear"


@given(st.lists(words, min_size=2, max_size=5, unique=True), st.data())
def test_exactly_the_right_choice_is_right(choices: list[str], data: st.DataObject):
    answer = data.draw(st.integers(0, len(choices) - 1))
    verdicts = [choice(choices, answer, f"{text}。") for text in choices]
    assert verdicts == ["right" if index == answer else "wrong" for index in range(len(choices))]


@pytest.mark.parametrize("given_text", ["", "。", "・・・"])
def test_saying_nothing_is_wrong(given_text: str):
    assert translation("I like dogs.", given_text) == "wrong"
    assert cloze("駅", given_text) == "wrong"
    assert arithmetic("八", given_text) == "wrong"
    assert choice(["駅", "店"], 0, given_text) == "wrong"
