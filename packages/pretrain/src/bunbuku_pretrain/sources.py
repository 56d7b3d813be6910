"""Where the weights of a model come from, one tensor at a time, under Hugging Face's names."""

import hashlib
import json
import math
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from bunbuku_contracts import Architecture, ArtifactError
from safetensors import safe_open

from bunbuku_pretrain import layout

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class Source(Protocol):
    """Weights by name."""

    def tensor(self, name: str) -> torch.Tensor:
        """The tensor of that name, on the CPU."""
        ...


class RandomWeights:
    """The weights of a new model: normal, each tensor drawn from its own name and the seed.

    So they are the same on any number of ranks, and no two experts or layers get the same numbers. The projections back
    into the residual stream get a smaller deviation, Radford et al. 2019 (GPT-2) §2.3; norms begin at 1.
    """

    def __init__(self, architecture: Architecture, *, vocabulary: int, std: float, seed: int) -> None:
        self.architecture = architecture
        self.std = std
        self.seed = seed
        self._vocabulary = vocabulary

    def tensor(self, name: str) -> torch.Tensor:
        shape = self._shape(name)
        if len(shape) == 1:
            return torch.ones(shape)
        residual = name.endswith(("o_proj.weight", "down_proj.weight"))
        std = self.std / math.sqrt(2 * self.architecture.layers) if residual else self.std
        key = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16])))
        return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32) * np.float32(std))

    def _shape(self, name: str) -> tuple[int, ...]:
        a = self.architecture
        kv_size = a.kv_heads * a.head_size
        shapes = {
            "embed_tokens": (self._vocabulary, a.hidden_size),
            "lm_head": (self._vocabulary, a.hidden_size),
            "q_proj": (a.hidden_size, a.hidden_size),
            "k_proj": (kv_size, a.hidden_size),
            "v_proj": (kv_size, a.hidden_size),
            "o_proj": (a.hidden_size, a.hidden_size),
            "gate_proj": (a.ffn_size, a.hidden_size),
            "up_proj": (a.ffn_size, a.hidden_size),
            "down_proj": (a.hidden_size, a.ffn_size),
        }
        return shapes.get(name.split(".")[-2], (a.hidden_size,))


class HuggingFaceFolder:
    """The safetensors files of a Hugging Face folder, one or sharded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def files(self) -> dict[str, Path]:
        """The file that each tensor lies in."""
        index = self.folder / INDEX
        if index.is_file():
            listed: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            return {name: self.folder / file for name, file in listed.items()}
        with safe_open(self.folder / SINGLE, framework="pt") as tensors:
            return dict.fromkeys(tensors.keys(), self.folder / SINGLE)

    def check(self, architecture: Architecture) -> None:
        """Refuse a folder that has not exactly the tensors of such a model.

        Raises:
            ArtifactError: naming one that is missing or one too many.
        """
        if not (self.folder / INDEX).is_file() and not (self.folder / SINGLE).is_file():
            raise ArtifactError(f"{self.folder} has no {SINGLE}", hint="give a checkpoint in safetensors")
        wanted, found = set(layout.names(architecture)), set(self.files)
        for names, what in ((wanted - found, "lacks the tensor"), (found - wanted, "has an unknown tensor")):
            if names:
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                hint = "is it a Llama or a Mixtral in the older names, untied? No other model is imported"
                raise ArtifactError(f"{self.folder} {what} {min(names)!r}{more}", hint=hint)

    def described(self, name: str) -> tuple[tuple[int, ...], torch.dtype]:
        """Shape and number format of a tensor, from the head of its file."""
        with safe_open(self.files[name], framework="pt") as tensors:
            part = tensors.get_slice(name)
            return tuple(part.get_shape()), _DTYPES[part.get_dtype()]

    def tensor(self, name: str) -> torch.Tensor:
        with safe_open(self.files[name], framework="pt") as tensors:
            return tensors.get_tensor(name)
