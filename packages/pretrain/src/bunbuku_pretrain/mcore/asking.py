"""What Megatron makes of some ids with the weights of a checkpoint."""

import numpy as np
import torch

from bunbuku_pretrain.logits import Asked
from bunbuku_pretrain.mcore import checkpoint
from bunbuku_pretrain.mcore.model import build
from bunbuku_pretrain.mcore.runtime import started
from bunbuku_pretrain.training import TrainRun


def logits(asked: Asked) -> np.ndarray:
    """Logits of every position over the ids in use."""
    settings = TrainRun(device="cpu", threads=None)
    ids = torch.from_numpy(np.load(asked.ids))
    with started(settings) as runtime:
        model = build(
            asked.architecture,
            sequence_length=ids.shape[1],
            vocabulary=asked.vocabulary,
            settings=settings,
            runtime=runtime,
        )
        checkpoint.load(asked.folder, model=model, optimizer=None)
        model.eval()
        with torch.no_grad():
            found = model(ids, torch.arange(ids.shape[1]).expand_as(ids), None)
    return found[..., : asked.vocabulary].float().numpy()
