"""A mixture of our own away from home: the modelling file that travels with it, and what would be lost without.

The file's source is `modeling_bunbuku_moe.py` beside this module, which is also what `hf` offers to those that have the
package.
"""

# Shapes: P inputs, T inputs that an expert gets, D model, E experts.

import json
import shutil
from pathlib import Path

import numpy as np
from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Experts

from bunbuku_moe_upcycle.function import advanced, gates, heard_by
from bunbuku_moe_upcycle.layout import (
    AUTO_MAP,
    MODEL_TYPE,
    MODELING,
    WEIGHTS,
    Place,
    norm_name,
    open_weights,
    router_name,
)


def ship_modeling(folder: Path, experts: Experts) -> None:
    """Put the modelling file into a checkpoint's folder, if transformers has no class of its own for the model."""
    if not experts.is_mixtral:
        shutil.copyfile(Path(__file__).with_name(f"{MODELING}.py"), folder / f"{MODELING}.py")


def complete(folder: Path) -> None:
    """Put the modelling file beside a `bunbuku_moe` that another package wrote, and let `config.json` point to it."""
    path = folder / "config.json"
    config = json.loads(path.read_bytes())
    if config.get("model_type") == MODEL_TYPE:
        shutil.copyfile(Path(__file__).with_name(f"{MODELING}.py"), folder / f"{MODELING}.py")
        path.write_text(
            json.dumps(config | {"auto_map": AUTO_MAP}, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
        )


def check_plain(checkpoint: Artifact[Checkpoint], experts: Experts) -> None:
    """Refuse to make a plain Mixtral of what is none.

    Raises:
        BunbukuError: naming what a Mixtral has not, or how far its layers would be off.
    """
    if experts.layers is not None or experts.shared_ffn_size is not None:
        what = "layers without experts" if experts.layers is not None else "a network beside the experts"
        raise BunbukuError(f"{checkpoint.dir} has {what}, and a plain Mixtral has none", hint="leave `form` at 'own'")
    if not experts.is_mixtral:
        router = "a normalised router" if experts.normalization is not None else "gates of a softmax over all experts"
        raise BunbukuError(
            f"{checkpoint.dir} has {router}, and as a plain Mixtral its layers would answer otherwise by up to "
            f"{error_as_mixtral(checkpoint):.2g} of their largest answer",
            hint="no router matrix gives the same gates: leave `form` at 'own', or upcycle and train as a Mixtral",
        )


def error_as_mixtral(checkpoint: Artifact[Checkpoint]) -> float:
    """How far a layer's answers would be off with a Mixtral's gates, relative to the largest, in the worst layer.

    The inputs are random ones, as they come out of the layer's norm. The experts chosen are the same either way.
    """
    architecture, weights = checkpoint.manifest.spec.architecture, open_weights(checkpoint)
    assert architecture.experts is not None
    plain = architecture.experts.model_copy(update={"normalization": None, "gate_order": "choice_first"})
    worst = 0.0
    for layer in architecture.mixture_layers:
        inputs_PD = heard_by(layer, weights.read(norm_name(layer)))
        logits_PE = inputs_PD @ weights.read(router_name(layer)).astype(np.float64).T
        with_PE, without_PE = gates(logits_PE, architecture.experts), gates(logits_PE, plain)
        right_PD, wrong_PD = np.zeros_like(inputs_PD), np.zeros_like(inputs_PD)
        for expert in range(architecture.experts.count):
            here = np.flatnonzero(with_PE[:, expert])
            if not here.size:
                continue
            answer_TD = inputs_PD[here]
            for weight in WEIGHTS:
                matrix = weights.read(Place(layer, expert, weight).name)
                answer_TD = advanced(weight, matrix, inputs_PD[here], answer_TD)
            right_PD[here] += with_PE[here, expert, None] * answer_TD
            wrong_PD[here] += without_PE[here, expert, None] * answer_TD
        worst = max(worst, float(np.abs(wrong_PD - right_PD).max() / np.abs(right_PD).max()))
    return worst
