"""Each gradient that is written out, against the one that autograd finds, and against torch's own functions."""

import pytest
import torch
from bunbuku_pretrain.arithmetic import cross_entropy, rms_norm, rotate, rotation, swiglu
from torch.autograd import gradcheck


def some(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype).requires_grad_()


def test_rms_norm_is_torchs_and_its_gradient_is_right() -> None:
    x, weight = some(3, 2, 8), some(8, seed=1)
    assert torch.allclose(rms_norm(x, weight, 1e-5), torch.nn.functional.rms_norm(x, (8,), weight, 1e-5))
    assert gradcheck(lambda x, weight: rms_norm(x, weight, 1e-5), (x, weight))


def test_swiglu_is_its_formula_and_its_gradient_is_right() -> None:
    x = some(3, 2, 8)
    assert torch.allclose(swiglu(x), torch.nn.functional.silu(x[..., :4]) * x[..., 4:])
    assert gradcheck(swiglu, (x,))


def test_rotation_turns_pairs_by_their_position_and_its_gradient_is_right() -> None:
    x = some(5, 2, 3, 8)
    cosine, sine = (part.double() for part in rotation(5, 8, 100.0, x.device))
    turned = rotate(x, cosine, sine)
    wanted = torch.view_as_complex(torch.stack(x.permute(1, 2, 0, 3).chunk(2, -1), dim=-1)) * (cosine + 1j * sine)
    assert torch.allclose(turned, torch.cat([wanted.real, wanted.imag], dim=-1))
    assert torch.allclose(sine[3, 1], torch.tensor(3 * 100 ** (-2 / 8), dtype=torch.float64).sin())
    assert gradcheck(lambda x: rotate(x, cosine, sine), (x,))


def reference(logits: torch.Tensor, labels: torch.Tensor, vocabulary: int) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(
        logits[..., :vocabulary].flatten(0, -2), labels.flatten(), reduction="none"
    ).view(labels.shape)


LABELS = torch.tensor([[0, 3], [6, 1], [2, 2]])


def test_cross_entropy_is_torchs_and_leaves_padding_out() -> None:
    logits = some(3, 2, 9)
    found = cross_entropy(logits.detach().clone(), LABELS, vocabulary=7)
    assert torch.allclose(found, reference(logits, LABELS, 7))


@pytest.mark.parametrize("z_loss", [0.0, 0.1])
def test_z_loss_is_in_the_gradient_and_in_no_loss(z_loss: float) -> None:
    logits, weights = some(3, 2, 9), torch.tensor([[0.5, 0.0], [1.0, 2.0], [0.1, 0.3]], dtype=torch.float64)
    losses = cross_entropy(logits.clone(), LABELS, vocabulary=7, z_loss=z_loss)
    assert torch.allclose(losses, reference(logits, LABELS, 7))
    (found,) = torch.autograd.grad((losses * weights).sum(), logits)
    whole = reference(logits, LABELS, 7) + z_loss * logits[..., :7].logsumexp(-1).square()
    (wanted,) = torch.autograd.grad((whole * weights).sum(), logits)
    assert torch.allclose(found, wanted)


def test_large_logits_overflow_nothing() -> None:
    logits = torch.tensor([[1e4, 0.0, -1e4]])
    assert cross_entropy(logits.clone(), torch.tensor([1]), vocabulary=3).item() == pytest.approx(1e4)
    assert cross_entropy(logits.clone(), torch.tensor([0]), vocabulary=3).item() == 0


def test_narrow_numbers_are_computed_in_wide_ones() -> None:
    x, weight = some(4, 16, dtype=torch.bfloat16), torch.ones(16, dtype=torch.bfloat16)
    wide = torch.nn.functional.rms_norm(x.float(), (16,), weight.float(), 1e-5)
    assert torch.equal(rms_norm(x, weight, 1e-5), wide.bfloat16())
    losses = cross_entropy(x.clone(), torch.zeros(4, dtype=torch.long), vocabulary=16)
    assert losses.dtype == torch.float32
    assert torch.allclose(losses, reference(x.float(), torch.zeros(4, dtype=torch.long), 16))
    losses.sum().backward()
    assert x.grad is not None and x.grad.dtype == torch.bfloat16
