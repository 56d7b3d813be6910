"""Answers put before a judge: which questions it is asked, again if its verdict cannot be read, and what it then said.

A request is one answer, or two in one order; each is asked `samples` times. A reply without a verdict is asked for again, up to
`attempts` times: with another seed, or, at temperature 0, with a reminder of the form. A reply that did not come is asked for
again as it was. What stays unread is kept and counted.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, BunbukuError
from bunbuku_inference import Answer, Failure, Message, Model, Request, Sampling

from bunbuku_eval.models import outcomes


class Shown(NamedTuple):
    """One model's answer to one question."""

    model: str
    id: str
    category: str
    question: str
    answer: str
    flags: tuple[str, ...]
    task: str = ""
    reference: str = ""
    criteria: str = ""
    history: tuple[tuple[str, str], ...] = ()
    """What was said before, where it is not the first turn."""

    @property
    def conversation(self) -> str:
        """The answer with all that was said before it."""
        if not self.history:
            return self.answer
        return f"{_told(self.history)}\n\n[利用者]\n{self.question}\n\n[回答]\n{self.answer}"


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
        """The template with question and answers in their places; what they contain is text.

        `{history}`, `{reference}` and `{criteria}` are blocks with a heading, or nothing where there is none.
        """
        one = self.first
        left, right = (self.second, self.first) if self.swapped and self.second else (self.first, self.second)
        parts = {
            "{question}": self.question,
            "{answer}": one.answer,
            "{answer_a}": left.conversation,
            "{answer_b}": right.conversation if right else "",
            "{history}": f"[これまでの会話]\n{_told(one.history)}\n\n" if one.history else "",
            "{reference}": f"[参考となる回答]\n{one.reference}\n\n" if one.reference else "",
            "{criteria}": f"[採点の観点]\n{one.criteria}\n\n" if one.criteria else "",
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
    seed: int = 0
    """Of the last attempt."""
    reminded: bool = False
    """Whether the verdict was asked for by a reminder of the form."""
    template: str = ""


def read_answers(reports: dict[str, Artifact[Any]]) -> list[Shown]:
    """The answers of `generate` and `score` reports, flagged by what can be seen at first sight."""
    found: list[Shown] = []
    for report in reports.values():
        rows = pq.read_table(report.path(report.files("items")[0])).to_pylist()
        found += [one for row in rows if (one := _shown(row)) is not None]
    seen: set[tuple[str, str]] = set()
    for one in found:
        if (one.model, one.id) in seen:
            raise BunbukuError(
                f"the model {one.model!r} answers {one.id!r} twice in what was given", hint="give each report once"
            )
        seen.add((one.model, one.id))
    return found


def _shown(row: dict[str, Any]) -> Shown | None:
    """The answer of a row; `None` where none came back, or nothing was written."""
    if row.get("failure"):
        return None
    if "text" in row:
        turn = f"/turn {row['turn']}" if (row.get("turns") or 1) > 1 else ""
        return Shown(
            row["model"],
            f"{row['style']}/{row['name']}/{row['sample']}{turn}",
            row.get("category") or row["style"],
            row["prompt"],
            row["text"],
            tuple(row["flags"]),
            row.get("task") or "",
            row.get("reference") or "",
            row.get("criteria") or "",
            tuple((said, answered) for said, answered in row.get("history") or ()),
        )
    if row.get("output") is None or row.get("mode", "generation") != "generation":
        return None
    name = "/".join(str(row[key]) for key in ("task", "id", "style", "phrasing", "seed"))
    return Shown(row["model"], name, row["task"], row["prompt"], row["output"], tuple(row["flags"]), row["task"])


def ask(
    model: Model,
    cases: Sequence[Case],
    template: Callable[[Case], str],
    read: Callable[[str], Any],
    *,
    sampling: Sampling,
    attempts: int,
    reminder: str,
    begun: bool,
) -> list[Judgement]:
    """A judgement a case, asked again while none can be read."""
    found = [Judgement(case, case.prompt(template(case)), "", None, 0, template=template(case)) for case in cases]
    for attempt in range(attempts):
        waiting = [at for at, one in enumerate(found) if one.verdict is None]
        if not waiting:
            break
        requests = [_request(found[at], attempt, sampling, reminder) for at in waiting]
        so_far = begun or any(one.text for one in found)
        for at, request, outcome in zip(
            waiting, requests, outcomes(model.try_generate, requests, begun=so_far), strict=True
        ):
            found[at] = replace(_after(found[at], outcome, read), seed=request.seed, reminded=len(request.prompt) > 1)
    return found


def _request(before: Judgement, attempt: int, sampling: Sampling, reminder: str) -> Request:
    """At temperature 0 the same question has the same reply, so that the reply is sent back with a reminder of the form."""
    messages = [Message(role="user", content=before.prompt)]
    if before.text.strip() and sampling.temperature == 0:
        messages += [Message(role="assistant", content=before.text), Message(role="user", content=reminder)]
    return Request(prompt=tuple(messages), sampling=sampling, seed=before.case.seed(attempt))


def _told(history: Sequence[tuple[str, str]]) -> str:
    return "\n\n".join(f"[利用者]\n{said}\n\n[回答]\n{answered}" for said, answered in history)


def _after(before: Judgement, outcome: Answer | Failure, read: Callable[[str], Any]) -> Judgement:
    if isinstance(outcome, Failure):
        return replace(before, attempts=before.attempts + 1, failure=f"{outcome.reason}: {outcome.detail}")
    return replace(before, text=outcome.text, verdict=read(outcome.text), attempts=before.attempts + 1, failure="")
