"""Byte-pair encoding, continued where someone else's training stopped.

A text that the old tokenizer has cut is a row of tokens. Training goes on as it would have (Sennrich et al. 2016,
arXiv:1508.07909): the pair of neighbours seen most often becomes a piece, everywhere, until there are enough. Departs in
what is counted: only pairs that lie within one morpheme, or are whole morphemes, a few at most. And a piece begins where
a character begins, so that nothing new ever matches in a text that has none of these characters.

The row is a linked list over the whole text, with the places of every pair, so that a merge touches only the places
where it happens. The outcome is exactly what an encoder makes of the text with the merges that were learned: merging two
tokens may let an older merge happen at last, and it does (`_settle`).
"""

import heapq
from array import array
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

_BARRIER, _GONE = -1, -2
"""In the place of a token: nothing merges across; merged into the token before."""


class NewPiece(NamedTuple):
    """A piece that the old vocabulary does not have."""

    id: int
    spelling: bytes
    old_ids: tuple[int, ...]
    """What the old tokenizer spells it with."""


class Found(NamedTuple):
    """A merge that exists."""

    rank: float
    """The lowest goes first."""
    made: int


class Rules(Protocol):
    """Which neighbours merge, and before which others."""

    spellings: list[bytes]
    """What each id spells; nothing, if it is not text."""

    def key(self, left: int, right: int) -> Hashable:
        """The same for all pairs that one merge would merge."""
        ...

    def find(self, left: int, right: int) -> Found | None: ...

    def made(self, spelling: bytes) -> int | None:
        """The piece spelt so."""
        ...

    def add(self, left: int, right: int, made: int) -> None:
        """From now on these merge, after all others."""
        ...


class PairRules:
    """Merges as Hugging Face's library has them: a list of pairs of pieces."""

    def __init__(self, spellings: list[bytes], merges: Iterable[tuple[int, int, int]]) -> None:
        self.spellings = spellings
        self.added: list[tuple[int, int]] = []
        self._found = {(left, right): Found(rank, made) for rank, (left, right, made) in enumerate(merges)}
        self._made = {spelling: id for id, spelling in enumerate(spellings) if spelling}

    def key(self, left: int, right: int) -> Hashable:
        return left, right

    def find(self, left: int, right: int) -> Found | None:
        return self._found.get((left, right))

    def made(self, spelling: bytes) -> int | None:
        return self._made.get(spelling)

    def add(self, left: int, right: int, made: int) -> None:
        self._made[self.spellings[made]] = made
        if left >= 0:
            self._found[left, right] = Found(len(self._found), made)
            self.added.append((left, right))


class StringRules:
    """Merges as SentencePiece has them: any two neighbours that spell a piece, the piece with the best score first."""

    def __init__(self, spellings: list[bytes], scores: Mapping[int, float]) -> None:
        self.spellings = spellings
        self._found = {spellings[id]: Found(-score, id) for id, score in scores.items()}
        self._last = max((found.rank for found in self._found.values()), default=0.0)

    def key(self, left: int, right: int) -> Hashable:
        return self.spellings[left] + self.spellings[right]

    def find(self, left: int, right: int) -> Found | None:
        return self._found.get(self.spellings[left] + self.spellings[right])

    def made(self, spelling: bytes) -> int | None:
        found = self._found.get(spelling)
        return found.made if found else None

    def add(self, left: int, right: int, made: int) -> None:
        self._last += 1
        self._found[self.spellings[made]] = Found(self._last, made)


@dataclass
class Row:
    """Text as tokens."""

    ids: array[int] = field(default_factory=lambda: array("i", [_BARRIER]))
    starts: array[int] = field(default_factory=lambda: array("i", [0]))
    """Where each begins in `text`."""
    text: bytearray = field(default_factory=bytearray)
    units: array[int] = field(default_factory=lambda: array("i"))
    """For each byte, the number of its morpheme; -1 where no piece may be. The numbers of those that touch are one apart."""

    def add(self, tokens: Iterable[tuple[int, bytes]], units: Sequence[int]) -> None:
        """Append tokens that may merge with each other, with what they spell, and the units of those bytes."""
        for id, spelling in tokens:
            self.ids.append(id if spelling else _BARRIER)
            self.starts.append(len(self.text))
            self.text += spelling
        self.ids.append(_BARRIER)
        self.starts.append(len(self.text))
        self.units.extend(units)
        if len(self.units) != len(self.text):
            raise ValueError(f"{len(self.units)} units for {len(self.text)} bytes")

    def tokens(self) -> Iterator[int]:
        """The ids, as they are now."""
        return (id for id in self.ids if id >= 0)


@dataclass
class Merger:
    """Continues the training of `rules` on `row`, which changes as it goes on."""

    row: Row
    rules: Rules
    single_bytes: frozenset[int]
    """Ids that stand for a byte of a character that has no piece. Only the whole character can become one."""
    first_id: int
    max_morphemes: int
    max_chars: int
    min_count: int

    def __post_init__(self) -> None:
        self.pieces: list[NewPiece] = []
        spellings = self.rules.spellings
        self._mergeable = [
            not spelling.isascii() and id not in self.single_bytes for id, spelling in enumerate(spellings)
        ]
        size = len(self.row.ids)
        self._before = array("i", range(-1, size - 1))
        self._after = array("i", range(1, size + 1))
        self._counts: dict[Hashable, int] = defaultdict(int)
        self._places: dict[Hashable, array[int]] = defaultdict(lambda: array("i"))
        self._heap: list[tuple[int, bytes, Hashable]] = []
        self._raised: set[Hashable] = set()
        for place in range(size - 1):
            self._note(place, place + 1, 1)
        self._note_characters()
        self._push()

    def learn(self, count: int) -> Iterator[NewPiece]:
        """Up to `count` new pieces, one by one."""
        while len(self.pieces) < count and (best := self._pop()) is not None:
            spelling, key = best
            places = [place for place in sorted(set(self._places.pop(key))) if self._last(place, key)]
            known = self.rules.made(spelling)
            made = self._make(places[0], spelling, key) if known is None else known
            self._merge_all(places, key, made)
            self._counts.pop(key, None)
            self._push()
            if known is None:
                yield self.pieces[-1]

    def _pop(self) -> tuple[bytes, Hashable] | None:
        while self._heap:
            count, spelling, key = heapq.heappop(self._heap)
            now = self._counts.get(key, 0)
            if now < self.min_count:
                continue
            if now != -count:
                heapq.heappush(self._heap, (-now, spelling, key))
            elif sum(byte & 0xC0 != 0x80 for byte in spelling) <= self.max_chars:
                return spelling, key
        return None

    def _push(self) -> None:
        for key in self._raised:
            heapq.heappush(self._heap, (-self._counts[key], self._spelling(key), key))
        self._raised.clear()

    def _spelling(self, key: Hashable) -> bytes:
        if isinstance(key, bytes):
            return key
        left, right = key  # pyright: ignore[reportGeneralTypeIssues]
        return chr(right).encode() if left < 0 else self.rules.spellings[left] + self.rules.spellings[right]

    def _last(self, place: int, key: Hashable) -> int:
        """The last of the tokens from `place` on that a merge makes one; 0, which is no token, if it is not there."""
        ids = self.row.ids
        if ids[place] < 0:
            return 0
        if _is_character(key):
            for _ in range(len(self._spelling(key)) - 1):
                place = self._after[place]
            return place
        right = self._after[place]
        return right if ids[right] >= 0 and self.rules.key(ids[place], ids[right]) == key else 0

    def _make(self, place: int, spelling: bytes, key: Hashable) -> int:
        made = self.first_id + len(self.pieces)
        parts, last = [self.row.ids[place]], self._last(place, key)
        while place != last:
            place = self._after[place]
            parts.append(self.row.ids[place])
        old: list[int] = []
        for part in parts:
            old += self.pieces[part - self.first_id].old_ids if part >= self.first_id else [part]
        self.pieces.append(NewPiece(made, spelling, tuple(old)))
        self.rules.spellings.append(spelling)
        self._mergeable.append(True)
        left, right = (_BARRIER, _BARRIER) if _is_character(key) else parts
        self.rules.add(left, right, made)
        return made

    def _merge_all(self, places: Iterable[int], key: Hashable, made: int) -> None:
        ids, rules = self.row.ids, self.rules
        for place in places:
            if last := self._last(place, key):  # not if it overlapped with the one before
                if not _is_character(key) and rules.find(ids[place], ids[last]) is None:
                    rules.add(ids[place], ids[last], made)
                self._join(place, last, made)
                self._settle(place)

    def _settle(self, place: int) -> None:
        """Let older merges with the token at `place` happen, as an encoder would."""
        ids, find = self.row.ids, self.rules.find
        while True:
            before, after = self._before[place], self._after[place]
            left = find(ids[before], ids[place]) if ids[before] >= 0 else None
            right = find(ids[place], ids[after]) if ids[after] >= 0 else None
            if left and (not right or left.rank <= right.rank):
                self._join(before, place, left.made)
                place = before
            elif right:
                self._join(place, after, right.made)
            else:
                return

    def _join(self, first: int, last: int, made: int) -> None:
        """Tokens from `first` to `last` become one, `made`."""
        ids, after = self.row.ids, self._after
        before, behind = self._before[first], after[last]
        self._note(before, first, -1)
        self._note(last, behind, -1)
        if after[first] == last:
            self._note(first, last, -1)
        place = first
        while place != last:
            place = after[place]
            ids[place] = _GONE
        ids[first] = made
        after[first], self._before[behind] = behind, first
        self._note(before, first, 1)
        self._note(first, behind, 1)

    def _note(self, left: int, right: int, change: int) -> None:
        """Count a pair of neighbours that comes (1) or goes (-1)."""
        first, second = self.row.ids[left], self.row.ids[right]
        if first < 0 or second < 0 or not (self._mergeable[first] and self._mergeable[second]):
            return
        key = self.rules.key(first, second)
        if change > 0:
            self._places[key].append(left)
        starts = self.row.starts
        if self._allowed(starts[left], starts[right] + len(self.rules.spellings[second])):
            self._counts[key] += change
            if change > 0:
                self._raised.add(key)

    def _allowed(self, start: int, end: int) -> bool:
        units = self.row.units
        first, last = units[start], units[end - 1]
        if first < 0 or last < 0 or self.row.text[start] & 0xC0 == 0x80:
            return False
        if first == last:
            return True
        return (
            last - first < self.max_morphemes
            and (start == 0 or units[start - 1] != first)
            and (end == len(units) or units[end] != last)
        )

    def _note_characters(self) -> None:
        """Count characters that are spelt in bytes: as a piece, one saves all its bytes but one."""
        ids, row = self.row.ids, self.row
        for place, id in enumerate(ids):
            if id not in self.single_bytes or row.units[row.starts[place]] < 0:
                continue
            length = _length(row.text[row.starts[place]])
            if length > 1 and all(each in self.single_bytes for each in ids[place : place + length]):
                start = row.starts[place]
                key = (_BARRIER, ord(row.text[start : start + length].decode()))
                self._places[key].append(place)
                self._counts[key] += length - 1
                self._raised.add(key)


def _is_character(key: Hashable) -> bool:
    return isinstance(key, tuple) and key[0] == _BARRIER


def _length(lead: int) -> int:
    """Bytes of the character that begins with this byte; 0 if none does."""
    if lead < 0x80:
        return 1
    return 0 if lead < 0xC2 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
