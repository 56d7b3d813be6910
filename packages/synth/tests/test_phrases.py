import random
from collections import Counter
from dataclasses import replace

import pytest
from bunbuku_synth.filters import RepeatedPhrases
from bunbuku_synth.item import Item, dialogue
from bunbuku_synth.phrases import LETTERS_OF_LINES, LINES, MOST_FREQUENT, SAID_BEFORE, repeats_phrases
from hypothesis import given
from hypothesis import strategies as st

ITEM = Item("0", dialogue("問", "答"), "rephrase", "ja", None, "t@1", "teacher", "x", 0, "CC0-1.0")


def rates(text: str) -> dict[str, tuple[float, float]]:
    """Every count of the rule with its threshold, one after the other, as it is defined."""
    found: dict[str, tuple[float, float]] = {}
    for name, items in (("paragraphs", text.split("\n")), ("sentences", text.replace("\n", " ").split("。"))):
        counts = Counter(items)
        found[name] = (sum(count > 1 for count in counts.values()) / len(items), LINES)
        letters = sum(len(item) * (count - 1) for item, count in counts.items())
        found[f"letters of {name}"] = (letters / len(text), LETTERS_OF_LINES)
    run = text.replace("\n", "")
    for size, most in (MOST_FREQUENT | SAID_BEFORE).items():
        grams = [run[at : at + size] for at in range(len(run) - size + 1)]
        if grams and size < 5:
            found[f"{size}-grams"] = (max(Counter(grams).values()) / len(grams), most)
        elif grams:
            found[f"{size}-grams"] = ((len(grams) - len(set(grams))) / len(grams), most)
    return found


def expected(text: str) -> bool:
    return bool(text) and any(rate > most for rate, most in rates(text).values())


@given(st.lists(st.sampled_from("あいう。\n"), max_size=60).map("".join))
def test_the_verdict_is_that_of_all_counts_on_texts_of_few_letters(text: str):
    assert repeats_phrases(text) == expected(text)


@given(
    st.lists(st.text("かきくけこさしすせそ", min_size=1, max_size=12), min_size=1, max_size=12), st.integers(0, 2**32)
)
def test_the_verdict_is_that_of_all_counts_on_texts_that_say_phrases_again(phrases: list[str], seed: int):
    chance = random.Random(seed)
    text = "。".join(
        chance.choice(phrases) + chance.choice(["", "\n", *phrases]) for _ in range(chance.randrange(1, 40))
    )
    assert repeats_phrases(text) == expected(text)


UNLIKE = "".join(chr(0x4E00 + number) for number in range(300))
"""No letter of it comes twice."""


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        (UNLIKE + "\nは\nは\nひ\nひ", "paragraphs"),
        (UNLIKE + "。は。は。ひ。ひ", "sentences"),
        ("".join(f"かき{letter}" for letter in UNLIKE[:9]) + UNLIKE[9:26], "2-grams"),
        (UNLIKE[:60] + UNLIKE[:13] + UNLIKE[60:65], None),
        (UNLIKE[:60] + UNLIKE[:17] + UNLIKE[60:70], "5-grams"),
    ],
)
def test_a_count_that_alone_is_too_high_decides(text: str, alone: str | None):
    assert [name for name, (rate, most) in rates(text).items() if rate > most][:1] == ([alone] if alone else [])
    assert repeats_phrases(text) is (alone is not None)


def test_texts_near_the_thresholds_get_the_verdict_of_all_counts():
    chance, verdicts = random.Random(5), Counter[bool]()
    for _ in range(800):
        letters = [chr(0x4E00 + chance.randrange(3000)) for _ in range(chance.randrange(20, 120))]
        for _ in range(chance.randrange(6)):
            size, start, to = chance.randrange(1, 25), chance.randrange(len(letters)), chance.randrange(len(letters))
            letters[to:to] = letters[start : start + size]
        text = "".join(letters)
        assert repeats_phrases(text) == expected(text), text
        verdicts[expected(text)] += 1
    assert min(verdicts.values()) > 200


@pytest.mark.parametrize(("answer", "dropped"), [("同じ話。" * 30, True), ("同じ話。" * 3, False)])
def test_the_filter_judges_answers_that_are_long_enough(answer: str, dropped: bool):
    assert RepeatedPhrases().drops(replace(ITEM, messages=dialogue("問い。" * 60, answer))) is dropped
