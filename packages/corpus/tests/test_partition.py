import random

import pytest
from bunbuku_corpus.partition import PARTS, Division, Part, Partition
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


MEMBERS = st.lists(
    st.tuples(st.text("abcd", min_size=1, max_size=2), st.text("xyz", min_size=1, max_size=1)), max_size=12
)
HALVES = Partition(validation=0.3, test=0.3)


@given(MEMBERS, st.randoms(use_true_random=False))
def test_what_is_tied_together_shares_a_part_in_any_order(members: list[tuple[str, str]], chooser: random.Random):
    division = Division(HALVES, HALVES.bundles(members))
    for id, cluster in members:
        assert {division.place(other) for other, name in members if name == cluster} == {division.place(id)}
        assert division.place(id) == division.place(f"{id}#en")
    chooser.shuffle(members)
    assert HALVES.bundles(members) == division.decides


def test_a_bundle_is_not_more_likely_to_be_tested_on():
    partition = Partition(validation=0.1, test=0.2)
    members = [(f"{cluster}/{n}", f"c{cluster}") for cluster in range(4000) for n in range(5)]
    division = Division(partition, partition.bundles(members))
    parts = [division.place(f"{cluster}/0") for cluster in range(4000)]
    assert parts.count("test") / 4000 == pytest.approx(0.2, abs=0.02)
    assert parts.count("validation") / 4000 == pytest.approx(0.1, abs=0.02)


@given(MEMBERS, st.lists(st.text("abcd", min_size=1, max_size=2), unique=True), st.data())
def test_after_an_earlier_division_documents_stay_or_go_and_never_move(
    members: list[tuple[str, str]], ids: list[str], data: st.DataObject
):
    earlier: dict[str, Part] = {id: data.draw(st.sampled_from(PARTS)) for id in ids}
    division = Division(HALVES, HALVES.bundles(members), earlier)
    for id, part in earlier.items():
        assert division.place(id) in (part, None)
        assert part != "test" or division.place(id) == "test"
    for _, cluster in members:
        assert len({division.place(other) for other, name in members if name == cluster} - {None}) <= 1
