"""The models under evaluation: which checkpoints can be asked, and asking them one after another."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Draft
from bunbuku_inference import Answer, AnyEngine, EngineError, Failure, Model, Score, ScoreRequest, open_model

CHUNK_REQUESTS = 512
"""Requests handed to the engine at once: enough for it to sort and batch, few enough to show progress."""


def require_hugging_face(checkpoints: Mapping[str, Artifact[Checkpoint]]) -> None:
    """Refuse, before any model is opened, a checkpoint that cannot be asked."""
    if not checkpoints:
        raise BunbukuError("no model was given", hint="--checkpoints NAME=DIR, once a model")
    hints = {"megatron": "bunbuku-pretrain export", "peft": "bunbuku-align merge"}
    for name, checkpoint in checkpoints.items():
        form = checkpoint.manifest.spec.format
        if form != "hf":
            raise BunbukuError(
                f"checkpoint {name!r} at {checkpoint.dir} has format {form!r}, 'hf' is what can be asked",
                hint=f"make one with {hints[form]}",
            )


@contextmanager
def opened(engine: AnyEngine, checkpoint: Artifact[Checkpoint]) -> Iterator[Model]:
    """The checkpoint's model on that engine, closed afterwards."""
    with open_model(engine, checkpoint.dir) as model:
        yield model


def outcomes[R, O: Answer | Score](
    ask: Callable[[Sequence[R]], list[O | Failure]], requests: Sequence[R], *, begun: bool
) -> list[O | Failure]:
    """An outcome each. An engine that breaks down after something has come back fails the rest, and no more than that.

    Raises:
        EngineError: It breaks down before anything has come back.
    """
    try:
        return ask(requests)
    except EngineError as error:
        if not begun:
            raise
        return [Failure(reason="exhausted", detail=str(error)) for _ in requests]


def scores(
    model: Model, requests: Sequence[ScoreRequest], draft: Draft, *, label: str, begun: bool
) -> list[Score | Failure]:
    """A score each, or why there is none, with progress."""
    chunks = [requests[at : at + CHUNK_REQUESTS] for at in range(0, len(requests), CHUNK_REQUESTS)]
    found: list[Score | Failure] = []
    for chunk in draft.track(chunks, unit="batches", label=label):
        so_far = begun or any(isinstance(one, Score) for one in found)
        found += outcomes(model.try_score, chunk, begun=so_far)
    return found
