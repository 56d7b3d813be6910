"""Which part a document falls into: by a hash of its id, so that adding documents moves none of the others.

Documents that belong together share a part: a text and its translation, whose ids agree up to a `#`, and all documents of
a cluster of near-duplicates. What is tied together so, directly or through others, is a *bundle*. One of its members decides
for all, the one with the least of another hash, so that a bundle is not more likely to be tested on than a single document.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from bunbuku_contracts import Config
from pydantic import Field, model_validator

from bunbuku_corpus.clusters import components

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
_PROTECTED: tuple[Part, ...] = ("test", "validation", "train")
_Fraction = Annotated[float, Field(ge=0, lt=1)]


class Partition(Config):
    """Shares of the parts. What is neither `validation` nor `test` is `train`."""

    validation: _Fraction = 0.01
    """Share of documents, or of bundles of them, that goes to validation."""
    test: _Fraction = 0.01
    """Share that goes to test."""
    salt: str = ""
    """Another salt gives another division."""
    group_before: str = "#"
    """Documents whose ids agree up to this share a part, such as a text and its translation; `""` for no groups."""

    @model_validator(mode="after")
    def _something_is_left(self) -> "Partition":
        if self.validation + self.test >= 1:
            raise ValueError(f"`validation` {self.validation} and `test` {self.test} leave nothing for train")
        return self

    def group_of(self, id: str) -> str:
        """What a document's id has in common with those of its group.

        >>> Partition().group_of("tatoeba:12#en")
        'tatoeba:12'
        """
        return id.partition(self.group_before)[0] if self.group_before else id

    def part_of(self, id: str) -> Part:
        """The part that a document of this id falls into.

        >>> Partition(validation=0.3, test=0.3).part_of("tatoeba:12")
        'test'
        """
        place = _place(f"{self.salt}\n{self.group_of(id)}")
        if place < self.test:
            return "test"
        return "validation" if place < self.test + self.validation else "train"

    def bundles(self, members: Iterable[tuple[str, str]]) -> dict[str, str]:
        """For each group of a bundle of several: the group that decides.

        `members` are ids with the names of their clusters; documents that are alone in their cluster can be left out.

        >>> Partition().bundles([("a", "x"), ("b", "x"), ("b#en", "y"), ("c", "y"), ("d", "z")])
        {'a': 'a', 'b': 'a', 'c': 'a'}
        """
        pairs = [(self.group_of(id), cluster) for id, cluster in members]
        groups = {group: at for at, group in enumerate(dict.fromkeys(group for group, _ in pairs))}
        clusters = {name: len(groups) + at for at, name in enumerate(dict.fromkeys(name for _, name in pairs))}
        left = np.array([groups[group] for group, _ in pairs], np.int64)
        right = np.array([clusters[name] for _, name in pairs], np.int64)
        labels = components(len(groups) + len(clusters), left, right)[: len(groups)].tolist()
        decides: dict[int, str] = {}
        for group, label in zip(groups, labels, strict=True):
            decides[label] = min(decides.get(label, group), group, key=self._weight)
        sizes = np.bincount(labels, minlength=1).tolist()
        return {group: decides[label] for group, label in zip(groups, labels, strict=True) if sizes[label] > 1}

    def _weight(self, group: str) -> tuple[float, str]:
        return _place(f"{self.salt}\ndecides\n{group}"), group


def _place(text: str) -> float:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64


@dataclass(frozen=True)
class Division:
    """A partition applied to a corpus whose bundles are known, perhaps after an earlier division."""

    partition: Partition
    decides: Mapping[str, str] = field(default_factory=dict[str, str])
    """The group that decides, for each group of a bundle of several."""
    earlier: Mapping[str, Part] = field(default_factory=dict[str, Part])
    """Where groups fell earlier: they stay there, and what is tied to them follows."""

    @cached_property
    def _held(self) -> dict[str, Part]:
        """Where bundles fall that were there earlier: if in several parts, then into the one most to be protected."""
        held: dict[str, Part] = {}
        for group, decider in self.decides.items():
            known = (held.get(decider), self.earlier.get(group))
            for part in _PROTECTED:
                if part in known:
                    held[decider] = part
                    break
        return held

    def place(self, id: str) -> Part | None:
        """The part that the document falls into; none if it was in another and is tied to one that is protected more."""
        group = self.partition.group_of(id)
        decider = self.decides.get(group, group)
        before = self.earlier.get(group)
        part = self._held.get(decider) or before or self.partition.part_of(decider)
        return part if before in (None, part) else None
