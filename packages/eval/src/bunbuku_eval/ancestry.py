"""All that a set of artifacts came from, each thing once: the graph behind the page.

Contracts gives the lineage of one artifact as a tree in which a shared ancestor comes again under everything made from
it. Here the trees of several artifacts are laid together by content.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bunbuku_contracts import Artifact, Manifest, Node, lineage


class Input(NamedTuple):
    """What a thing was made from."""

    role: str
    key: str
    part: str | None


@dataclass
class Entry:
    """One artifact, or something from outside the pipeline."""

    key: str
    """Content digest."""
    dir: Path
    manifest: Manifest[Any] | None
    """`None` for what came from outside."""
    found: Artifact[Any] | None
    """The artifact, if it still lies there with this content."""
    inputs: tuple[Input, ...] = ()
    depth: int = 0
    """Steps from the furthest thing it was made from."""

    @property
    def name(self) -> str:
        """The last part of its path, without a milestone's mark."""
        return self.dir.name

    @property
    def kind(self) -> str:
        return self.manifest.kind if self.manifest else "outside"

    @property
    def stage(self) -> str:
        return self.manifest.recipe.stage if self.manifest else ""


@dataclass
class Ancestry:
    """The graph: entries by content, everything after what it was made from."""

    entries: dict[str, Entry] = field(default_factory=dict[str, Entry])

    @classmethod
    def of(cls, artifacts: Mapping[str, Artifact[Any]]) -> "Ancestry":
        """The graph of these artifacts and all they came from."""
        graph = cls()
        for artifact in artifacts.values():
            graph._add(lineage(artifact))
        return graph

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    def __getitem__(self, key: str) -> Entry:
        return self.entries[key]

    def get(self, key: str) -> Entry | None:
        return self.entries.get(key)

    def ancestors(self, key: str) -> Iterator[Entry]:
        """What the thing was made from, nearest first, each once."""
        seen, waiting = {key}, [key]
        while waiting:
            below = [one.key for key in waiting for one in self.entries[key].inputs if one.key not in seen]
            waiting = list(dict.fromkeys(below))
            seen |= set(waiting)
            yield from (self.entries[key] for key in waiting)

    def places(self, base: Path) -> dict[str, str]:
        """Where each thing lay, as it would be written in a shell that stands in `base`."""
        return {entry.key: os.path.relpath(entry.dir, base) for entry in self}

    def _add(self, node: Node) -> Entry:
        key = node.named.partition("#")[0]
        known = self.entries.get(key)
        if known:
            if known.found is None and node.found is not None:
                known.found, known.dir = node.found, node.dir
            return known
        inputs: list[Input] = []
        depth = 0
        for child in node.children():
            below = self._add(child)
            inputs.append(Input(child.role, below.key, child.named.partition("#")[2] or None))
            depth = max(depth, below.depth + 1)
        entry = Entry(key, node.dir, node.manifest, node.found, tuple(inputs), depth)
        self.entries[key] = entry
        return entry
