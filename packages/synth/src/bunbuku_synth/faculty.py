"""The edge to models: the teachers of a run, opened when they are first asked, each step's replies in a store of its own.

Replies are kept by content: of which model, and of the whole request. So a run that was killed asks only what is missing, and
with `store` in the run settings, so does any other run: what did not change in a chain is not asked again.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Draft, RunSettings
from bunbuku_contracts.digest import hash_tree
from bunbuku_inference import (
    Account,
    Answer,
    AnyEngine,
    Budget,
    Failure,
    Model,
    OpenAIEngine,
    Price,
    Request,
    RequestsFailed,
    TransformersEngine,
    open_model,
)
from bunbuku_inference.view import note, panel
from pydantic import Field

DEFAULT = "teacher"
"""The teacher of steps that name none."""
_FINAL = ("too_long", "rejected")
"""Failures that asking again would not mend: the request itself is at fault."""
_log = logging.getLogger(__name__)


class TeacherRun(RunSettings):
    """Where teachers run, what they cost, and where their replies are kept."""

    engine: AnyEngine = TransformersEngine()
    """Of `teacher`, and of every teacher that `engines` does not name."""
    engines: dict[str, AnyEngine] = Field(default_factory=dict[str, AnyEngine])
    """Of the others, by the names that the config gives them."""
    prices: dict[str, Price] = Field(default_factory=dict[str, Price])
    """By the teachers' names."""
    budget: Budget = Budget()
    store: str | None = None
    """Folder for replies that other runs may find as well. Without one they are in the draft, and go with it."""


@dataclass(frozen=True)
class Candidates:
    """Who may teach: what the config calls them, and the weights that are at hand."""

    names: Mapping[str, str]
    """Of a step's teacher to what items call it: its name at the server, if it is served."""
    checkpoints: Mapping[str, Artifact[Checkpoint]] = field(default_factory=dict[str, Artifact[Checkpoint]])
    files: Mapping[str, Path] = field(default_factory=dict[str, Path])

    def weights(self, teacher: str) -> Path | None:
        """Where its weights lie; `None` if a server has them."""
        checkpoint = self.checkpoints.get(teacher)
        return checkpoint.dir if checkpoint else self.files.get(teacher)

    def identity(self, teacher: str, engine: AnyEngine) -> str:
        """What items say about who wrote them: a name, a content digest, or `name@digest`.

        Raises:
            BunbukuError: There is no such teacher, or two, or a server has another model than the config names.
        """
        name, checkpoint, file = self.names.get(teacher), self.checkpoints.get(teacher), self.files.get(teacher)
        if checkpoint and file:
            raise BunbukuError("both --teacher and --teacher-file were given", hint="give the one that is to write")
        if checkpoint or file:
            digest = checkpoint.content if checkpoint else hash_tree(Path(str(file)))
            return f"{name}@{digest[:16]}" if name else digest
        if not isinstance(engine, OpenAIEngine) or name is None:
            raise _nobody(teacher)
        if engine.model != name:
            raise BunbukuError(
                f"the config's {teacher} is {name!r}, and the engine of the run settings serves {engine.model!r}",
                hint="name the same model in both, with its revision after an @ if the engine has one",
            )
        return name


class Faculty:
    """The teachers of a run. Use it as a context manager: models are closed, and meters go to the metrics."""

    def __init__(self, draft: Draft, candidates: Candidates, run: TeacherRun) -> None:
        self._draft, self._candidates, self._run = draft, candidates, run
        self._models: dict[str, Model] = {}
        self._identities: dict[str, str] = {}
        self._stack = ExitStack()
        self._store = Path(run.store) if run.store else draft.scratch
        self.account = Account(run.budget, label=draft.scratch.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name, model in self._models.items():
            self._draft.metrics |= model.meter.metrics(name)
        if self._models:
            total = self.account.total
            self._draft.metrics |= {
                "cost.total": self.account.cost,
                "cost.prompt_tokens": float(total.prompt_tokens),
                "cost.completion_tokens": float(total.completion_tokens),
            }
        self._stack.close()

    def identity(self, teacher: str) -> str:
        """What items call a teacher; see `Candidates.identity`."""
        if teacher not in self._identities:
            self._identities[teacher] = self._candidates.identity(teacher, self._engine(teacher))
        return self._identities[teacher]

    def ask(self, teacher: str, requests: Sequence[Request], *, step: str) -> list[Answer | Failure]:
        """Answers in the order of the requests, and failures that asking again would not mend.

        Raises:
            RequestsFailed: Some have no answer yet; all others are kept for the next run.
            BudgetSpent: The budget is used up; what was paid for is kept for the next run.
        """
        model = self._model(teacher)
        model.keep_in(self._store / f"{step}.sqlite")
        meters = {name: model.meter for name, model in self._models.items()}
        ticks = self._draft.track(
            range(len(requests)),
            unit="replies",
            total=len(requests),
            label=f"{self._draft.label}: {step}",
            note=lambda: note(meters, self.account),
            panel=lambda: panel(meters, self.account),
        )

        def progress(finished: int) -> None:
            for _ in range(finished):
                next(ticks, None)

        try:
            outcomes = model.try_generate(requests, progress=progress)
        finally:
            ticks.close()  # pyright: ignore[reportAttributeAccessIssue]  # a generator, whose display must end here
        if failures := [found for found in outcomes if isinstance(found, Failure) and found.reason not in _FINAL]:
            raise RequestsFailed(failures, len(outcomes), name=model.name)
        return outcomes

    def _engine(self, teacher: str) -> AnyEngine:
        return self._run.engines.get(teacher, self._run.engine)

    def _model(self, teacher: str) -> Model:
        if teacher not in self._models:
            self.identity(teacher)
            purse = self.account.purse(teacher, self._run.prices.get(teacher, Price()))
            model = open_model(self._engine(teacher), self._candidates.weights(teacher), purse=purse)
            self._models[teacher] = self._stack.enter_context(model)
        return self._models[teacher]


def _nobody(teacher: str) -> BunbukuError:
    if teacher == DEFAULT:
        return BunbukuError(
            "the config has tasks that a teacher writes, and no teacher was given",
            hint="give --teacher DIR or --teacher-file FILE, or name a served model as `teacher` in the config and an "
            "`openai` engine in the run settings",
        )
    return BunbukuError(
        f"a step is to be done by {teacher!r}, and there is no such teacher",
        hint=f"give --teachers {teacher}=DIR, or name a served model in the config's `teachers` and its engine in `engines`",
    )
