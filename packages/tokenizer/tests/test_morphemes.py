import re
import sys
from collections import Counter

import pytest
from bunbuku_contracts import BunbukuError
from bunbuku_tokenizer import morphemes
from bunbuku_tokenizer.morphemes import DELIMITER, Tally, count, count_chunk, mark, mark_chunk, mecab
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


def test_a_very_long_stretch_is_cut_between_words_and_does_not_crash() -> None:
    once = "狸は茶釜に化けて、和尚を驚かせた。"
    assert mecab()(once * 20_000) == mecab()(once) * 20_000


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


def test_marks_stand_between_morphemes_and_nothing_else_changes() -> None:
    sentences = ["石油を  検索する場合。", " I have ｱｲｳ", "", f"狸{DELIMITER}です"]
    marked = [line for chunk in mark(sentences) for line in chunk]
    assert marked[0].split(DELIMITER) == ["石油", "を  検索", "する", "場合", "。"]
    assert [line.replace(DELIMITER, "") for line in marked] == [*sentences[:3], "狸です"]
    assert mark_chunk(sentences) == marked


def test_the_other_dictionary_cuts_finer() -> None:
    pytest.importorskip("unidic_lite")
    assert "".join(mecab("unidic-lite")("国立国会図書館")) == "国立国会図書館"
    assert len(mecab("unidic-lite")("全員一致しました")) >= len(mecab("ipadic")("全員一致しました"))


@pytest.mark.parametrize(
    ("module", "dictionary", "remedy"),
    [
        ("unidic_lite", "unidic-lite", r"bunbuku-tokenizer\[unidic\]"),
        ("ipadic", "ipadic", "bunbuku-tokenizer`"),
        ("fugashi.fugashi", "ipadic", "bunbuku-tokenizer`"),
    ],
)
def test_a_dictionary_that_is_not_installed_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, module: str, dictionary: morphemes.Dictionary, remedy: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    mecab.cache_clear()
    with pytest.raises(BunbukuError, match=f"the dictionary {dictionary} cannot be opened") as caught:
        mecab(dictionary)
    assert re.search(remedy, str(caught.value.hint))
    mecab.cache_clear()
