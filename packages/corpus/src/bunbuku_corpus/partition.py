"""Which part a document falls into: by a hash of its id alone, so that adding documents moves none of them."""

import hashlib
from typing import Annotated, Literal

from bunbuku_contracts import Config
from pydantic import Field, model_validator

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
_Fraction = Annotated[float, Field(ge=0, lt=1)]


class Partition(Config):
    """Shares of the parts. What is neither `validation` nor `test` is `train`."""

    validation: _Fraction = 0.01
    """Share of documents, or of groups of them, that goes to validation."""
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

    def part_of(self, id: str) -> Part:
        """The part that a document of this id falls into.

        >>> Partition(validation=0.3, test=0.3).part_of("tatoeba:12")
        'test'
        """
        group = id.partition(self.group_before)[0] if self.group_before else id
        digest = hashlib.blake2b(f"{self.salt}\n{group}".encode(), digest_size=8).digest()
        place = int.from_bytes(digest) / 2**64
        if place < self.test:
            return "test"
        return "validation" if place < self.test + self.validation else "train"
