"""Leaving torch's compiler out of a rank that will not compile.

Megatron marks functions with `torch.compile` when it is imported (megatron/core/jit.py:21), and the first mark imports the
whole compiler: 1.5 of the 8 CPU seconds that a rank takes to start. This module must come before Megatron.
"""

import os
from typing import Any

import torch


def leave_out() -> None:
    """Let `torch.compile` return what it is given, if the launch has switched compiling off."""
    if os.environ.get("TORCHDYNAMO_DISABLE") == "1":
        torch.compile = _as_it_is


def _as_it_is(function: Any = None, **_: Any) -> Any:
    return _as_it_is if function is None else function
