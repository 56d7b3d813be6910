"""How the model fares layer by layer: gradients, weights, activations and the moments of AdamW, over all ranks.

Read after the optimizer's step, when gradients (clipped) and moments lie beside the weights that they moved, whatever
optimizer of Megatron it is. A weight is counted once: by the first of the ranks that hold a copy, or by whichever holds
its slice. So the numbers are the same under every layout, up to rounding.

Rows: 0 the embedding, 1 to L the layers, L + 1 the head (last norm and output layer).
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.tensor_parallel import param_is_not_tensor_parallel_duplicate

from bunbuku_pretrain.job import Job
from bunbuku_pretrain.mcore import shims
from bunbuku_pretrain.mcore.runtime import Runtime
from bunbuku_pretrain.observations import QUANTILES, Statistics, append, statistics_file

_GRADIENT, _WEIGHT, _UPDATE, _STEEP, _COUNT, _OUTPUT, _OUTPUTS = range(7)  # columns of the sums
_MOMENT, _LARGEST = range(2)  # columns of the largest
_SHIFT = 21
"""What is left of an fp32 v without so many bits is its exponent and two bits more: four bins to a factor of two."""
_BINS = 1 << (31 - _SHIFT)


@dataclass(frozen=True)
class _Slice:
    """What this rank's optimizer holds of one parameter."""

    row: int
    held: torch.nn.Parameter
    optimizer: torch.optim.Optimizer
    group: dict[str, Any]


class StatisticsMeter:
    """Measures every so many steps, on every rank; the first one writes it down."""

    def __init__(self, model: Any, optimizer: Any, job: Job, runtime: Runtime) -> None:
        self._model, self._optimizer, self._job, self._runtime = model, optimizer, job, runtime
        self._rows = job.architecture.layers + 2
        self._sums = self._zeros(7)
        self._largest = self._zeros(2)
        self._measures = False
        for row, modules in _parts(model, self._rows):
            modules[-1].register_forward_hook(self._hook(row))

    def begin(self, step: int) -> None:
        """Say which step begins: activations are looked at only in one that is measured."""
        self._measures = step % self._job.settings.watch.statistics_interval_steps == 0
        if self._measures:
            self._sums, self._largest = self._zeros(7), self._zeros(2)

    @torch.no_grad()
    def write(self, step: int, tokens: int, gradient_norm: float) -> None:
        """Measure, if it is time, once the optimizer has taken its step. Every rank must ask."""
        if not self._measures:
            return
        self._measures = False
        clock = time.perf_counter()
        self._look_at_weights()
        sums = self._runtime.total(torch.cat([self._sums.flatten(), self._histogram()]))
        largest = self._runtime.largest(self._largest)
        memory = torch.tensor(float(self._runtime.peak_memory_bytes), dtype=torch.float64, device=sums.device)
        memory_bytes = int(self._runtime.largest(memory).item())
        if not self._runtime.leads:
            return
        table, histogram = sums[: self._sums.numel()].view(self._rows, 7).T.cpu(), sums[self._sums.numel() :].cpu()
        clipped = max(1.0, (gradient_norm + 1e-6) / self._job.course.step(step).clip)  # optimizer/clip_grads.py:190
        weights = table[_WEIGHT].sqrt()
        statistics = Statistics(
            step=step,
            tokens=tokens,
            gradient_norm=_tuple(table[_GRADIENT].sqrt() * clipped),
            weight_norm=_tuple(weights),
            update_ratio=_tuple(table[_UPDATE].sqrt() / weights),
            activation_rms=_tuple((table[_OUTPUT] / table[_OUTPUTS].clamp(min=1)).sqrt()),
            activation_max=_tuple(largest[:, _LARGEST].cpu()),
            root_moment_max=_tuple(largest[:, _MOMENT].cpu()),
            steep_share=_tuple(table[_STEEP] / table[_COUNT]),
            root_moment_quantiles=_quantiles(histogram),
            memory_bytes=memory_bytes,
            seconds=time.perf_counter() - clock,
        )
        append(statistics_file(self._job.scratch), statistics)

    def _hook(self, row: int) -> Any:
        @torch.no_grad()
        def look(module: torch.nn.Module, _inputs: Any, output: Any) -> None:
            if self._measures and module.training:
                hidden = (output[0] if isinstance(output, tuple) else output).detach()
                # The square is summed in fp32 and only the sum is fp64: a copy in fp64 would cost more than the norm.
                self._sums[row, _OUTPUT] += torch.linalg.vector_norm(hidden, dtype=torch.float32).double().square()
                self._sums[row, _OUTPUTS] += hidden.numel()
                largest = torch.linalg.vector_norm(hidden, ord=torch.inf).double()
                self._largest[row, _LARGEST] = torch.maximum(self._largest[row, _LARGEST], largest)

        return look

    def _look_at_weights(self) -> None:
        self._bins = torch.zeros(_BINS, dtype=torch.int64, device=self._runtime.device)
        for piece in self._slices():
            held, state = piece.held, piece.optimizer.state[piece.held]
            gradient = shims.gradient(held)
            if gradient is None or "exp_avg_sq" not in state:
                continue
            beta1, beta2 = piece.group["betas"]
            steps = float(state["step"] if "step" in state else piece.group["step"])
            mean = state["exp_avg"].float() / (1 - beta1**steps)
            moment = state["exp_avg_sq"].float() / (1 - beta2**steps)
            self._bins += torch.bincount(_bins(moment), minlength=_BINS)
            root = moment.sqrt_()
            steep = (mean.abs() > root).sum()
            move = mean.div_(root + piece.group["eps"]).add_(held, alpha=piece.group["weight_decay"])
            found = torch.stack(
                [
                    _square(gradient),
                    _square(held),
                    _square(move) * piece.group["lr"] ** 2,
                    steep.double(),
                    torch.full_like(steep, held.numel(), dtype=torch.float64),
                ]
            )
            self._sums[piece.row, : len(found)] += found
            self._largest[piece.row, _MOMENT] = torch.maximum(self._largest[piece.row, _MOMENT], root.max().double())

    def _histogram(self) -> torch.Tensor:
        return self._bins.double()

    def _slices(self) -> Iterator[_Slice]:
        """The parameters that this rank counts."""
        places = {
            id(parameter): row
            for row, modules in _parts(self._model, self._rows)
            for module in modules
            for parameter in module.parameters()
        }
        for part in shims.parts(self._optimizer):
            if part.optimizer is None:  # this rank has no slice of any parameter of the part
                continue
            shared = shims.is_shared(part)
            groups = {id(held): group for group in part.optimizer.param_groups for held in group["params"]}
            for parameter in self._model.parameters():
                held = shims.held(part, parameter)
                if id(held) in groups and _is_counted(parameter, shared=shared):
                    yield _Slice(places[id(parameter)], held, part.optimizer, groups[id(held)])

    def _zeros(self, columns: int) -> torch.Tensor:
        return torch.zeros(self._rows, columns, dtype=torch.float64, device=self._runtime.device)


def _parts(model: Any, rows: int) -> Iterator[tuple[int, tuple[torch.nn.Module, ...]]]:
    """The rows that this rank has and their modules, of which the last puts out what the row does: the head, logits."""
    if model.pre_process:
        yield 0, (model.embedding,)
    for layer in model.decoder.layers:
        yield layer.layer_number, (layer,)
    if model.post_process:
        yield rows - 1, (model.decoder.final_layernorm, model.output_layer)


def _is_counted(parameter: torch.nn.Parameter, *, shared: bool) -> bool:
    """Whether this rank is the one that counts it: no rank before it has the same numbers."""
    if not param_is_not_tensor_parallel_duplicate(parameter):
        return False
    if shared:  # every rank has another slice
        return True
    of = (
        parallel_state.get_expert_data_parallel_rank
        if shims.is_expert(parameter)
        else parallel_state.get_data_parallel_rank
    )
    return of() == 0


def _square(tensor: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(tensor, dtype=torch.float32).double().square()


def _bins(moment: torch.Tensor) -> torch.Tensor:
    """The bin of every number: its exponent and the first bits of its mantissa, as they lie in memory."""
    return (moment.flatten().view(torch.int32) >> _SHIFT).to(torch.int64)


def _quantiles(histogram: torch.Tensor) -> tuple[float, ...]:
    """Quantiles of sqrt(v), each the upper edge of its bin: at most an eighth too large."""
    share = histogram.cumsum(0) / histogram.sum().clamp(min=1)
    places = torch.searchsorted(share, torch.tensor(QUANTILES, dtype=share.dtype)).clamp(max=_BINS - 1)
    edges = ((places + 1) << _SHIFT).to(torch.int32).view(torch.float32)
    return _tuple(torch.where(places > 0, edges.sqrt(), 0.0))


def _tuple(values: torch.Tensor) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values.tolist())
