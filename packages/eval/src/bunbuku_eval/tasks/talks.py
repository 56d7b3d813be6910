"""Open tasks: questions without one right answer, of one turn or several, whose answers a judge or people look at.

A `Talks` is a config as a `Task` is; its class says what a row of the file is. Answers are written by `generate`; what a
judge is shown beside them (a reference, criteria, a category) travels with the question.
"""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from bunbuku_contracts import BunbukuError, Config
from pydantic import BeforeValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, SerializeAsAny

from bunbuku_eval.reading import read_rows
from bunbuku_eval.tasks.task import Hub, chosen_by_hash

GROUP = "bunbuku.talks"


@dataclass(frozen=True, slots=True)
class Talk:
    """One question, turn by turn."""

    id: str
    turns: tuple[str, ...]
    """What the user says; the model answers each before it hears the next."""
    category: str = ""
    references: tuple[str, ...] = ()
    """An answer to each turn that a judge may see, or nothing."""
    criteria: str = ""
    """What a judge is to look at in this question."""


class Talks(Config):
    """Base of every open task. Each has a field `type`, a literal, that names it."""

    name: str = Field(default="", pattern=r"^[\w-]*$")
    """What it is called; its `type`, without one."""
    file: str = Field(min_length=1)
    """The questions, in the folder that is given as `--data`."""
    references_file: str = ""
    """Reference answers, likewise, where they stand in a file of their own."""
    hub: Hub | None = None
    """Take the questions from there, and not from `--data`."""
    items: PositiveInt = 1000
    """At most so many questions, chosen by the hash of their ids."""
    item_seed: NonNegativeInt = 0
    """Another seed is another choice of questions."""
    style: Literal["plain", "chat"] = "chat"
    """Through the model's chat template, or as plain text, for models that have none."""
    system: str = ""
    """What the model is told before; nothing, without one."""
    temperature: NonNegativeFloat = 0.0
    temperatures: dict[str, NonNegativeFloat] = Field(default={})
    """Of a category, where it differs."""
    max_tokens: PositiveInt = 1024
    japanese: bool = True
    """Whether answers are to be in Japanese; others get a flag."""

    licence: ClassVar[str]
    origin: ClassVar[str]

    @property
    def label(self) -> str:
        return self.name or str(type(self).model_fields["type"].default)

    def temperature_of(self, talk: Talk) -> float:
        return self.temperatures.get(talk.category, self.temperature)

    @abstractmethod
    def talk(self, row: dict[str, Any], place: str) -> Talk:
        """The question that a row of the file holds."""

    def references(self, rows: Iterable[dict[str, Any]], place: Path) -> dict[str, tuple[str, ...]]:
        """From `references_file`, by the ids of questions."""
        raise BunbukuError(f"{place} is given as references, and {self.label!r} takes none from a file")

    def read(self, path: Path, references: Path | None = None) -> list[Talk]:
        """The questions that are asked, in the order of the file.

        Raises:
            BunbukuError: A row lacks something, an id stands there twice, or the file is empty.
        """
        found: dict[str, Talk] = {}
        for number, row in enumerate(read_rows(path), start=1):
            place = f"item {number} of {path}"
            one = self.talk(row, place)
            if not one.turns or not all(turn.strip() for turn in one.turns):
                raise BunbukuError(f"{place} asks nothing (id {one.id!r})", hint="mend the row, or take it out")
            if one.id in found:
                raise BunbukuError(f"{place} has the id {one.id!r}, as one before it has")
            found[one.id] = one
        if not found:
            raise BunbukuError(f"{path} has no items")
        if references is not None:
            said = self.references(read_rows(references), references)
            found = {id: replace(one, references=said.get(id, one.references)) for id, one in found.items()}
        kept = {one.id for one in chosen_by_hash(found.values(), items=self.items, seed=self.item_seed)}
        return [one for one in found.values() if one.id in kept]


def _talks(value: Any) -> Any:
    if isinstance(value, str):
        value = {"type": value}
    if not isinstance(value, dict):
        return value
    if "type" not in value:
        raise ValueError("an open task needs a `type`")
    return talks_class(str(value["type"])).model_validate(value)


def talks_class(type: str) -> type[Talks]:
    """The open task of that type, ours or declared by another package under `bunbuku.talks`.

    Raises:
        ValueError: There is none, or what is declared under the name is none.
    """
    from bunbuku_eval.tasks.open import TALKS

    ours = {one.model_fields["type"].default: one for one in TALKS}
    if type in ours:
        return ours[type]
    for declared in entry_points(group=GROUP, name=type):
        found = declared.load()
        if not (isinstance(found, _TYPE) and issubclass(found, Talks)):
            raise ValueError(f"{declared.value} is declared as the open task {type!r} and is no subclass of `Talks`")
        return found
    others = sorted({one.name for one in entry_points(group=GROUP)})
    raise ValueError(f"there is no open task {type!r}; there are {', '.join([*ours, *others])}")


_TYPE = type

type AnyTalks = Annotated[SerializeAsAny[Talks], BeforeValidator(_talks)]
"""An open task by its `type`."""
