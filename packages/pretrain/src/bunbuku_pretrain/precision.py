"""In what numbers a model is trained, and what must be installed for it.

`fp32` is fp32 throughout. `bf16` computes in bf16 and keeps weights, moments and the sum of gradients in fp32 beside it.
`fp8` is `bf16` whose matrix products are taken in fp8, E4M3 forward and E5M2 backward, each tensor scaled by its size.
Another precision is another model, so it belongs to the config and not to the run settings.
"""

import importlib.util
from typing import TYPE_CHECKING, Literal

from bunbuku_contracts import ConfigError

if TYPE_CHECKING:
    from bunbuku_pretrain.training import TrainConfig, TrainRun

type Precision = Literal["fp32", "bf16", "fp8"]

WEIGHT_BYTES: dict[Precision, int] = {"fp32": 4, "bf16": 2, "fp8": 2}
"""Bytes of a weight that is computed with, and of one on the disk."""
MASTER_BYTES = 4
"""Of the copy in fp32 that the optimizer moves, where weights are narrower."""
MOMENT_BYTES = 8
"""Of AdamW's two moments of a weight, in fp32."""


def optimizer_bytes(precision: Precision) -> int:
    """What the optimizer keeps of a weight: its moments, and a copy in fp32 of one that is narrower.

    >>> optimizer_bytes("fp32"), optimizer_bytes("bf16")
    (8, 12)
    """
    return MOMENT_BYTES + (MASTER_BYTES if WEIGHT_BYTES[precision] < MASTER_BYTES else 0)


def state_bytes(precision: Precision) -> int:
    """What a training state has of a weight.

    >>> state_bytes("fp32"), state_bytes("bf16")
    (12, 14)
    """
    return WEIGHT_BYTES[precision] + optimizer_bytes(precision)


def has_transformer_engine() -> bool:
    """Whether Transformer Engine is installed here, found out without importing it."""
    return importlib.util.find_spec("transformer_engine") is not None


def check_engine(config: "TrainConfig", settings: "TrainRun") -> None:
    """Refuse what only Transformer Engine can compute where it does not, before any rank is started.

    Raises:
        ConfigError: naming the field.
    """
    if settings.context_parallel > 1 and config.packing == "best_fit":
        raise ConfigError(
            f"`context_parallel` is {settings.context_parallel} and `packing` is 'best_fit'",
            hint="ranks that share a sequence cannot keep its documents apart: concatenate, or share matrices instead",
        )
    wanted = [
        *(["`precision` is 'fp8'"] if config.precision == "fp8" else []),
        *([f"`context_parallel` is {settings.context_parallel}"] if settings.context_parallel > 1 else []),
        *(["`layers` is 'transformer_engine'"] if settings.layers == "transformer_engine" else []),
    ]
    if not wanted:
        return
    if settings.layers == "local":
        raise ConfigError(f"{wanted[0]}, and `layers` is 'local'", hint="only Transformer Engine computes that")
    if settings.device == "cpu" or not has_transformer_engine():
        why = "runs on GPUs alone" if settings.device == "cpu" else "is not installed here"
        raise ConfigError(f"{wanted[0]}, and Transformer Engine {why}", hint="leave it out, or train where it runs")
