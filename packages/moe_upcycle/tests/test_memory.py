"""Memory holds a few matrices and never a model, whatever the strategy."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bunbuku_contracts import Artifact, Checkpoint
from bunbuku_moe_upcycle import (
    Branches,
    Copy,
    Drop,
    Granular,
    Noise,
    SimilarityConfig,
    UpcycleConfig,
    similarity,
    upcycle,
)

type Make = Callable[..., Artifact[Checkpoint]]

FFN, HIDDEN = 2048, 512
MATRIX = FFN * HIDDEN * 4
"""Bytes of a dense matrix in fp32, of which the model has 12 in its networks and the mixture 96."""


def peak(work: Callable[[], object]) -> float:
    """The most that Python and numpy held, in dense matrices."""
    tracemalloc.start()
    work()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / MATRIX


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [Copy(), Noise(), Drop(), Granular(), Granular(change=Noise())])
def test_upcycling_holds_a_few_matrices(dense: Make, tmp_path: Path, strategy: Any):
    parent = dense(head_size=HIDDEN // 4, ffn=FFN, layers=4)
    most = peak(lambda: upcycle(tmp_path / "moe", UpcycleConfig(strategy=strategy), parent))
    assert most < 8  # two thirds of the dense model's networks, a twelfth of the mixture's


def test_branches_hold_a_matrix_each(dense: Make, tmp_path: Path):
    parent, branch = (
        dense(name, seed=seed, head_size=HIDDEN // 4, ffn=FFN, layers=4) for seed, name in enumerate("ab")
    )
    config = UpcycleConfig(strategy=Branches())
    assert peak(lambda: upcycle(tmp_path / "moe", config, parent, {"b": branch})) < 8


@pytest.mark.slow
def test_comparing_holds_a_few_matrices(dense: Make, tmp_path: Path):
    made = upcycle(tmp_path / "moe", UpcycleConfig(), dense(head_size=HIDDEN // 4, ffn=FFN, layers=2))
    blocks = 2 * 2**22 * 8 / MATRIX  # rows of all experts, in float64
    assert peak(lambda: similarity(tmp_path / "report", SimilarityConfig(), {"moe": made})) < 8 + blocks
