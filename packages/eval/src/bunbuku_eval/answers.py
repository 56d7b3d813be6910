"""One answer and what it is worth: strictly, leniently, in form, and whether it is an answer at all."""

from dataclasses import dataclass
from typing import NamedTuple

from bunbuku_eval.degenerate import Flag
from bunbuku_eval.metrics import UNREADABLE, char_f1, exact_match, parity_float, sentence_bleu, set_f1
from bunbuku_eval.tasks import Graded, Question, Task


class Marks(NamedTuple):
    """What one answer gets."""

    strict: float
    """How right it is as it stands: 0 unless the form is kept."""
    lenient: float
    """How right a patient reader finds it."""
    format_ok: bool
    flags: tuple[Flag, ...]
    """What is wrong with the text at first sight; a flagged one is not read any further."""
    understood: str | None
    """The answer that the reader found."""
    parity: float
    """What llm-jp-eval gives: its metric on the output as it came."""
    strict_value: float = UNREADABLE
    lenient_value: float = UNREADABLE
    parity_value: float = UNREADABLE
    """The numbers that are correlated, for tasks scored so."""

    @property
    def degenerate(self) -> bool:
        return bool(self.flags)


def mark(task: Task, question: Question, output: str) -> Marks:
    """What an output is worth as an answer to the question.

    A loop that happens to contain the right label shows no knowledge: what is degenerate gets nothing, unless it is the
    right answer to the letter.
    """
    fits = task.well_formed(output, question)
    parity = _parity(task, question, output)
    number = _number(parity_float(output)) if isinstance(task, Graded) else UNREADABLE
    strict = task.score(output, question) if fits else 0.0
    found = task.flags(output, question) if strict < 1 else ()
    if found:
        return Marks(0.0, 0.0, fits, found, None, parity, parity_value=number)
    understood = task.understood(output, question)
    lenient = max(strict, task.score(understood, question) if understood is not None else 0.0)
    values = UNREADABLE, UNREADABLE
    if isinstance(task, Graded):
        said, meant = (task.value(text) if text is not None else None for text in (output, understood))
        values = _number(said if fits else None), _number(meant)
    return Marks(strict, lenient, fits, (), understood, parity, *values, number)


@dataclass(frozen=True, slots=True)
class Condition:
    """In what way a question was asked."""

    model: str
    task: str
    mode: str
    """`generation` or `likelihood`."""
    style: str
    """`plain` or `chat`."""
    phrasing: str
    seed: int


@dataclass(frozen=True, slots=True)
class Answered:
    """A question, how it was asked, and what came back."""

    condition: Condition
    question: Question
    prompt: str
    shots: int
    output: str
    marks: Marks | None
    """`None` where nothing came back."""
    failure: str = ""
    """Why not."""
    finish: str = ""
    tokens: int = 0
    seconds: float = 0.0
    """Of the batch, divided by its answers."""
    contaminated: bool | None = None
    logprobs: tuple[float, ...] = ()
    """Of each choice, in nats, where the likeliest one was the answer."""


def _parity(task: Task, question: Question, output: str) -> float:
    if not task.compared:
        return task.score(output, question)
    gold = question.gold[:1] if task.one_gold_in_parity else question.gold
    match task.measured_by:
        case "char_f1":
            return max(char_f1(output, one) for one in gold)
        case "set_f1":
            return max(set_f1(output, one) for one in gold)
        case "bleu":
            return max(sentence_bleu(output, one, tokenize=task.cut_by) for one in gold) / 100
        case "pearson" | "spearman":
            said = parity_float(output)
            return task.score(str(said), question) if said is not None else 0.0
        case _:
            return max(exact_match(output, one) for one in gold)


def _number(value: float | None) -> float:
    return UNREADABLE if value is None else value
