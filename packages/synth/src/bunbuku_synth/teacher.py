"""The edge to models: who is asked, and asking with a durable cache.

Finished replies are in the draft's scratch folder, so a run that was killed asks only what is missing.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Draft
from bunbuku_contracts.digest import hash_tree
from bunbuku_inference import (
    Answer,
    AnyEngine,
    Failure,
    Model,
    OpenAIEngine,
    Request,
    RequestsFailed,
    open_model,
)

_FINAL = ("too_long", "rejected")
"""Failures that asking again would not mend: the request itself is at fault."""


def identity(name: str | None, checkpoint: Artifact[Checkpoint] | None, file: Path | None, engine: AnyEngine) -> str:
    """What items say about who wrote them: a name, a content digest, or `name@digest`.

    Raises:
        BunbukuError: No teacher was given, or two, or a server has another model than the config names.
    """
    if checkpoint and file:
        raise BunbukuError("both --teacher and --teacher-file were given", hint="give the one that is to write")
    if checkpoint or file:
        digest = checkpoint.content if checkpoint else hash_tree(Path(str(file)))
        return f"{name}@{digest[:16]}" if name else digest
    if not isinstance(engine, OpenAIEngine) or name is None:
        raise BunbukuError(
            "the config has tasks that a teacher writes, and no teacher was given",
            hint="give --teacher DIR or --teacher-file FILE, or name a served model as `teacher` in the config and an "
            "`openai` engine in the run settings",
        )
    if engine.served_model != name:
        raise BunbukuError(
            f"the config's teacher is {name!r}, and the engine of the run settings serves {engine.served_model!r}",
            hint="name the same model in both",
        )
    return name


@contextmanager
def opened(draft: Draft, engine: AnyEngine, weights: Path | None, *, role: str) -> Generator[Model]:
    """A model whose answers are kept in the draft's scratch folder; its meter goes to the metrics under `role`."""
    with open_model(engine, weights, cache=draft.scratch / f"{role}.sqlite") as model:
        yield model
        draft.metrics |= model.meter.metrics(role)


def ask(draft: Draft, model: Model, requests: Sequence[Request], *, role: str) -> list[Answer | Failure]:
    """Answers in the order of the requests, and failures that asking again would not mend.

    Raises:
        RequestsFailed: Some have no answer yet; all others are kept for the next run.
    """
    ticks = draft.track(range(len(requests)), unit="replies", total=len(requests), label=f"{draft.label}: {role}")

    def progress(finished: int) -> None:
        for _ in range(finished):
            next(ticks, None)

    outcomes = model.try_generate(requests, progress=progress)
    for _ in ticks:
        pass
    if failures := [found for found in outcomes if isinstance(found, Failure) and found.reason not in _FINAL]:
        raise RequestsFailed(failures, len(outcomes), name=model.name)
    return outcomes
