"""What is not a number in a step, and where it came from.

Gradients are looked at before any rank adds them to those of another. When one is not finite, every micro-batch of the
step is computed once more, alone, and the first module whose output, or the parameter nearest the loss whose gradient,
is not finite is named. What is not found again was no property of the text or the model, but a fault of the machine.

Shapes: B sequences of a micro-batch, S tokens.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from bunbuku_pretrain.mcore.feeding import Batch
from bunbuku_pretrain.mcore.runtime import Runtime

MOST_SAVED = 8
"""Micro-batches that a rank writes down for one step."""
_PIECE = 1 << 24


@dataclass(frozen=True)
class Finding:
    """The first thing on a rank that is not finite in a micro-batch."""

    rank: int
    stage: int
    """Pipeline stage of the rank, from 0 on."""
    micro_batch: int
    what: str
    """`weight`, `output`, `loss` or `gradient`."""
    where: str
    """Name of the module or parameter."""
    layer: int | None
    """Layer of the whole model that it is in, from 1 on."""

    def __str__(self) -> str:
        of = f"layer {self.layer}" if self.layer is not None else "outside the layers"
        return (
            f"the {self.what} of {self.where} ({of}) is not finite "
            f"on rank {self.rank}, stage {self.stage}, in micro-batch {self.micro_batch}"
        )


class Search(NamedTuple):
    """What came of computing a step once more."""

    first: Finding | None
    """`None` if nothing was found again."""
    seen_by: tuple[int, ...]
    """Ranks that saw it the first time."""
    folder: Path
    """Where the micro-batches are written down."""

    def __str__(self) -> str:
        ranks = ", ".join(map(str, self.seen_by)) or "none"
        if self.first is None:
            return f"seen on rank {ranks} and not again when computed anew, so a fault of that machine ({self.folder})"
        return f"{self.first} ({self.folder})"


def is_finite(model: Any) -> bool:
    """Whether all gradients that this rank has gathered are finite. One pass over them, one number back, if they are."""
    gradients: list[torch.Tensor] = [
        buffer.grad_data for buffer in (*model.buffers, *model.expert_parallel_buffers) if buffer.grad_data.numel()
    ]
    if not gradients:
        return True
    # A sum with NaN or infinities in it is one of them, and the fastest pass there is: the norm to infinity takes 200 times
    # as long. Of large finite numbers it may overflow too: a sum that did is looked into, piece by piece.
    whole = torch.isfinite(torch.stack([gradient.sum() for gradient in gradients])).tolist()
    doubtful = [gradient for gradient, is_whole in zip(gradients, whole, strict=True) if not is_whole]
    return all(bool(torch.isfinite(piece).all()) for gradient in doubtful for piece in gradient.split(_PIECE))


def search(
    model: Any,
    batches: Sequence[Batch],
    compute: Callable[[Iterator[Batch]], Sequence[dict[str, torch.Tensor]]],
    *,
    runtime: Runtime,
    seen: bool,
    folder: Path,
    known: dict[str, Any],
) -> Search:
    """Find out where something that is not finite came from. Every rank must ask, with as many micro-batches.

    Args:
        model: In its data parallel wrapper.
        batches: The micro-batches of this rank.
        compute: Runs one micro-batch forwards and backwards without adding up gradients over ranks.
        runtime: Of this rank.
        seen: Whether this rank saw it.
        folder: For the micro-batches concerned.
        known: Facts of the step to write down beside them.
    """
    found: list[Finding] = []
    for number, batch in enumerate(batches):
        finding = _look(model, batch, compute, runtime=runtime, number=number)
        if finding is not None:
            found.append(finding)
    everywhere: list[tuple[int, bool, list[Finding]]] = [(runtime.rank, seen, found)]
    if runtime.world > 1:
        everywhere = [None] * runtime.world  # type: ignore[list-item]
        dist.all_gather_object(everywhere, (runtime.rank, seen, found))
    findings = sorted((one for _, _, some in everywhere for one in some), key=_order)
    concerned = {one.micro_batch for one in found} or (set(range(len(batches))) if seen and not findings else set())
    for number in sorted(concerned)[:MOST_SAVED]:
        _write_down(
            folder, batches[number], number, runtime, known, [one for one in found if one.micro_batch == number]
        )
    seen_by = tuple(rank for rank, saw, _ in everywhere if saw)
    return Search(findings[0] if findings else None, seen_by, folder)


def _order(finding: Finding) -> tuple[int, int, int, int]:
    """The cause before what follows from it: a bad weight, then the earliest stage forwards, then what came back."""
    rank = {"weight": 0, "output": 1, "loss": 2, "gradient": 3}[finding.what]
    stage = -finding.stage if finding.what == "gradient" else finding.stage
    return (finding.micro_batch, rank, stage, finding.rank)


def _look(
    model: Any,
    batch: Batch,
    compute: Callable[[Iterator[Batch]], Sequence[dict[str, torch.Tensor]]],
    *,
    runtime: Runtime,
    number: int,
) -> Finding | None:
    model.zero_grad_buffer()
    with _first_bad_output(model) as outputs:
        reports = compute(iter([batch]))
    what = where = ""
    if bad := [name for name, weight in model.named_parameters() if not _finite(weight)]:
        what, where = "weight", bad[0]
    elif outputs:
        what, where = "output", outputs[0]
    elif any(not _finite(report["sum"]) for report in reports):
        what, where = "loss", "output_layer"
    elif bad := [name for name, weight in model.named_parameters() if not _finite(weight.main_grad)]:
        what, where = "gradient", bad[-1]
    if not what:
        return None
    return Finding(runtime.rank, _stage(), number, what, where.removeprefix("module."), _layer(model, where))


@contextmanager
def _first_bad_output(model: torch.nn.Module) -> Iterator[list[str]]:
    """The names of modules in the order in which they put out something that is not finite."""
    names: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            tensors = output if isinstance(output, tuple | list) else [output]
            if any(isinstance(one, torch.Tensor) and not _finite(one) for one in tensors):
                names.append(name)

        return hook

    handles = [module.register_forward_hook(look(name)) for name, module in model.named_modules() if name]
    try:
        yield names
    finally:
        for handle in handles:
            handle.remove()


def _finite(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor.detach()).all())


def _stage() -> int:
    from megatron.core import parallel_state

    return parallel_state.get_pipeline_model_parallel_rank()


def _layer(model: torch.nn.Module, name: str) -> int | None:
    """The number that Megatron gives the layer around a module or parameter, counted over all stages."""
    parts = name.split(".")
    if "layers" not in parts or len(parts) < (place := parts.index("layers") + 2):
        return None
    return getattr(model.get_submodule(".".join(parts[:place])), "layer_number", None)


def _write_down(
    folder: Path, batch: Batch, number: int, runtime: Runtime, known: dict[str, Any], found: Sequence[Finding]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = {
        **known,
        "rank": runtime.rank,
        "data_rank": runtime.data_rank,
        "micro_batch": number,
        "found": [asdict(one) for one in found],
        "tokens": batch.tokens_BS.tolist(),
        "labels": batch.labels_BS.tolist(),
        "counted": batch.counted_BS.tolist(),
    }
    path = folder / f"rank-{runtime.rank}-micro-batch-{number}.json"
    path.write_text(json.dumps(text) + "\n", encoding="utf-8")
