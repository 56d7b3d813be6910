"""Several checkpoints made into one, tensor by tensor and file by file.

The file of the first (or of the base, if there is one) gives names, order, shapes and types; one tensor of each model is in
memory at a time, and what a method makes of them is written where the first one's was.
"""

from collections.abc import Mapping, Sequence

import torch
from bunbuku_contracts import Artifact, ArtifactError, Checkpoint, ConfigError, Draft

from bunbuku_align.methods import (
    AnyMethod,
    CombineConfig,
    Dare,
    Linear,
    ModelStock,
    Slerp,
    TaskArithmetic,
    Ties,
    check_count,
    needs_base,
    seed_of,
)
from bunbuku_align.weights import Tensors, copied, rewrite

_SAME_WAY = 0.9995
"""Cosine from which two tensors count as pointing the same way: an arc would be divided by next to nothing."""
_NOTHING = 1e-6


class Model:
    """The tensors of a checkpoint by name, read when they are asked for."""

    def __init__(self, checkpoint: Artifact[Checkpoint]) -> None:
        self.dir = checkpoint.dir
        files = [file for file in checkpoint.files() if file.path.endswith(".safetensors")]
        opened = [Tensors(checkpoint.path(file)) for file in files]
        self._of = {name: tensors for tensors in opened for name in tensors.names}

    @property
    def names(self) -> set[str]:
        return set(self._of)

    def floating(self, name: str) -> bool:
        return self._of[name].floating(name)

    def read(self, name: str, shape: torch.Size) -> torch.Tensor:
        """One tensor, in float32 at least."""
        found = self._of[name].read(name)
        if found.shape != shape:
            raise ArtifactError(
                f"{name!r} is {tuple(found.shape)} in {self.dir}, but {tuple(shape)} elsewhere",
                hint="only checkpoints of one architecture can be combined",
            )
        return found if found.dtype == torch.float64 else found.float()


def combine_into(
    draft: Draft,
    config: CombineConfig,
    models: Mapping[str, Artifact[Checkpoint]],
    base: Artifact[Checkpoint] | None,
) -> None:
    """Write what the method makes of the models into the draft, in the layout of the base or else of the first."""
    names = sorted(models)
    first = base or models[names[0]]
    opened = {name: Model(models[name]) for name in names}
    lead = Model(first)
    for model in opened.values():
        if model.names != lead.names:
            name = min(model.names ^ lead.names)
            raise ArtifactError(
                f"{name!r} is in one of {model.dir} and {first.dir}, but not in the other",
                hint="only checkpoints of one architecture can be combined",
            )
    changed = {name for name in lead.names if lead.floating(name)}

    def change(name: str, before: torch.Tensor) -> torch.Tensor:
        given = [opened[model].read(name, before.shape) for model in names]
        start = (before if before.dtype == torch.float64 else before.float()) if base else None
        return combined(config.method, name, names, given, start).to(before.dtype)

    for file, target in copied(draft, first):
        rewrite(first.path(file), target, changed, change)
    draft.metrics |= {"models": float(len(models)), "weights.changed": float(len(changed))}


def combined(
    method: AnyMethod, name: str, models: Sequence[str], given: Sequence[torch.Tensor], base: torch.Tensor | None
) -> torch.Tensor:
    """What a method makes of one tensor of each model. The tensors given may be changed on the way."""
    match method:
        case Linear():
            weights = method.of(models)
            result = torch.zeros_like(given[0])
            for tensor, weight in zip(given, weights, strict=True):
                result.add_(tensor, alpha=weight)
            return result.div_(sum(weights))
        case Slerp():
            return _slerp(given[0], given[1], method.t)
    assert base is not None
    deltas = [tensor.sub_(base) for tensor in given]
    match method:
        case ModelStock():
            return _model_stock(deltas, base)
        case Ties():
            deltas = [_largest(delta, method.density) for delta in deltas]
        case Dare():
            seeds = [seed_of(method.seed, model, name) for model in models]
            deltas = [_dropped(delta, method.density, seed) for delta, seed in zip(deltas, seeds, strict=True)]
        case TaskArithmetic():
            pass
    weights = method.of(models)
    weighted = [delta.mul_(weight) for delta, weight in zip(deltas, weights, strict=True)]
    if isinstance(method, Ties) or (isinstance(method, Dare) and method.elect_signs):
        added = _agreed(weighted, weights, mean=isinstance(method, Ties))
    else:
        added = weighted[0]
        for delta in weighted[1:]:
            added = added.add_(delta)
    return added.mul_(method.scale).add_(base)


def _slerp(one: torch.Tensor, other: torch.Tensor, t: float) -> torch.Tensor:
    lengths = one.norm(dtype=torch.float64), other.norm(dtype=torch.float64)
    apart = lengths[0] * lengths[1]
    cosine = float((one.double() * other.double()).sum() / apart) if apart > 0 else 1.0
    cosine = max(-1.0, min(1.0, cosine))
    if abs(cosine) > _SAME_WAY:
        return one.mul_(1 - t).add_(other, alpha=t)
    angle = torch.tensor(cosine, dtype=torch.float64).acos()
    shares = ((1 - t) * angle).sin() / angle.sin(), (t * angle).sin() / angle.sin()
    return one.mul_(float(shares[0])).add_(other, alpha=float(shares[1]))


def _model_stock(deltas: Sequence[torch.Tensor], base: torch.Tensor) -> torch.Tensor:
    lengths = [delta.norm() for delta in deltas]
    cosines = [
        ((deltas[i] * deltas[j]).sum() / (lengths[i] * lengths[j]).clamp(min=_NOTHING)).clamp(-1, 1)
        for i in range(len(deltas))
        for j in range(i + 1, len(deltas))
    ]
    cosine, count = torch.stack(cosines).mean(), len(deltas)
    below = 1 + (count - 1) * cosine
    t = 0.0 if below.abs() < _NOTHING else float(count * cosine / below)  # against each other: stay at the base
    added = deltas[0]
    for delta in deltas[1:]:
        added = added.add_(delta)
    return added.mul_(t / count).add_(base)


def _largest(delta: torch.Tensor, density: float) -> torch.Tensor:
    """The share of largest values; of equal ones, those that come first. The others are zero."""
    count = delta.numel()
    kept = max(1, int(density * count))
    if kept >= count:
        return delta
    sizes = delta.abs().flatten()
    smallest = sizes.kthvalue(count - kept + 1).values
    mask = sizes > smallest
    mask[(sizes == smallest).nonzero()[: kept - int(mask.sum()), 0]] = True
    return delta.mul_(mask.view_as(delta))


def _dropped(delta: torch.Tensor, density: float, seed: int) -> torch.Tensor:
    if density == 1:
        return delta
    generator = torch.Generator().manual_seed(seed)
    kept = torch.rand(delta.shape, generator=generator) < density
    return delta.mul_(kept).div_(density)


def _agreed(weighted: Sequence[torch.Tensor], weights: Sequence[float], *, mean: bool) -> torch.Tensor:
    """Sum, or mean by weight, of those that have the sign with more mass."""
    whole = weighted[0].clone()
    for delta in weighted[1:]:
        whole.add_(delta)
    elected = torch.where(whole >= 0, 1.0, -1.0).to(whole.dtype)
    added, voters = whole.zero_(), torch.zeros_like(whole)
    for delta, weight in zip(weighted, weights, strict=True):
        agrees = delta.sign() == elected
        added.add_(delta * agrees)
        voters.add_(agrees, alpha=weight)
    if mean:
        voters[voters == 0] = 1
        added.div_(voters)
    return added


def check_models(
    config: CombineConfig, models: Mapping[str, Artifact[Checkpoint]], base: Artifact[Checkpoint] | None
) -> None:
    """Raise unless the models, and the base if the method needs one, can be combined."""
    check_count(config.method, sorted(models))
    if needs_base(config.method) != (base is not None):
        raise ConfigError(
            f"`method` {config.method.type!r} " + ("takes no base" if base else "needs the base of the models"),
            hint="leave --base out" if base else "give --base the checkpoint that all of them were trained from",
        )
    every = [*models.values(), *([base] if base else [])]
    first = every[0]
    for other in every[1:]:
        for what in ("architecture", "tokenizer"):
            if getattr(other.spec, what) != getattr(first.spec, what):
                raise ArtifactError(
                    f"{other.dir} has another {what} than {first.dir}",
                    hint="only checkpoints of one architecture and one tokenizer can be combined",
                )
