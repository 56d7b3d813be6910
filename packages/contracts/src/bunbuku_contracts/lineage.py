"""Lineage: every artifact carries the manifests of all it came from, each named by its content digest.

The manifests travel in `lineage/`, so that the tree of an artifact can be printed on a machine that has nothing else.
Where the ancestors still lie is found from the paths in `run.inputs`, and checked by content.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bunbuku_contracts.artifact import MANIFEST, Artifact, load
from bunbuku_contracts.errors import ArtifactError
from bunbuku_contracts.kinds import KINDS
from bunbuku_contracts.manifest import LINEAGE, Manifest, Spec
from bunbuku_contracts.roles import One


def write_lineage(folder: Path, inputs: Iterable[One]) -> None:
    """Copy the manifests of `inputs`, and all that they carry, into `folder/lineage`."""
    target = folder / LINEAGE
    for one in inputs:
        if isinstance(one, Path):
            continue
        target.mkdir(exist_ok=True)
        (target / f"{one.content}.json").write_bytes((one.dir / MANIFEST).read_bytes())
        for carried in sorted((one.dir / LINEAGE).glob("*.json")):
            (target / carried.name).write_bytes(carried.read_bytes())


@dataclass(frozen=True)
class Node:
    """One artifact of a lineage, or something from outside the pipeline."""

    role: str
    """What it was to the artifact above it; empty at the root."""
    named: str
    """Content digest, with `#part` if a part was read."""
    manifest: Manifest[Any] | None
    """`None` for what came from outside."""
    dir: Path
    """Where it lay when it was used, as far as that can be told from here."""
    carried: Path
    """Folder with the manifests that the root carries."""

    @cached_property
    def found(self) -> Artifact[Any] | None:
        """The artifact itself, if it still lies there with the same content."""
        if self.manifest is None:
            return None
        try:
            there = load(self.dir, Spec)
        except ArtifactError:
            return None
        return there if there.content == self.named.partition("#")[0] else None

    def children(self) -> Iterator["Node"]:
        """What it was made from, in the order of its recipe."""
        if self.manifest is None:
            return
        for role, content in self.manifest.recipe.inputs.items():
            where = Path(os.path.normpath(self.dir / self.manifest.run.inputs.get(role, "?")))
            carried = self.carried / f"{content.partition('#')[0]}.json"
            yield Node(role, content, _read(carried) if carried.is_file() else None, where, self.carried)

    def walk(self) -> Iterator["Node"]:
        """This node and all below it, depth first; one that is met again comes again."""
        yield self
        for child in self.children():
            yield from child.walk()


def lineage(artifact: Artifact[Any]) -> Node:
    """The tree of all that `artifact` came from."""
    return Node("", artifact.content, artifact.manifest, artifact.dir, artifact.dir / LINEAGE)


def _read(path: Path) -> Manifest[Any]:
    try:
        kind = json.loads(path.read_bytes())["kind"]
        return Manifest[KINDS[kind]].model_validate_json(path.read_bytes())
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{path} does not read as a manifest", hint="bunbuku verify says what was altered"
        ) from error
