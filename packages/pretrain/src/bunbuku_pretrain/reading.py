"""Which tokens every sequence of a run is made of. A function of the job: ranks compute it, and so does who looks back.

A phase blends the sequences of its parts (`blending`), a part is read in laps (`laps`), a sequence of a lap is a window
or a packing of pieces of text. Among the sequences of one step, which are read together, the order is drawn too, so that
no rank reads always the same part.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from bunbuku_contracts import Config
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveInt

from bunbuku_pretrain.blending import Interleaving, apportioned
from bunbuku_pretrain.course import Course, Step
from bunbuku_pretrain.indexed import IndexedFile
from bunbuku_pretrain.laps import Lap, Stint, Track
from bunbuku_pretrain.packing import Packing, Pieces, whole_documents
from bunbuku_pretrain.sampling import Order, ScoredWindows, Windows


class TokenFile(Config):
    """A part of the tokens artifact."""

    bin: Path
    """Its tokens; the index lies beside them."""
    tokens: PositiveInt
    documents: NonNegativeInt


class Sampler(Config):
    """How far a run has come in its text, for another run that goes on from there."""

    tokens: str
    """Content digest of the tokens artifact."""
    seed: int
    packing: str
    block_tokens: PositiveInt
    """Tokens that stay together when text is shuffled, where it is."""
    read: tuple[Stint, ...] = ()
    """Part by part, in order."""


class Drawn(NamedTuple):
    """A sequence as a model reads it. S tokens each."""

    tokens: NDArray[np.int64]
    labels: NDArray[np.int64]
    counted: NDArray[np.float32]
    """What a label weighs: 0 where there is none."""
    pieces: NDArray[np.int32] | None
    """Number of the piece of text that a token is of, where pieces do not see one another."""


def sequences(course: Course, default: str) -> list[dict[str, int]]:
    """How many sequences every phase reads of each part; of `default` where it names none."""
    counts: list[dict[str, int]] = []
    for phase, total in zip(course.phases, course.phase_samples, strict=True):
        shares = apportioned(total, phase.mix or {default: 1.0})
        counts.append({part: count for part, count in shares.items() if count})
    return counts


class Reading:
    """What is read when.

    Args:
        course: Of the run.
        default: The part that phases without a mix read.
        laps: Of all parts, those behind the run included.
        before: What was read of the parts before the run.
        seed: Of the order.
        packings: Folder of the packings.
    """

    def __init__(
        self, course: Course, *, default: str, laps: Iterable[Lap], before: Iterable[Stint], seed: int, packings: Path
    ) -> None:
        self.course, self.seed = course, seed
        self.counts = sequences(course, default)
        self._before = list(before)
        own: dict[str, list[Lap]] = {}
        for lap in laps:
            own.setdefault(lap.part, []).append(lap)
        self.tracks = {
            part: Track(some, seed=seed, load=lambda name: Packing.load(packings / name)) for part, some in own.items()
        }

    def step(self, step: Step) -> list[tuple[str, int]]:
        """The sequences of a step in their order: the part of each, and its number in all that is read of it."""
        blended = self._interleavings[step.phase].take(step.first_of_phase, step.sequences)
        names, firsts = list(self.counts[step.phase]), self._firsts[step.phase]
        found = [
            (names[part], firsts[names[part]] + number)
            for part, number in zip(blended.parts.tolist(), blended.numbers.tolist(), strict=True)
        ]
        if len(names) == 1:
            return found
        order = Order(len(found), key=f"{self.seed}/step/{step.first_sample + self._samples_before}")
        return [found[place] for place in order.places(range(len(found))).tolist()]

    def numbers(self, first_step: int, last_step: int) -> dict[str, tuple[int, int]]:
        """First and last sequence of every part that is read in these steps of one phase."""
        first, last = self.course.step(first_step), self.course.step(last_step)
        blend, names = self._interleavings[first.phase], list(self.counts[first.phase])
        begins = blend.passed(first.first_of_phase)
        ends = blend.passed(last.first_of_phase + last.sequences)
        passed = self._firsts[first.phase]
        return {
            name: (passed[name] + begin, passed[name] + end - 1)
            for name, begin, end in zip(names, begins.tolist(), ends.tolist(), strict=True)
            if begin < end
        }

    def read_after(self, number: int) -> Iterator[Stint]:
        """What is read of every part by the end of step `number`, what was read before the run included."""
        yield from self._before
        for phase, counts in enumerate(self.counts):
            first, last = self.course.phase_steps[phase]
            if number < first:
                return
            step = self.course.step(min(number, last))
            passed = self._interleavings[phase].passed(step.first_of_phase + step.sequences)
            for part, count in zip(counts, passed.tolist(), strict=True):
                if count:
                    yield Stint(part=part, sequence_length=step.sequence_length, sequences=count)

    @cached_property
    def _interleavings(self) -> list[Interleaving]:
        return [Interleaving(list(counts.values())) for counts in self.counts]

    @cached_property
    def _firsts(self) -> list[dict[str, int]]:
        """Of every phase, the number of the first sequence that it reads of each part."""
        passed: dict[str, int] = {}
        for stint in self._before:
            passed[stint.part] = passed.get(stint.part, 0) + stint.sequences
        found: list[dict[str, int]] = []
        for counts in self.counts:
            found.append({part: passed.get(part, 0) for part in counts})
            for part, count in counts.items():
                passed[part] = passed.get(part, 0) + count
        return found

    @property
    def _samples_before(self) -> int:
        return sum(stint.sequences for stint in self._before)


class Texts:
    """The tokens of all parts, as they are asked for."""

    def __init__(self, files: Mapping[str, TokenFile], *, dtype: str) -> None:
        self._files, self._dtype = files, np.dtype(dtype)
        self._open: dict[str, NDArray[np.integer]] = {}

    def draw(self, part: str, pieces: Pieces, length: int, *, apart: bool) -> Drawn:
        """A sequence of these pieces, filled up; `apart` if they do not see one another."""
        stream = self._stream(part)
        tokens, labels = np.zeros(length, dtype=np.int64), np.zeros(length, dtype=np.int64)
        counted = np.zeros(length, dtype=np.float32)
        numbers = np.full(length, len(pieces.begins), dtype=np.int32)
        at = 0
        for number, (begin, size) in enumerate(zip(pieces.begins.tolist(), pieces.lengths.tolist(), strict=True)):
            tokens[at : at + size] = stream[begin : begin + size]
            labels[at : at + size] = stream[begin + 1 : begin + size + 1]
            counted[at : at + size], numbers[at : at + size] = 1, number
            at += size
        return Drawn(tokens, labels, counted, numbers if apart else None)

    def _stream(self, part: str) -> NDArray[np.integer]:
        if part not in self._open:
            self._open[part] = np.memmap(self._files[part].bin, dtype=self._dtype, mode="r")
        return self._open[part]


@dataclass(frozen=True)
class Sequences:
    """Sequences that are read when they are asked for."""

    count: int
    draw: Callable[[int], Drawn]

    def __len__(self) -> int:
        return self.count


class HeldOut(Config):
    """A part to measure on, and how much of it."""

    part: str
    file: TokenFile
    bytes: PositiveInt | None
    """Of UTF-8, of the whole part; `None` if nobody counted them."""
    most_tokens: PositiveInt | None
    packed: bool
    common: NonNegativeInt | None = None
    """Documents of it that are in the text trained on; `None` if nobody looked."""

    def sequences(self, length: int, *, dtype: str) -> Sequences:
        """What is measured, read as in training, from the beginning of the part on."""
        if self.packed:
            return self._packed(length, dtype)
        windows = Windows(self.file.bin, dtype=dtype, sequence_length=length)
        scored = ScoredWindows(windows, most_tokens=self.most_tokens)

        def draw(number: int) -> Drawn:
            one = scored[number]
            return Drawn(one.tokens[:-1], one.tokens[1:], one.counted, None)

        return Sequences(len(scored), draw)

    def bits_per_byte(self, loss: float) -> float | None:
        """What a loss in nats a token is for a byte of text, with what ends and begins documents added to it."""
        return None if self.bytes is None else loss * self.predictions / (math.log(2) * self.bytes)

    @property
    def predictions(self) -> int:
        """Tokens of the whole part that are predicted."""
        return self.file.tokens - (self.file.documents if self.packed else 1)

    def _packed(self, length: int, dtype: str) -> Sequences:
        begins, lengths = whole_documents(lengths_of(self.file))
        ends = np.cumsum(lengths)
        taken = np.clip((self.most_tokens or int(ends[-1] if len(ends) else 0)) - (ends - lengths), 0, lengths)
        packing = Packing.of(Pieces(begins[taken > 0], taken[taken > 0]), length) if taken.any() else None
        texts = Texts({self.part: self.file}, dtype=dtype)

        def draw(number: int) -> Drawn:
            assert packing is not None
            return texts.draw(self.part, packing.sequence(number), length, apart=True)

        return Sequences(0 if packing is None else len(packing), draw)


def bits_per_byte(measured: Iterable[tuple[HeldOut, float]]) -> float | None:
    """Of all parts together, each with its loss in nats a token; `None` if the bytes of one are not known."""
    found = [(one.bytes, loss * one.predictions) for one, loss in measured]
    sizes = [size for size, _ in found if size is not None]
    return sum(nats for _, nats in found) / (math.log(2) * sum(sizes)) if found and len(sizes) == len(found) else None


def lengths_of(file: TokenFile) -> NDArray[np.int32]:
    """Tokens of every document of a part."""
    return IndexedFile(file.bin.with_suffix("")).lengths
