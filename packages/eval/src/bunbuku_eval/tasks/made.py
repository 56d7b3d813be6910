"""Tasks whose items are made here, from typed lists and a seed, and read from no file: right by construction."""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from bunbuku_contracts import BunbukuError
from pydantic import NonNegativeInt, PositiveInt

from bunbuku_eval.tasks.checks import Json, Script, stripped
from bunbuku_eval.tasks.task import Category, Phrasing, Question, Task

ASKED = (Phrasing(name="asked", instruction="", input="{question}"),)
"""The question says itself what is to be done."""


class Made(Task):
    """Base of tasks that are made. `count` items come from `make_seed`, the same on every machine."""

    file: str = ""
    count: PositiveInt = 60
    make_seed: NonNegativeInt = 0
    """Another seed is another set of items, for a model that may have seen this one."""
    phrasings: tuple[Phrasing, ...] = ASKED

    licence: ClassVar[str] = "Apache-2.0"
    origin: ClassVar[str] = "made by bunbuku-eval"

    @abstractmethod
    def made(self) -> Sequence[Question]:
        """All items."""

    def digest(self) -> str:
        """SHA-256 of the items."""
        said = [
            [one.id, one.system, one.history, one.fields, one.gold, [check.model_dump() for check in one.checks]]
            for one in self.made()
        ]
        return hashlib.sha256(json.dumps(said, ensure_ascii=False).encode()).hexdigest()

    def question(self, row: dict[str, Any], place: str) -> Question:
        raise BunbukuError(f"{place}: the items of {self.label!r} are made and read from no file")

    def read(self, path: Path) -> list[Question]:
        raise BunbukuError(f"the items of {self.label!r} are made, and {path} is not read", hint="leave out `file`")


class Checked(Made):
    """An answer that keeps to all the constraints of its question; a patient reader looks past a fence and a preface."""

    max_tokens: PositiveInt = 256
    stop: tuple[str, ...] | None = ("###",)

    compared: ClassVar[bool] = False
    category: ClassVar[Category] = "instructions"

    def well_formed(self, text: str, question: Question) -> bool:
        return all(check.kept(text.strip()) for check in question.checks)

    def understood(self, text: str, question: Question) -> str | None:
        return stripped(text) or None

    def score(self, answer: str, question: Question) -> float:
        return float(all(check.kept(answer.strip()) for check in question.checks))

    def expects_japanese(self, question: Question) -> bool:
        return not any(
            isinstance(one, Json) or (isinstance(one, Script) and one.script == "latin") for one in question.checks
        )
