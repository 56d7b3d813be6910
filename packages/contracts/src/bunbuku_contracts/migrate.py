"""Moves an artifact of an older schema to the present one, a named step at a time.

A reader takes exactly one schema. When a kind's schema moves on, the function that moves an artifact along is put here,
under the kind and the version that it starts from; whoever still holds old artifacts calls `bunbuku migrate`.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bunbuku_contracts.artifact import MANIFEST, Artifact, Header, load
from bunbuku_contracts.draft import clear_errors, sync_folder, write_synced
from bunbuku_contracts.errors import ArtifactError
from bunbuku_contracts.kinds import KINDS
from bunbuku_contracts.manifest import Spec

type Step = Callable[[dict[str, Any]], dict[str, Any]]
"""From a manifest of one schema version, as JSON, to that of the next."""

STEPS: Mapping[tuple[str, int], Step] = {}
"""Kind and the schema version a step starts from. Empty: every kind is still at its first."""


def migrate(dir: Path, steps: Mapping[tuple[str, int], Step] = STEPS) -> Artifact[Any]:
    """Bring the artifact at `dir` to the schema this version reads; one that is there already is left as it is.

    Raises:
        ArtifactError: The kind is unknown, the schema is newer than ours, or a step is missing.
    """
    header = Header.read(dir)
    spec = KINDS.get(header.kind)
    if spec is None or header.schema_version >= spec.schema_version:
        return load(dir, Spec)
    data = json.loads((dir / MANIFEST).read_bytes())
    for version in range(header.schema_version, spec.schema_version):
        step = steps.get((header.kind, version))
        if step is None:
            hint = "make the artifact again"
            raise ArtifactError(f"no step leads {header.kind!r} from schema {version} to {version + 1}", hint=hint)
        data = {**step(data), "schema_version": version + 1}
    with clear_errors(dir):
        new = dir / f".{MANIFEST}.new"
        write_synced(new, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
        new.replace(dir / MANIFEST)
        sync_folder(dir)
    return load(dir, Spec)
