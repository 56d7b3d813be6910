"""The tensors of a model with experts, made one by one from a dense model's and written as they are made."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bunbuku_moe_upcycle.function import FunctionProbe
from bunbuku_moe_upcycle.layout import Output, Place, norm_name
from bunbuku_moe_upcycle.routers import AnyRouter
from bunbuku_moe_upcycle.strategies import AnyStrategy
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

    folders: Sequence[TensorFolder]
    """The dense checkpoint, and the branches beside it if there are any."""
    strategy: AnyStrategy
    router: AnyRouter
    seed: int
    probe: FunctionProbe
    means: Floats | None = None
    """Of what the routers hear of each domain: layers, domains, model width."""
    perturbation: Perturbation = field(default_factory=Perturbation)
    _last: dict[int, tuple[str, Floats]] = field(default_factory=dict)

    def make(self, output: Output) -> bytes:
        """The tensor's bytes."""
        if output.source is None:
            return self._router(output)
        if output.place is None:
            return self._whole(output.source, output.dtype)
        place = output.place
        dense = self._read(0, output.source)
        if place.expert is None:
            part = network = self._share(self._mean(output.source), place)
        else:
            own = self._read(place.expert % len(self.folders), output.source)
            part = self._share(self.strategy.part(own, place), place)
            network = self.strategy.expert(part, place, self.seed)
        made = encode(network, output.dtype)
        stored = network if network is dense else decode(made, output.dtype).reshape(output.shape)
        if network is not part:
            self.perturbation.add(part, stored)
        self.probe.add(place, dense, stored)
        return made

    def _share(self, matrix: Floats, place: Place) -> Floats:
        """Half of the answer where a shared network gives the other half: a power of two, which rounds nothing."""
        if self.probe.experts.shared_ffn_size is None or place.weight != "down":
            return matrix
        return matrix * np.float32(0.5)

    def _router(self, output: Output) -> bytes:
        assert output.layer is not None
        experts, hidden = output.shape
        means = None if self.means is None else self.means[output.layer]
        rows = self.router.weights(
            (experts, hidden), output.name, self.seed, slices=self.strategy.slices, means_CD=means
        )
        made = encode(rows, output.dtype)
        stored = decode(made, output.dtype).reshape(output.shape)
        self.probe.begin(output.layer, self.folders[0].read(norm_name(output.layer)), stored)
        return made

    def _whole(self, name: str, dtype: str) -> bytes:
        """As it is, or the mean over the branches."""
        if len(self.folders) == 1:
            return self.folders[0].raw(name)
        return encode(self._mean(name), dtype)

    def _mean(self, name: str) -> Floats:
        if len(self.folders) == 1:
            return self._read(0, name)
        total = self.folders[0].read(name)
        for folder in self.folders[1:]:
            total = total + folder.read(name)
        return total / np.float32(len(self.folders))

    def _read(self, folder: int, name: str) -> Floats:
        if folder not in self._last or self._last[folder][0] != name:
            self._last.pop(folder, None)  # before the next is read, so that two of a folder are never held
            self._last[folder] = name, self.folders[folder].read(name)
        return self._last[folder][1]


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
