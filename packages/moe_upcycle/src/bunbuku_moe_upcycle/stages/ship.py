"""`ship`: a checkpoint with experts that opens where this package is not installed."""

import json
import shutil
from typing import Literal

from bunbuku_contracts import Artifact, Checkpoint, Config, Draft, stage

from bunbuku_moe_upcycle.checks import check_mixture
from bunbuku_moe_upcycle.layout import AUTO_MAP, MODELING
from bunbuku_moe_upcycle.remote import check_plain, ship_modeling
from bunbuku_moe_upcycle.upcycling import write_json


class ShipConfig(Config):
    """For whom it is made."""

    form: Literal["own", "mixtral"] = "own"
    """`own`: what is no Mixtral takes its modelling file along, and whoever loads it says `trust_remote_code=True`.
    `mixtral`: what opens everywhere without that, which only what computes as a Mixtral does can become."""


@stage("moe_upcycle.ship", revision=1)
def ship(draft: Draft, config: ShipConfig, checkpoint: Artifact[Checkpoint]) -> Checkpoint:
    """Make a checkpoint with experts ready for programs that do not have this package.

    With a router or layers that Mixtral does not have, the folder gets `modeling_bunbuku_moe.py` and `config.json` points to it, so that transformers 4
    and 5 open it with `trust_remote_code=True`. Without one it is a Mixtral already and is copied as it is.
    """
    experts = check_mixture("checkpoint", checkpoint, stage="ship")
    if config.form == "mixtral":
        check_plain(checkpoint, experts)
    for file in draft.track(checkpoint.files(), unit="files", total=len(checkpoint.files())):
        (draft.dir / file.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(checkpoint.path(file), draft.dir / file.path)
    if not experts.is_mixtral:
        (draft.dir / f"{MODELING}.py").unlink(missing_ok=True)
        ship_modeling(draft.dir, experts)
        path = draft.dir / "config.json"
        write_json(path, json.loads(path.read_bytes()) | {"auto_map": AUTO_MAP})
    return checkpoint.manifest.spec
