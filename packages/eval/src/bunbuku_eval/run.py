"""Circumstance of an evaluation: where the models run."""

from bunbuku_contracts import RunSettings
from bunbuku_inference import AnyEngine, TransformersEngine


class EvalRun(RunSettings):
    """Where the models run. The same models on another engine give the same numbers, up to rounding."""

    engine: AnyEngine = TransformersEngine()


DEFAULT_RUN = EvalRun()
