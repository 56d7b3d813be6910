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
from bunbuku_contracts import Architecture, RouterNormalization
from bunbuku_pretrain.mcore.mixture import MixtureMeter
from bunbuku_pretrain.mcore.model import build
from bunbuku_pretrain.mcore.router import normalize
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
            architecture = Architecture.model_validate(architectures[name])
            if architecture.experts is not None:
                found |= {f"{name}/{what}": value for what, value in mixture(model, architecture, runtime, ids).items()}
                layer = architecture.mixture_layers[0]
                for batches in (1, 2):
                    found[f"{name}/gradient-{batches}"] = router_gradient(model, layer, ids, batches)
                # Megatron-core's utility knows neither dense layers among mixtures nor a network beside the experts.
                if architecture.experts.layers is None and architecture.experts.shared_ffn_size is None:
                    upcycled = upcycle_state_dict([model], [models["dense"]])["model"]
                    model.load_state_dict(upcycled)
                    found[f"{name}/megatron"] = logits(model, ids, architecture.vocab_size)
    np.savez(folder / "found.npz", **found, **normalized())


def logits(model: torch.nn.Module, ids: torch.Tensor, vocabulary: int) -> np.ndarray:
    model.eval()
    with torch.no_grad():
        return model(ids, torch.arange(ids.shape[1]).expand_as(ids), None)[..., :vocabulary].numpy().copy()


def mixture(model: torch.nn.Module, architecture: Architecture, runtime: Runtime, ids: torch.Tensor) -> dict[str, Any]:
    """What a step would report of the routers: a row a layer with entropy, Max1/Max2, what is dropped, and every load."""
    meter = MixtureMeter.of(model, architecture, runtime)
    assert meter is not None
    model.train()
    model(ids, torch.arange(ids.shape[1]).expand_as(ids), None)
    read = meter.read()
    rows = np.array([[layer.entropy, layer.max1_max2, layer.dropped, *layer.load] for layer in read.layers])
    return {"mixture": rows, "z-loss": read.z_loss, "balance": read.balance}


def normalized() -> dict[str, Any]:
    """What the router's normalisation makes of logits, equal ones in the last row, and the gradient of a weighted sum."""
    rule = RouterNormalization(scale=1.5)
    raw = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    raw[-1] = 3.0
    raw.requires_grad_()
    made = normalize(raw, rule)
    (made * torch.arange(8.0)).sum().backward()
    assert raw.grad is not None
    return {"raw": raw.detach().numpy(), "normalized": made.detach().numpy(), "slope": raw.grad.numpy()}


def router_gradient(model: torch.nn.Module, layer: int, ids: torch.Tensor, batches: int) -> np.ndarray:
    """Of the mean over tokens, as training takes it: sums over tokens, divided at the end by their number."""
    model.train()
    model.zero_grad()
    inputs, labels = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    for _ in range(batches):
        model(inputs, torch.arange(inputs.shape[1]).expand_as(inputs), None, labels=labels).sum().backward()
    weight: Any = model.get_parameter(f"decoder.layers.{layer}.mlp.router.weight")
    return (weight.grad / (batches * labels.numel())).numpy().copy()


if __name__ == "__main__":
    main()
