import random

from bunbuku_synth.keys import Drawing, draw, key_of, pick, shuffled
from hypothesis import given
from hypothesis import strategies as st

names = st.lists(st.text(max_size=5), unique=True, max_size=30)


@given(names, st.integers(0, 40), st.integers(), st.randoms())
def test_a_draw_does_not_depend_on_the_order_of_the_candidates(
    candidates: list[str], count: int, seed: int, mixer: random.Random
):
    mixed = list(candidates)
    mixer.shuffle(mixed)
    first = draw(candidates, count, name=str, label="kana", seed=seed)
    assert first == draw(mixed, count, name=str, label="kana", seed=seed)
    assert len(set(first)) == min(count, len(candidates))


@given(names, st.integers(0, 20), st.integers(0, 20), st.integers())
def test_a_smaller_draw_is_the_beginning_of_a_larger(candidates: list[str], one: int, other: int, seed: int):
    less, more = sorted((one, other))
    small = draw(candidates, less, name=str, label="kana", seed=seed)
    assert draw(candidates, more, name=str, label="kana", seed=seed)[:less] == small


@given(st.lists(st.integers(), unique=True, max_size=30), st.integers(1, 10), st.integers())
def test_asking_late_whether_a_candidate_fits_draws_the_same(candidates: list[int], count: int, seed: int):
    drawing = Drawing[int](count, label="even", seed=seed, fits=lambda number: number % 2 == 0)
    for number in candidates:
        drawing.offer(number, name=str(number))
    even = [number for number in candidates if number % 2 == 0]
    assert drawing.drawn == draw(even, count, name=str, label="even", seed=seed)


def test_labels_and_seeds_draw_different_things():
    def drawn(label: str, seed: int) -> list[int]:
        return draw(range(1000), 10, name=str, label=label, seed=seed)

    assert len({tuple(drawn(label, seed)) for label in ("one", "other") for seed in (0, 1)}) == 4


@given(st.integers(0, 2**63 - 1), st.integers(1, 9))
def test_a_pick_is_below_its_count_and_a_shuffle_loses_nothing(seed: int, count: int):
    assert 0 <= pick(seed, "place", count) < count
    assert sorted(shuffled(range(count), seed, "order")) == list(range(count))


def test_picks_are_spread_evenly():
    found = [pick(seed, "place", 4) for seed in range(4000)]
    assert all(900 < found.count(place) < 1100 for place in range(4))


def test_keys_differ_wherever_what_was_asked_differs():
    asked = {"task": "cloze", "source": "toy:1", "template": "a@1", "seed": 1}
    changed = [asked | {name: "other"} for name in asked]
    assert len({key_of(**one).id for one in (asked, *changed)}) == 5
    assert 0 <= key_of(**asked).seed < 2**63
