"""What a layer computes between its matrices, with the gradients written out: no Megatron, no device.

Written as plain operations, each of these is a chain of passes over memory forward, and another one backward. Here every
one makes as few as it can and keeps as little as it must. On the CPU that is what makes the loop as fast as its matrix
products; where Transformer Engine computes, none of this is used but the cross entropy.

Shapes: S sequence, B batch, H heads, D head size, M model width, F feed-forward width, N tokens, V vocabulary (of one
tensor parallel rank), `_` any leading axes.
"""

import math
from typing import Any

import torch
import torch.distributed as dist
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def rms_norm(x__M: torch.Tensor, weight_M: torch.Tensor, eps: float) -> torch.Tensor:
    """Zhang and Sennrich 2019 (arXiv:1910.07467) eq. 4, in fp32 whatever the input is."""
    return _RMSNorm.apply(x__M, weight_M, eps)


class _RMSNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        wide = x.to(_wide(x.dtype))
        scale = (torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_() / x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return torch.mul(wide, scale).mul_(weight).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:  # type: ignore[override]
        x, weight, scale = ctx.saved_tensors
        wide, grad, heavy = (tensor.to(scale.dtype) for tensor in (x, grad, weight))
        # With p = grad * x both sums are matrix-vector products: over the width for x, over tokens for the weight.
        products_NM = (grad * wide).view(-1, x.shape[-1])
        grad_weight = scale.view(-1) @ products_NM
        share = (products_NM @ heavy).view(scale.shape) * scale.square() / x.shape[-1]
        grad_x = torch.mul(grad, heavy).addcmul_(wide, share, value=-1).mul_(scale)
        return grad_x.to(x.dtype), grad_weight.to(weight.dtype), None


def swiglu(x__2F: torch.Tensor) -> torch.Tensor:
    """SiLU of the first half times the second, Shazeer 2020 (arXiv:2002.05202) eq. 6."""
    return _SwiGLU.apply(x__2F)


class _SwiGLU(Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        gate, up = x.chunk(2, dim=-1)
        opened = torch.nn.functional.silu(gate)
        ctx.save_for_backward(x, opened)
        return opened * up

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        x, opened = ctx.saved_tensors
        gate, up = x.chunk(2, dim=-1)
        out = torch.empty_like(x)
        grad_gate, grad_up = out.chunk(2, dim=-1)
        torch.mul(opened, grad, out=grad_up)
        torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=grad_gate)
        return out


def rotation(length: int, head_size: int, theta: float, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine of every position's angles, S x D/2, in fp32: Su et al. 2021 (arXiv:2104.09864) eq. 15."""
    frequencies = 1.0 / theta ** (torch.arange(0, head_size, 2, dtype=torch.float32, device=device) / head_size)
    angles = torch.outer(torch.arange(length, dtype=torch.float32, device=device), frequencies)
    return angles.cos(), angles.sin()


def rotate(x_SBHD: torch.Tensor, cosine_SD: torch.Tensor, sine_SD: torch.Tensor) -> torch.Tensor:
    """B, H, S, D: heads turned by the angle of their position, the first half of a head being one coordinate."""
    return _Rotate.apply(x_SBHD, cosine_SD.to(x_SBHD.dtype), sine_SD.to(x_SBHD.dtype))


class _Rotate(Function):
    @staticmethod
    def forward(ctx: Any, x_SBHD: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cosine, sine)
        x_BHSD = x_SBHD.permute(1, 2, 0, 3)
        return _turned(x_BHSD, torch.empty(x_BHSD.shape, dtype=x_BHSD.dtype, device=x_BHSD.device), cosine, sine)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # type: ignore[override]
        cosine, sine = ctx.saved_tensors
        batch, heads, length, size = grad.shape
        out = torch.empty(length, batch, heads, size, dtype=grad.dtype, device=grad.device)
        _turned(grad, out.permute(1, 2, 0, 3), cosine, -sine)
        return out, None, None


def _turned(x: torch.Tensor, out: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    (first, second), (to_first, to_second) = x.chunk(2, dim=-1), out.chunk(2, dim=-1)
    torch.mul(first, cosine, out=to_first).addcmul_(second, sine, value=-1)
    torch.mul(second, cosine, out=to_second).addcmul_(first, sine)
    return out


def cross_entropy(
    logits__V: torch.Tensor, labels: torch.Tensor, *, vocabulary: int, z_loss: float = 0.0, group: Any = None
) -> torch.Tensor:
    """Cross entropy of every token, in fp32, where each rank of `group` has an equal share of the vocabulary.

    Its gradient is that of cross entropy + `z_loss` * (log Z)^2, Z being the sum of the exponentials (Chowdhery et al.
    2022, arXiv:2204.02311, §5): the term pulls log Z to 0, and no loss that anybody reads contains it. It is weighed per
    token as the cross entropy is, whatever the caller makes of the losses.

    Rows from `vocabulary` on take no probability. The logits are overwritten.
    """
    return _CrossEntropy.apply(logits__V, labels, vocabulary, z_loss, group)


class _CrossEntropy(Function):
    """Departs from Megatron's VocabParallelCrossEntropy: padding, z-loss, one pass less, two reductions instead of three."""

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, labels: torch.Tensor, vocabulary: int, z_loss: float, group: Any
    ) -> torch.Tensor:
        ranks, rank = (1, 0) if group is None else (group.size(), group.rank())
        shard = logits.shape[-1]
        rows_NV = logits.detach().view(-1, shard).to(_wide(logits.dtype))
        real = vocabulary - shard * rank
        if real < shard:
            rows_NV[:, max(real, 0) :] = torch.finfo(rows_NV.dtype).min
        largest_N1 = rows_NV.amax(dim=-1, keepdim=True)
        if ranks > 1:
            dist.all_reduce(largest_N1, op=dist.ReduceOp.MAX, group=group)
        rows_NV.sub_(largest_N1)
        own_N1 = labels.reshape(-1, 1) - shard * rank
        here_N1 = (own_N1 >= 0) & (own_N1 < shard)
        own_N1 = own_N1.clamp_(0, shard - 1)
        chosen_N1 = rows_NV.gather(1, own_N1) * here_N1
        rows_NV.mul_(math.log2(math.e)).exp2_()  # exp_ takes 5.0 ms where this takes 1.8
        sums_N2 = torch.cat([rows_NV.sum(dim=-1, keepdim=True), chosen_N1], dim=1)
        if ranks > 1:
            dist.all_reduce(sums_N2, group=group)
        total_N1, chosen_N1 = sums_N2.split(1, dim=1)
        log_total_N1 = total_N1.log()
        ctx.z_loss, ctx.shape, ctx.dtype = z_loss, logits.shape, logits.dtype
        ctx.rows_NV = rows_NV  # becomes the gradient, once: a saved tensor may not be written to
        ctx.save_for_backward(own_N1, here_N1, total_N1, log_total_N1 + largest_N1)
        return (log_total_N1 - chosen_N1).view(labels.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        own_N1, here_N1, total_N1, log_z_N1 = ctx.saved_tensors
        rows_NV, ctx.rows_NV = ctx.rows_NV, None
        grad_N1 = grad.reshape(-1, 1)
        rows_NV.mul_(grad_N1 * (1 + 2 * ctx.z_loss * log_z_N1) / total_N1)
        rows_NV.scatter_add_(1, own_N1, -grad_N1 * here_N1)
        return rows_NV.view(ctx.shape).to(ctx.dtype), None, None, None, None


def _wide(dtype: torch.dtype) -> torch.dtype:
    """The format to compute in: fp32 for what is narrower."""
    return torch.promote_types(dtype, torch.float32)
