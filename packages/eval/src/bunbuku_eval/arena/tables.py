"""What the arena keeps, as SQLite has it, and the values that come out of it."""

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Literal, NamedTuple

from bunbuku_eval.judging import Shown

type Choice = Literal["left", "right", "tie", "both_bad"]
type Kind = Literal["stored", "live", "imported"]
type Side = Literal["left", "right"]

SIDES: tuple[Side, Side] = ("left", "right")
WINNERS = {"left": "a", "right": "b", "tie": "tie", "both_bad": "both_bad"}
CHOICES: Mapping[str, Choice] = {"a": "left", "b": "right", "tie": "tie", "both_bad": "both_bad"}
VERSION = 1
"""Raised when tables change; a file of another version is refused and never guessed at."""
TABLES = """
CREATE TABLE IF NOT EXISTS duels (
    id TEXT PRIMARY KEY, voter TEXT NOT NULL, kind TEXT NOT NULL, question TEXT NOT NULL, category TEXT NOT NULL,
    model_left TEXT NOT NULL, model_right TEXT NOT NULL, served REAL NOT NULL, ready REAL,
    winner TEXT, reasons TEXT, voted REAL, voided TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS turns (
    duel TEXT NOT NULL REFERENCES duels, turn INTEGER NOT NULL, prompt TEXT NOT NULL,
    "left" TEXT, "right" TEXT, PRIMARY KEY (duel, turn)
) STRICT;
CREATE INDEX IF NOT EXISTS by_voter ON duels (voter, winner);
CREATE INDEX IF NOT EXISTS by_pair ON duels (min(model_left, model_right), max(model_left, model_right));
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, voter TEXT NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS blocked (voter TEXT PRIMARY KEY, at REAL NOT NULL, why TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS hidden (question TEXT PRIMARY KEY, at REAL NOT NULL, why TEXT NOT NULL) STRICT;
"""


class Turn(NamedTuple):
    """A prompt and its two answers; `None` for one that is not whole yet."""

    prompt: str
    left: str | None = None
    right: str | None = None

    @property
    def whole(self) -> bool:
        return self.left is not None and self.right is not None


class Duel(NamedTuple):
    """Two answers to one question, as one voter gets them."""

    id: str
    question: str
    """Its id."""
    left: str
    right: str
    """The models."""


class Vote(NamedTuple):
    """A duel that was decided."""

    id: str
    voter: str
    kind: str
    question: str
    category: str
    model_a: str
    model_b: str
    winner: str
    reasons: str
    served: float
    ready: float
    """When both answers were there to be read."""
    voted: float
    turns: tuple[Turn, ...] = ()
    """Of live duels and imported votes; stored answers are in their reports."""


class Pool:
    """Which questions each pair of models can be compared on."""

    def __init__(self, answers: Mapping[str, Mapping[str, Shown]]) -> None:
        self.answers = answers
        self.pairs: dict[tuple[str, str], list[str]] = {}
        for question, models in answers.items():
            for pair in combinations(sorted(models), 2):
                self.pairs.setdefault(pair, []).append(question)

    def holds(self, question: str, models: Iterable[str]) -> bool:
        """Whether the question has answers of these models."""
        return set(models) <= self.answers.get(question, {}).keys()

    def category(self, question: str) -> str:
        """The question's category, which is that of any answer to it."""
        return next(iter(self.answers[question].values())).category
