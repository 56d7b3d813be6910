"""The modelling file that travels with a checkpoint, so that programs without this package open it.

Its source is `modeling_bunbuku_moe.py` beside this module, which is also what `hf` offers to those that have the package.
"""

import shutil
from pathlib import Path

from bunbuku_contracts import Experts

from bunbuku_moe_upcycle.layout import MODELING


def ship_modeling(folder: Path, experts: Experts) -> None:
    """Put the modelling file into a checkpoint's folder, if transformers has no class of its own for the model."""
    if experts.normalization is not None:
        shutil.copyfile(Path(__file__).with_name(f"{MODELING}.py"), folder / f"{MODELING}.py")
