"""NEFTune's noise is on what is learnt, and on nothing else."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from bunbuku_align import AlignRun, DpoConfig, Lora, SftConfig, dpo, sft
from bunbuku_align.noise import add_noise
from bunbuku_contracts import read_sections
from transformers import AutoModelForCausalLM

HERE = AlignRun(device="cpu", threads=1)
KEPT = HERE.model_copy(update={"reference": "cached"})
FEW: dict[str, Any] = {
    "max_tokens": 64, "batch_examples": 16, "max_steps": 2, "learning_rate": 1e-2, "samples": 0,
    "held_out_share": 0.2, "adapter": Lora(rank=2), "evaluations": 1,
}  # fmt: skip
ALPHA = 20.0


def curves(made) -> dict[str, list[float]]:
    return {curve.name: [y for _, y in curve.points] for curve in read_sections(made)[0].curves}


def test_a_training_step_gets_uniform_noise_of_the_papers_size_and_nothing_else_does(make) -> None:
    model = AutoModelForCausalLM.from_pretrained(make.model().dir)
    embed, ids = model.get_input_embeddings(), torch.arange(4, 60).repeat(8, 1)
    plain = embed(ids).detach()
    add_noise(model, ALPHA)
    model.train()
    noise = (embed(ids) - plain).detach()
    most = ALPHA / math.sqrt(56 * 32)
    assert 0.99 * most < noise.abs().max() <= most * (1 + 1e-4)
    assert noise.std() == pytest.approx(most / math.sqrt(3), rel=0.05)
    assert embed(ids).requires_grad, "and what is learnt goes through it"
    with torch.no_grad():
        assert torch.equal(embed(ids), plain), "a reference is asked without gradients"
    model.eval()
    assert torch.equal(embed(ids), plain)


@pytest.mark.parametrize("packing", [False, True], ids=["rows", "packed"])
def test_fine_tuning_hears_the_noise_and_held_out_rows_do_not(packing, make, numerals, tmp_path: Path) -> None:
    base, data = make.model(), make.dialogues(numerals)
    plain, noisy = (
        curves(sft(tmp_path / f"{alpha}", SftConfig(**FEW, packing=packing, neftune_alpha=alpha), base, data, run=HERE))
        for alpha in (None, ALPHA)
    )
    assert plain["held-out loss"][0] == noisy["held-out loss"][0]
    assert abs(plain["training loss"][0] - noisy["training loss"][0]) > 1e-3


def test_the_reference_of_a_preference_is_asked_without_noise(make, numerals, tmp_path: Path) -> None:
    """Kept from before the training or asked in its midst it says the same, so that all curves are the same."""
    base = make.model()
    pairs = make.preferences({id: (turns[:1], turns[1][1], "ひと") for id, turns in numerals.items()})
    config = DpoConfig(**FEW, neftune_alpha=ALPHA)
    live, kept = (curves(dpo(tmp_path / run.reference, config, base, pairs, run=run)) for run in (HERE, KEPT))
    assert abs(live["training loss"][0] - math.log(2)) > 1e-3, "the policy hears it"
    assert live["held-out loss"][0] == pytest.approx(math.log(2))
    for name in ("training loss", "held-out loss", "held-out KL from the start, nats a token"):
        assert kept[name] == pytest.approx(live[name], abs=1e-4), name
    divergence = live["held-out KL from the start, nats a token"]
    assert divergence[0] == pytest.approx(0, abs=1e-6) and divergence[-1] > 1e-3
