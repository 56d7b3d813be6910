import pytest
from bunbuku_corpus.partition import PARTS, Partition
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

IDS = st.lists(st.text(max_size=10), max_size=50)


@given(IDS, IDS)
def test_added_documents_move_none(before: list[str], added: list[str]):
    partition = Partition(validation=0.2, test=0.2)
    first = {id: partition.part_of(id) for id in before}
    both = {id: partition.part_of(id) for id in [*added, *before]}
    assert both.items() >= first.items()


@given(st.text("abc", min_size=1), st.text("abc"))
def test_a_text_and_its_translation_share_a_part(id: str, suffix: str):
    partition = Partition(validation=0.3, test=0.3)
    assert partition.part_of(id) == partition.part_of(f"{id}#{suffix}")


@given(st.text())
def test_a_larger_test_share_only_takes_from_the_others(id: str):
    small, large = Partition(validation=0.1, test=0.1), Partition(validation=0.1, test=0.3)
    assert small.part_of(id) != "test" or large.part_of(id) == "test"


def test_shares_are_met():
    partition = Partition(validation=0.1, test=0.2)
    counts = dict.fromkeys(PARTS, 0)
    for n in range(20_000):
        counts[partition.part_of(f"document {n}")] += 1
    assert counts["test"] == pytest.approx(4000, rel=0.05)
    assert counts["validation"] == pytest.approx(2000, rel=0.08)


def test_another_salt_divides_otherwise():
    ids = [str(n) for n in range(200)]
    one, other = Partition(validation=0.3, test=0.3), Partition(validation=0.3, test=0.3, salt="other")
    assert [one.part_of(id) for id in ids] != [other.part_of(id) for id in ids]


def test_shares_that_leave_nothing_for_training_are_refused():
    with pytest.raises(ValidationError, match=r"0\.5 and `test` 0\.5"):
        Partition(validation=0.5, test=0.5)
