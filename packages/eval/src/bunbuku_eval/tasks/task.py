"""What a task is: where its questions come from, how they are put, and what counts as an answer.

A `Task` is a config: it says which file, how many worked examples stand before a question, and in which phrasings it is
asked. Its class says what a row of the file is (`question`), what an answer must look like (`well_formed`), and what a
reader would take a badly formed one to mean (`understood`). From the two come a strict and a lenient score of the same
output, so that knowing and answering in the right form are never one number.
"""

import hashlib
import heapq
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from bunbuku_contracts import BunbukuError, Config
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from bunbuku_eval.degenerate import Flag, flags
from bunbuku_eval.metrics import normalized
from bunbuku_eval.reading import read_rows
from bunbuku_eval.tasks.checks import Check

type Metric = Literal["exact_match", "char_f1", "set_f1", "pearson", "spearman", "bleu"]
type Category = Literal[
    "commonsense",
    "entailment",
    "reading",
    "similarity",
    "grammar",
    "knowledge",
    "arithmetic",
    "morality",
    "instructions",
    "memory",
    "code",
    "translation",
    "truth",
    "other",
]

_PLACE = re.compile(r"\{(\w+)\}")


class Hub(Config):
    """A file of a data set on the Hugging Face hub, pinned to a commit."""

    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")
    """The commit. A branch would be another data set tomorrow."""
    file: str = Field(min_length=1)
    """Its path in the repository."""


class Named(Protocol):
    """What has an id."""

    @property
    def id(self) -> str: ...


class Phrasing(Config):
    """One way to put the question."""

    name: str = Field(min_length=1)
    instruction: str
    """What is to be done, and in what form the answer is to be; may be empty, where the question says it."""
    input: str = Field(min_length=1)
    """The question; `{name}` stands for a field of it."""
    head: str = ""
    """What stands first in plain style, in the place of our own words. With another harness's, the prompt is that harness's."""


@dataclass(frozen=True, slots=True)
class Question:
    """One item of a task."""

    id: str
    fields: dict[str, str]
    """What phrasings put into their places."""
    gold: tuple[str, ...]
    """Right answers; the first is the one that is shown in worked examples."""
    choices: tuple[str, ...] = ()
    """All answers there are, in the form in which one is to be given, if there is a fixed number."""
    meanings: tuple[str, ...] = ()
    """What each choice stands for, where the form is a label: 「机」 for `3`."""
    line: int = 0
    """Which row of the file it is, counted from 1."""
    category: str = ""
    system: str = ""
    """What the model is told before; nothing, without one."""
    history: tuple[tuple[str, str], ...] = ()
    """Turns that have been taken: what the user said, and what was answered."""
    checks: tuple[Check, ...] = ()
    """What an answer has to keep to, where that is what is asked."""


class Task(Config):
    """Base of every task. Each has a field `type`, a literal, that names it."""

    name: str = Field(default="", pattern=r"^[\w-]*$")
    """What its numbers are called; its `type`, without one. For a type that is asked twice."""
    file: str = Field(min_length=1)
    """The questions, in the folder that is given as `--data`."""
    examples_file: str = ""
    """The worked examples, likewise; without one, they are taken from `file`, never the question itself."""
    hub: Hub | None = None
    """Take the questions from there, and not from `--data`. Fetched when the stage runs."""
    examples_hub: Hub | None = None
    """Take the worked examples from there."""
    shots: NonNegativeInt = 0
    """Worked examples before each question."""
    phrasings: tuple[Phrasing, ...] = Field(min_length=1)
    max_tokens: PositiveInt = 32
    stop: tuple[str, ...] | None = None
    """Where an answer in plain style ends, if elsewhere than the run says."""

    category: ClassVar[Category]
    metric: ClassVar[Metric] = "exact_match"
    licence: ClassVar[str]
    """Of the data, as its makers state it."""
    origin: ClassVar[str]
    """Where the data come from."""
    compared: ClassVar[bool] = True
    """Whether an answer is held against a right one. Where it is run or checked, parity is the strict score."""
    one_gold_in_parity: ClassVar[bool] = False
    """Whether llm-jp-eval keeps the first right answer alone, of several."""
    columns: ClassVar[tuple[str, ...]] = ()
    """Those of a table without a head line."""

    @property
    def measured_by(self) -> Metric:
        """What an answer is held against the right one by."""
        return self.metric

    @property
    def cut_by(self) -> str:
        """How sacrebleu cuts words, where answers are measured by BLEU."""
        return "char"

    def licence_of(self, questions: Iterable[Question]) -> str:
        """The licence of the questions that are asked, as an SPDX expression where there is one."""
        return str(getattr(self, "terms", "") or self.licence)

    def prepare(self) -> None:
        """Raise before any model is asked, if answers could not be scored on this machine."""

    def flags(self, text: str, question: Question) -> tuple[Flag, ...]:
        """What is wrong with an answer at first sight."""
        japanese = self.expects_japanese(question) and normalized(text) not in question.choices
        return flags(text, japanese=japanese)

    def expects_japanese(self, question: Question) -> bool:
        """Whether an answer of many letters in another language cannot be one."""
        return True

    @property
    def label(self) -> str:
        return self.name or str(type(self).model_fields["type"].default)

    @abstractmethod
    def question(self, row: dict[str, Any], place: str) -> Question:
        """The item that a row of the file holds; `field` gives what it has to have."""

    @abstractmethod
    def well_formed(self, text: str, question: Question) -> bool:
        """Whether the text is an answer in the form that was asked for, right or wrong."""

    @abstractmethod
    def understood(self, text: str, question: Question) -> str | None:
        """The answer that a patient reader finds in the text, in the right form; `None` if there is none, or several."""

    @abstractmethod
    def score(self, answer: str, question: Question) -> float:
        """0 to 1, how right an answer in the right form is."""

    def value(self, answer: str) -> float | None:
        """The number an answer is, for tasks whose metric is a correlation."""
        return None

    def rows(self, path: Path) -> Iterator[dict[str, Any]]:
        """Rows as `question` takes them; for files whose items do not stand a row each."""
        return read_rows(path, columns=self.columns)

    def read(self, path: Path) -> list[Question]:
        """All questions of a file.

        Raises:
            BunbukuError: A row lacks something, an id stands there twice, or the file is empty.
        """
        questions: list[Question] = []
        seen: dict[str, int] = {}
        for number, row in enumerate(self.rows(path), start=1):
            place = f"item {number} of {path}"
            one = self.question(row, place)
            if not one.gold or not all(normalized(gold) for gold in one.gold):
                raise BunbukuError(f"{place} has no right answer (id {one.id!r})", hint="mend the row, or take it out")
            if one.id in seen:
                raise BunbukuError(f"{place} has the id {one.id!r}, as item {seen[one.id]} has")
            seen[one.id] = number
            questions.append(_numbered(one, number))
        if not questions:
            raise BunbukuError(f"{path} has no items")
        return questions

    def chosen(self, questions: Iterable[Question], *, items: int, seed: int) -> list[Question]:
        """At most `items`, by the hash of their ids."""
        return chosen_by_hash(questions, items=items, seed=seed)

    @model_validator(mode="after")
    def _phrasings_differ(self) -> "Task":
        names = [phrasing.name for phrasing in self.phrasings]
        if len(set(names)) < len(names):
            raise ValueError(f"`phrasings` have a name twice: {', '.join(sorted(names))}")
        return self


def field(row: dict[str, Any], name: str, place: str) -> str:
    """A field that a row has to have, as text.

    Raises:
        BunbukuError: It is absent or null.
    """
    value = row.get(name)
    if value is None:
        raise BunbukuError(f"{place} has no {name!r}", hint=f"it has {', '.join(sorted(row)) or 'nothing'}")
    return str(value)


def filled(template: str, fields: dict[str, str]) -> str:
    """`template` with the fields in their places; braces in the fields themselves are text.

    >>> filled("質問：{question}", {"question": "{a}とは何か"})
    '質問：{a}とは何か'
    """
    try:
        return _PLACE.sub(lambda found: fields[found[1]], template)
    except KeyError as error:
        raise BunbukuError(
            f"the phrasing {template!r} asks for {error.args[0]!r}", hint=f"a question has {', '.join(fields)}"
        ) from error


def examples(questions: Iterable[Question], *, shots: int, seed: int, apart_from: Question) -> list[Question]:
    """Worked examples for one question: others than itself, the same for all questions but those among them."""
    pool = heapq.nsmallest(shots + 1, questions, key=lambda one: _rank(one, seed + 1))
    return [one for one in pool if one.id != apart_from.id][:shots]


def chosen_by_hash[One: Named](questions: Iterable[One], *, items: int, seed: int) -> list[One]:
    """At most `items`, by the hash of their ids."""
    return heapq.nsmallest(items, questions, key=lambda one: _rank(one, seed))


def _rank(question: Named, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{question.id}".encode()).digest()


def _numbered(question: Question, line: int) -> Question:
    return replace(question, line=line)
