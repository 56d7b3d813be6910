"""What Megatron makes of upcycled models: `python upcycle_probe.py FOLDER ARCHITECTURES.json`.

For every named architecture Megatron's logits of the weights in `FOLDER/name`; for every mixture among them also the logits
after Megatron-core's own utility made it of the dense model, and the gradient of the first router in one micro-batch and in two.
"""

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bunbuku_contracts import Architecture
from bunbuku_pretrain.mcore.mixture import MixtureMeter
from bunbuku_pretrain.mcore.model import build
from bunbuku_pretrain.mcore.runtime import Runtime, started
from bunbuku_pretrain.mcore.weights import fill
from bunbuku_pretrain.sources import HuggingFaceFolder
from bunbuku_pretrain.training import TrainRun, padded
from megatron.core.transformer.moe.upcycling_utils import upcycle_state_dict


def main() -> None:
    folder, architectures = Path(sys.argv[1]), json.loads(sys.argv[2])
    settings = TrainRun(threads=1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ids = torch.from_numpy(np.load(folder / "ids.npy"))
    found: dict[str, Any] = {}
    with started(settings) as runtime:
        models = {}
        for name, fields in architectures.items():
            exported = Architecture.model_validate(fields)
            architecture = exported.model_copy(update={"vocab_size": padded(exported.vocab_size)})
            shape: dict[str, Any] = {"sequence_length": ids.shape[1], "vocabulary": exported.vocab_size}
            models[name] = build(architecture, **shape, settings=settings, runtime=runtime)
            fill(models[name], architecture, HuggingFaceFolder(folder / name))
            found[f"{name}/logits"] = logits(models[name], ids, exported.vocab_size)
        for name, model in models.items():
            if name != "dense":
                found[f"{name}/mixture"] = mixture(
                    model, Architecture.model_validate(architectures[name]), runtime, ids
                )
                for batches in (1, 2):
                    found[f"{name}/gradient-{batches}"] = router_gradient(model, ids, batches)
                upcycled = upcycle_state_dict([model], [models["dense"]])["model"]
                model.load_state_dict(upcycled)
                found[f"{name}/megatron"] = logits(model, ids, architectures[name]["vocab_size"])
    np.savez(folder / "found.npz", **found)


def logits(model: torch.nn.Module, ids: torch.Tensor, vocabulary: int) -> np.ndarray:
    model.eval()
    with torch.no_grad():
        return model(ids, torch.arange(ids.shape[1]).expand_as(ids), None)[..., :vocabulary].numpy().copy()


def mixture(model: torch.nn.Module, architecture: Architecture, runtime: Runtime, ids: torch.Tensor) -> np.ndarray:
    """What a step would report of the routers: a row a layer with entropy, Max1/Max2, and the load of every expert."""
    meter = MixtureMeter.of(model, architecture, runtime)
    assert meter is not None
    model.train()
    model(ids, torch.arange(ids.shape[1]).expand_as(ids), None)
    return np.array([[layer.entropy, layer.max1_max2, *layer.load] for layer in meter.read().layers])


def router_gradient(model: torch.nn.Module, ids: torch.Tensor, batches: int) -> np.ndarray:
    """Of the mean over tokens, as training takes it: sums over tokens, divided at the end by their number."""
    model.train()
    model.zero_grad()
    inputs, labels = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    for _ in range(batches):
        model(inputs, torch.arange(inputs.shape[1]).expand_as(inputs), None, labels=labels).sum().backward()
    weight: Any = model.get_parameter("decoder.layers.0.mlp.router.weight")
    return (weight.grad / (batches * labels.numel())).numpy().copy()


if __name__ == "__main__":
    main()
