"""The models under evaluation: which checkpoints can be asked, and asking them one after another."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Draft
from bunbuku_inference import AnyEngine, Model, Score, ScoreRequest, open_model

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


def scores(model: Model, requests: Sequence[ScoreRequest], draft: Draft, *, label: str) -> list[Score]:
    """A score each, with progress."""
    chunks = [requests[at : at + CHUNK_REQUESTS] for at in range(0, len(requests), CHUNK_REQUESTS)]
    return [one for chunk in draft.track(chunks, unit="batches", label=label) for one in model.score(chunk)]
