"""Blends and laps: what is read of which part, how often, and never twice where it should be once."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bunbuku_contracts import ArtifactError, BunbukuError, ConfigError
from bunbuku_pretrain import AdamW, TrainConfig
from bunbuku_pretrain.blending import Interleaving, apportioned
from bunbuku_pretrain.course import Course
from bunbuku_pretrain.indexed import IndexedWriter
from bunbuku_pretrain.laps import Stint, Track, laps_of_packings, laps_of_text, stints
from bunbuku_pretrain.packing import Packing, Pieces, whole_documents
from bunbuku_pretrain.phases import Phase
from bunbuku_pretrain.reading import Reading, TokenFile
from bunbuku_pretrain.supply import Supply
from hypothesis import given, settings
from hypothesis import strategies as st

COUNTS = st.lists(st.integers(0, 60), min_size=1, max_size=6).filter(any)


@settings(deadline=None)
@given(COUNTS, st.integers(1, 20))
def test_a_phase_reads_exactly_its_share_of_every_part_each_sequence_once(counts: list[int], size: int) -> None:
    blend = Interleaving(counts)
    total = sum(counts)
    taken = [blend.take(first, min(size, total - first)) for first in range(0, total, size)]
    pairs = [pair for one in taken for pair in zip(one.parts.tolist(), one.numbers.tolist(), strict=True)]
    assert sorted(pairs) == [(part, number) for part, count in enumerate(counts) for number in range(count)]
    numbers: dict[int, int] = {}
    for part, number in pairs:
        assert number == numbers.get(part, 0)  # in order
        numbers[part] = number + 1


@settings(deadline=None)
@given(COUNTS)
def test_every_beginning_of_a_phase_has_the_mix_within_the_bound(counts: list[int]) -> None:
    blend, total = Interleaving(counts), sum(counts)
    order = blend.take(0, total).parts
    shares = np.array(counts) / total
    for count in range(total + 1):
        found = np.bincount(order[:count], minlength=len(counts))
        assert found.tolist() == blend.passed(count).tolist()
        assert (np.abs(found - count * shares) <= (1 + len(counts) * shares) / 2 + 1e-9).all()


def test_a_long_phase_is_looked_into_anywhere_at_once() -> None:
    blend = Interleaving([10**9, 3 * 10**8, 7, 10**6])
    before = blend.passed(10**9)
    taken = blend.take(10**9, 1000)
    first = {part: taken.numbers[taken.parts == part].min() for part in set(taken.parts.tolist())}
    assert all(first[part] == before[part] for part in first)
    assert int(before.sum()) == 10**9


@given(st.integers(0, 10**6), st.dictionaries(st.sampled_from("abcdef"), st.floats(0.01, 10), min_size=1))
def test_whole_numbers_sum_to_the_total_and_are_within_one_of_their_share(
    total: int, weights: dict[str, float]
) -> None:
    found = apportioned(total, weights)
    assert sum(found.values()) == total
    assert all(abs(found[name] - total * weight / sum(weights.values())) < 1 for name, weight in weights.items())


def read(length: int, sequences: int) -> Stint:
    return Stint(part="web", sequence_length=length, sequences=sequences)


def begins_of(reads: list[Stint], tokens: int, block: int, seed: int = 1) -> Iterator[tuple[int, int, int]]:
    """Epoch, begin and length of every sequence."""
    laps = list(laps_of_text(stints(reads), tokens=tokens, block_tokens=block))
    track = Track(laps, seed=seed, load=lambda name: Packing.load(Path(name)))
    for number in range(sum(one.sequences for one in reads)):
        pieces = track.pieces(number)
        yield track.lap(number).epoch, int(pieces.begins[0]), int(pieces.lengths[0])


@settings(deadline=None, max_examples=50)
@given(tokens=st.integers(9, 200), sequences=st.integers(1, 60))
def test_an_epoch_reads_every_window_once_and_the_next_in_another_order(tokens: int, sequences: int) -> None:
    windows = (tokens - 1) // 8
    found = list(begins_of([read(8, sequences)], tokens, 8))
    for epoch in range(-(-sequences // windows)):
        own = [begin for number, begin, _ in found if number == epoch]
        assert len(set(own)) == len(own) == min(windows, sequences - epoch * windows)
        assert set(own) <= set(range(0, windows * 8, 8))


def test_an_epoch_goes_on_where_a_phase_ends() -> None:
    together = list(begins_of([read(8, 30)], 100, 8))
    assert list(begins_of([read(8, 7), read(8, 23)], 100, 8)) == together


@settings(deadline=None, max_examples=50)
@given(first=st.integers(1, 40), second=st.integers(1, 20), third=st.integers(1, 40))
def test_longer_sequences_read_what_is_left_of_an_epoch_first(first: int, second: int, third: int) -> None:
    tokens, block = 1 + 32 * 10, 32
    found = list(begins_of([read(8, first), read(32, second), read(16, third)], tokens, block))
    for epoch in {number for number, _, _ in found}:
        own = [np.arange(begin, begin + length) for number, begin, length in found if number == epoch]
        places = np.concatenate(own)
        assert len(set(places.tolist())) == len(places)  # nothing twice
    closed = max(number for number, _, _ in found)  # earlier epochs are read to their end but for a block a change
    for epoch in range(closed):
        seen = sum(length for number, _, length in found if number == epoch)
        assert tokens - 1 - 2 * block < seen <= tokens - 1


LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=40).filter(lambda lengths: max(lengths) > 1)


@settings(deadline=None, max_examples=60)
@given(lengths=LENGTHS, first=st.integers(1, 30), second=st.integers(1, 30), data=st.data())
def test_packed_epochs_predict_every_token_once_whatever_the_lengths(
    lengths: list[int], first: int, second: int, data: st.DataObject
) -> None:
    documents = whole_documents(np.array(lengths, dtype=np.int32))
    reads = [read(data.draw(st.sampled_from([8, 16])), first), read(data.draw(st.sampled_from([16, 32])), second)]
    kept: dict[str, Packing] = {}

    def pack(name: str, pieces: Pieces, capacity: int) -> Packing:
        return kept.setdefault(name, Packing.of(pieces, capacity))

    laps = list(laps_of_packings(stints(reads), documents, seed=5, pack=pack))
    track = Track(laps, seed=5, load=kept.__getitem__)
    predicted: dict[int, Counter[int]] = {}
    for number in range(first + second):
        own = predicted.setdefault(track.lap(number).epoch, Counter())
        for begin, length in zip(*track.pieces(number), strict=True):
            own.update(range(int(begin), int(begin + length)))
    everything = {place for begin, length in zip(*documents, strict=True) for place in range(begin, begin + length)}
    last = max(predicted)
    for epoch, own in predicted.items():
        assert set(own.values()) == {1}
        assert set(own) == everything if epoch < last else set(own) <= everything


def token_file(folder: Path, part: str, documents: int, length: int) -> TokenFile:
    with IndexedWriter(folder / part, "uint16") as writer:
        writer.add(np.arange(documents * length) % 60_000, np.full(documents, length, dtype=np.int32))
    return TokenFile(bin=folder / f"{part}.bin", tokens=documents * length, documents=documents)


def supply(folder: Path, *phases: Phase, **changes: object) -> Supply:
    files = {"web": token_file(folder, "web", 100, 10), "wiki": token_file(folder, "wiki", 10, 10)}
    fields = {"sequence_length": 8, "batch_tokens": 64, "optimizer": AdamW(learning_rate=1), "phases": phases}
    return Supply(folder, files, Course(TrainConfig(**{**fields, **changes})), "web")


def test_a_part_read_too_often_is_refused_with_phase_part_need_and_have(tmp_path: Path) -> None:
    mix = {"web": 0.5, "wiki": 0.5}
    wanting = supply(tmp_path, Phase(name="a", tokens=640, mix=mix), Phase(name="b", tokens=640, mix=mix, max_epochs=4))
    with pytest.raises(
        BunbukuError,
        match=r"phase 'b' needs 320 tokens of part 'wiki', which would have been read 6\.40 times when it ends; "
        r"its `max_epochs` is 4 and there are 100",
    ):
        wanting.check()
    supply(tmp_path, Phase(name="b", tokens=640, mix=mix, max_epochs={"wiki": 4, "web": 1})).check()


def test_a_part_that_is_not_there_or_too_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"phase 'a' reads part 'books', which .* has not"):
        supply(tmp_path, Phase(name="a", tokens=640, mix={"books": 1})).check()
    with pytest.raises(
        ArtifactError, match=r"part 'wiki' of .* has 100 tokens to train on, a sequence of 128 needs one"
    ):
        supply(tmp_path, Phase(name="a", tokens=640, mix={"wiki": 1}, sequence_length=128, batch_tokens=128)).check()
    odd = supply(tmp_path, Phase(name="a", tokens=64), Phase(name="b", tokens=700, sequence_length=35, batch_tokens=70))
    odd.check()
    laps = odd.laps(block_tokens=odd.block_tokens(), seed=0, packings=tmp_path / "packings")
    assert {lap.block_tokens for lap in laps} == {280}
    with pytest.raises(ConfigError, match="`shuffle_tokens` 64 is not a multiple of the sequence length 35"):
        supply(
            tmp_path, Phase(name="b", tokens=700, sequence_length=35, batch_tokens=70), shuffle_tokens=64
        ).block_tokens()


def test_a_step_reads_the_blend_and_a_run_in_two_halves_reads_the_same(tmp_path: Path) -> None:
    mix = {"web": 3.0, "wiki": 1.0}
    first, second = Phase(name="a", tokens=640, mix=mix), Phase(name="b", tokens=640, mix=mix)
    whole, half, rest = (supply(tmp_path, *some) for some in ((first, second), (first,), (second,)))

    def reading(one: Supply) -> Reading:
        laps = one.laps(block_tokens=8, seed=7, packings=tmp_path / "packings")
        return Reading(one.course, default="web", laps=laps, before=one.before, seed=7, packings=tmp_path / "packings")

    planned = reading(whole)
    begun = reading(half)
    going_on = reading(Supply(rest.where, rest.files, rest.course, "web", tuple(begun.read_after(10))))
    for number in range(1, 21):
        expected = planned.step(whole.course.step(number))
        assert Counter(part for part, _ in expected) == {"web": 6, "wiki": 2}
        own = begun if number <= 10 else going_on
        found = own.step(own.course.step((number - 1) % 10 + 1))
        assert found == expected
        for part, place in expected:
            assert own.tracks[part].pieces(place).begins == planned.tracks[part].pieces(place).begins
