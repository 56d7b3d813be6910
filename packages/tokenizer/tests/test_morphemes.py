from collections import Counter

import pytest
from bunbuku_tokenizer import morphemes
from bunbuku_tokenizer.morphemes import Tally, count, count_chunk, mecab
from hypothesis import given, settings
from hypothesis import strategies as st

LINES = [f"吾輩は猫である。名前は{index % 7}番目の猫だ。I am cat number {index}." for index in range(9000)]


def tally(workers: int) -> Tally:
    total = Tally()
    for part in count(LINES, max_morphemes=2, max_chars=16, workers=workers):
        total.add(part)
    return total


def test_the_number_of_workers_does_not_change_the_counts() -> None:
    one, two = tally(1), tally(2)
    assert list(one.atoms.items()) == list(two.atoms.items())
    assert list(one.runs.items()) == list(two.runs.items())


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(exclude_categories=("Z", "C")), min_size=1, max_size=60))
def test_morphemes_spell_the_stretch_they_come_from(stretch: str) -> None:
    assert "".join(mecab()(stretch)) == "".join(stretch.split())


def test_runs_never_reach_across_a_sign_a_space_or_another_script() -> None:
    found = count_chunk(["猫、犬", "猫 犬", "猫cat犬"], max_morphemes=3, max_chars=16)
    assert found.runs == Counter()
    assert found.atoms["猫"] == found.atoms["犬"] == 3


@pytest.mark.parametrize(
    ("longest", "runs"), [(1, set()), (2, {"猫が", "が好き"}), (3, {"猫が", "が好き", "猫が好き"})]
)
def test_runs_have_at_most_so_many_morphemes(longest: int, runs: set[str]) -> None:
    assert set(count_chunk(["猫が好き"], max_morphemes=longest, max_chars=16).runs) == runs


def test_runs_have_at_most_so_many_characters() -> None:
    assert set(count_chunk(["猫が好き"], max_morphemes=3, max_chars=3).runs) == {"猫が", "が好き"}


def test_runs_seen_once_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(morphemes, "_MAX_RUNS", 2)
    total = Tally(runs=Counter({"猫が": 2, "犬が": 1}))
    total.add(Tally(runs=Counter({"狸が": 1, "猫が": 1})))
    assert total.runs == Counter({"猫が": 3})
