"""Answers put before a judge: which questions it is asked, again if its verdict cannot be read, and what it then said.

A request is one answer, or two in one order; each is asked `samples` times. A reply without a verdict is asked for again
with another seed, up to `attempts` times, and what stays unread is kept and counted.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, BunbukuError
from bunbuku_inference import Answer, Failure, Message, Model, Request, Sampling


class Shown(NamedTuple):
    """One model's answer to one question."""

    model: str
    id: str
    category: str
    question: str
    answer: str
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """What a judge is asked once."""

    id: str
    category: str
    question: str
    first: Shown
    second: Shown | None
    """`None` where one answer is rated."""
    swapped: bool
    """Whether the second stands on the left."""
    sample: int

    def prompt(self, template: str) -> str:
        """The template with question and answers in their places; what they contain is text."""
        left, right = (self.second, self.first) if self.swapped and self.second else (self.first, self.second)
        parts = {
            "{question}": self.question,
            "{answer}": self.first.answer,
            "{answer_a}": left.answer,
            "{answer_b}": right.answer if right else "",
        }
        found = template
        pieces: list[str] = []
        while found:
            place, name = min(((found.find(one), one) for one in parts if one in found), default=(-1, ""))
            if place < 0:
                break
            pieces += [found[:place], parts[name]]
            found = found[place + len(name) :]
        return "".join([*pieces, found])

    def seed(self, attempt: int) -> int:
        other = self.second.model if self.second else ""
        text = f"{self.first.model}\0{other}\0{self.id}\0{self.swapped}\0{self.sample}\0{attempt}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


@dataclass(frozen=True)
class Judgement:
    """A case and what became of it."""

    case: Case
    prompt: str
    text: str
    verdict: Any
    """As the reader of verdicts has it; `None` if nothing could be read."""
    attempts: int
    failure: str = ""


def read_answers(reports: dict[str, Artifact[Any]]) -> list[Shown]:
    """The answers of `generate` and `score` reports, flagged by what can be seen at first sight."""
    found: list[Shown] = []
    for report in reports.values():
        rows = pq.read_table(report.path(report.files("items")[0])).to_pylist()
        for row in rows:
            if "text" in row:
                name = f"{row['style']}/{row['name']}/{row['sample']}"
                found.append(Shown(row["model"], name, row["style"], row["prompt"], row["text"], tuple(row["flags"])))
            elif row.get("output") is not None and row.get("mode", "generation") == "generation" and not row["failure"]:
                name = "/".join(str(row[key]) for key in ("task", "id", "style", "phrasing", "seed"))
                found.append(
                    Shown(
                        row["model"],
                        name,
                        row["task"],
                        row["prompt"],
                        row["output"],
                        tuple(row["flags"]),
                    )
                )
    seen: set[tuple[str, str]] = set()
    for one in found:
        if (one.model, one.id) in seen:
            raise BunbukuError(
                f"the model {one.model!r} answers {one.id!r} twice in what was given", hint="give each report once"
            )
        seen.add((one.model, one.id))
    return found


def ask(
    model: Model, cases: Sequence[Case], template: str, read: Callable[[str], Any], *, sampling: Sampling, attempts: int
) -> list[Judgement]:
    """A judgement a case, asked again while none can be read."""
    found = [Judgement(case, case.prompt(template), "", None, 0) for case in cases]
    for attempt in range(attempts):
        open_ones = [at for at, one in enumerate(found) if one.verdict is None]
        if not open_ones or (attempt and sampling.temperature == 0):
            break  # the same question at temperature 0 is the same reply
        requests = [
            Request(
                prompt=(Message(role="user", content=found[at].prompt),),
                sampling=sampling,
                seed=found[at].case.seed(attempt),
            )
            for at in open_ones
        ]
        for at, outcome in zip(open_ones, model.try_generate(requests), strict=True):
            found[at] = _after(found[at], outcome, read)
    return found


def _after(before: Judgement, outcome: Answer | Failure, read: Callable[[str], Any]) -> Judgement:
    if isinstance(outcome, Failure):
        return replace(before, attempts=before.attempts + 1, failure=f"{outcome.reason}: {outcome.detail}")
    return replace(before, text=outcome.text, verdict=read(outcome.text), attempts=before.attempts + 1, failure="")
