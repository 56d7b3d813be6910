"""The tensors of a model with experts, made one by one from a dense model's and written as they are made."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bunbuku_moe_upcycle.layout import Output
from bunbuku_moe_upcycle.strategies import AnyRouter, AnyStrategy
from bunbuku_moe_upcycle.tensors import BYTES, Floats, TensorFolder, decode, encode, planned_bytes, write_tensors


@dataclass
class Perturbation:
    """How far the experts, as stored, are from the dense network."""

    squares: float = 0.0
    dense_squares: float = 0.0
    weights: int = 0

    def add(self, dense: Floats, made: Floats) -> None:
        self.squares += _sum_of_squares(made - dense)
        self.dense_squares += _sum_of_squares(dense - dense.mean(dtype=np.float64).astype(np.float32))
        self.weights += dense.size

    @property
    def absolute(self) -> float:
        """Root mean square of the change."""
        return (self.squares / self.weights) ** 0.5 if self.weights else 0.0

    @property
    def relative(self) -> float:
        """The change over the standard deviation of the dense weights."""
        return (self.squares / self.dense_squares) ** 0.5 if self.dense_squares else 0.0


@dataclass
class Upcycling:
    """Makes any tensor of the model with experts. Keeps the dense matrix last read: its experts are asked for in a row."""

    dense: TensorFolder
    strategy: AnyStrategy
    router: AnyRouter
    seed: int
    perturbation: Perturbation = field(default_factory=Perturbation)
    _last: tuple[str, Floats] | None = None

    def make(self, output: Output) -> bytes:
        """The tensor's bytes."""
        if output.source is None:
            experts, hidden = output.shape
            return encode(self.router.weights((experts, hidden), output.name, self.seed), output.dtype)
        if output.place is None:
            return self.dense.raw(output.source)
        dense = self._read(output.source)
        expert = self.strategy.expert(dense, output.place, self.seed)
        if expert is dense:
            return encode(dense, output.dtype)
        made = encode(expert, output.dtype)
        self.perturbation.add(dense, decode(made, output.dtype).reshape(dense.shape))
        return made

    def _read(self, name: str) -> Floats:
        if self._last is None or self._last[0] != name:
            self._last = None  # before the next is read, so that two are never held
            self._last = name, self.dense.read(name)
        return self._last[1]


def shards(planned: Iterable[Output], target_bytes: int) -> list[list[Output]]:
    """Tensors in their order, cut into files of at most `target_bytes`; a larger tensor has a file of its own."""
    cut: list[list[Output]] = [[]]
    size = 0
    for output in planned:
        if cut[-1] and size + planned_bytes(output) > target_bytes:
            cut.append([])
            size = 0
        cut[-1].append(output)
        size += planned_bytes(output)
    return [sorted(tensors, key=lambda tensor: -BYTES[tensor.dtype]) for tensors in cut]


def write_shards(folder: Path, cut: Sequence[Sequence[Output]], data: Iterator[bytes]) -> None:
    """Write the files of a checkpoint, and the index that goes with more than one. `data` is in the order of `cut`."""
    weight_map: dict[str, str] = {}
    for number, tensors in enumerate(cut, start=1):
        name = f"model-{number:05d}-of-{len(cut):05d}.safetensors" if len(cut) > 1 else "model.safetensors"
        write_tensors(folder / name, tensors, data)
        weight_map |= {tensor.name: name for tensor in tensors}
    if next(data, None) is not None:
        raise ValueError("more tensors were made than planned")
    if len(cut) > 1:
        total = sum(planned_bytes(tensor) for tensors in cut for tensor in tensors)
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        write_json(folder / "model.safetensors.index.json", index)


def write_json(path: Path, value: object) -> None:
    """Write JSON whose bytes depend on the value alone."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _sum_of_squares(values: Floats) -> float:
    """Summed in float32 within blocks and in float64 over them."""
    flat = values.reshape(-1)
    blocks = (flat[first : first + 2**16] for first in range(0, flat.size, 2**16))
    return sum(float(np.dot(block, block)) for block in blocks)
