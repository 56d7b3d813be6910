"""What only a process with Megatron can say, said once for all tests: `python probe.py FOLDER ARCHITECTURES.json`.

For every named architecture: Megatron's logits of the Hugging Face weights in `FOLDER/name` on `FOLDER/ids.npy`, what it
loses, how balanced its experts are, and the checkpoint that it saves. And the bytes of an indexed dataset by Megatron's own builder.
"""

import json
import os
import socket
import sys
from pathlib import Path

import numpy as np
import torch
from bunbuku_contracts import Architecture
from bunbuku_pretrain.job import TrainState
from bunbuku_pretrain.mcore import checkpoint
from bunbuku_pretrain.mcore.feeding import Batch
from bunbuku_pretrain.mcore.mixture import MixtureMeter
from bunbuku_pretrain.mcore.model import LanguageModel, build
from bunbuku_pretrain.mcore.runtime import Runtime, started
from bunbuku_pretrain.mcore.weights import fill
from bunbuku_pretrain.packing import Pieces
from bunbuku_pretrain.reading import Texts, TokenFile
from bunbuku_pretrain.sources import HuggingFaceFolder
from bunbuku_pretrain.training import TrainRun, padded
from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

DOCUMENTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13]]


def main() -> None:
    folder = Path(sys.argv[1])
    architectures = json.loads(sys.argv[2])
    settings = TrainRun(threads=1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    with started(settings) as runtime:
        ids = torch.from_numpy(np.load(folder / "ids.npy"))
        positions = torch.arange(ids.shape[1]).expand_as(ids)
        for name, fields in architectures.items():
            exported = Architecture.model_validate(fields)
            architecture = exported.model_copy(update={"vocab_size": padded(exported.vocab_size)})
            model = build(
                architecture,
                sequence_length=ids.shape[1],
                vocabulary=exported.vocab_size,
                settings=settings,
                runtime=runtime,
            )
            fill(model, architecture, HuggingFaceFolder(folder / name))
            model.eval()
            with torch.no_grad():
                logits = model(ids, positions, None)[..., : exported.vocab_size]
                losses = model(ids[:, :-1], positions[:, :-1], None, labels=ids[:, 1:])
            if name == "dense":
                pack(folder, model, ids, positions)
            balance = balance_of(model, architecture, runtime, ids, positions)
            np.savez(folder / f"{name}.npz", logits=logits.numpy(), losses=losses.numpy(), balance=balance)
            checkpoint.save(
                folder / f"{name}-megatron", TrainState(step=0, tokens=0), model=model, optimizer=None, runtime=runtime
            )
    for dtype in ("uint16", "int32"):
        builder = IndexedDatasetBuilder(str(folder / f"{dtype}.bin"), dtype=np.dtype(dtype).type)
        for document in DOCUMENTS:
            builder.add_document(torch.tensor(document), [len(document)])
        builder.finalize(str(folder / f"{dtype}.idx"))


def pack(folder: Path, model: LanguageModel, ids: torch.Tensor, positions: torch.Tensor) -> None:
    """The losses of documents that share a sequence, and of each on its own."""
    numbers = ids[0].numpy()
    ids[0].numpy().astype("uint16").tofile(folder / "packed.bin")
    pieces = Pieces(np.array([0, 9, 20]), np.array([8, 10, 5]))
    texts = Texts({"packed": TokenFile(bin=folder / "packed.bin", tokens=len(numbers), documents=3)}, dtype="uint16")
    batch = Batch.of([texts.draw("packed", pieces, len(numbers), apart=True)], torch.device("cpu"))
    with torch.no_grad():
        together = model(batch.tokens_BS, positions[:1], batch.mask, labels=batch.labels_BS)[batch.counted_BS > 0]
        alone = [
            model(one[:, :-1], positions[:1, : one.shape[1] - 1], None, labels=one[:, 1:]).flatten()
            for begin, length in zip(*pieces, strict=True)
            for one in [ids[:1, begin : begin + length + 1]]
        ]
    np.savez(folder / "packed.npz", together=together.numpy(), alone=torch.cat(alone).numpy())


def balance_of(
    model: LanguageModel, architecture: Architecture, runtime: Runtime, ids: torch.Tensor, positions: torch.Tensor
) -> float:
    """The load-balancing loss that training would add, before its coefficient, averaged over layers."""
    meter = MixtureMeter.of(model, architecture, runtime)
    if meter is None:
        return float("nan")
    model.train()
    model(ids, positions, None)
    return meter.read().balance


if __name__ == "__main__":
    main()
