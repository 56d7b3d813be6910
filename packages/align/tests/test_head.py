"""What the trainers' LM head computes."""

from pathlib import Path
from typing import Any

import pytest
import trl.trainer.utils
from bunbuku_align import AlignRun, Lora, SftConfig, sft
from bunbuku_align.head import scores_trained_tokens_only

theirs: Any = trl.trainer.utils


def test_only_trained_tokens_reach_the_head(make, numerals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[int] = []

    class Counting(theirs._ChunkedLogProbFunction):
        @classmethod
        def apply(cls, hidden, *others):
            scored.append(len(hidden))
            return super().apply(hidden, *others)

    monkeypatch.setattr(theirs, "_ChunkedLogProbFunction", Counting)
    config = SftConfig(max_tokens=64, batch_examples=120, max_steps=1, held_out_share=0, adapter=Lora(rank=2))
    run = AlignRun(device="cpu", threads=1)
    metrics = sft(tmp_path / "sft", config, make.model(), make.dialogues(numerals), run=run).manifest.metrics
    assert scored == [metrics["tokens.answers"]]
    assert metrics["tokens.answers"] < metrics["tokens.train"] / 5


def test_trl_is_left_as_it_was() -> None:
    before = theirs._use_triton
    with pytest.raises(KeyError), scores_trained_tokens_only():
        assert theirs._use_triton is not before
        raise KeyError
    assert theirs._use_triton is before
