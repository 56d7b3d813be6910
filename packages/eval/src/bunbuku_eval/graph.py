"""A graph drawn in layers, what is made below what it is made from.

The steps are those of Sugiyama, Tagawa & Toda 1981 (IEEE Trans. SMC 11(2)): layers, then an order within each layer by
the mean place of the neighbours, then coordinates. An edge that crosses layers is led through an invisible vertex in
each. Coordinates are the nearest to the neighbours' mean that keep order and distance (an isotonic regression).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import NamedTuple

NODE_WIDTH, NODE_HEIGHT, LAYER_HEIGHT, GAP, THREAD = 148.0, 50.0, 92.0, 16.0, 12.0
SWEEPS = 12


class Vertex(NamedTuple):
    """A box: where it leads when clicked, its class, and three lines in it."""

    key: str
    kind: str
    name: str
    stage: str
    note: str
    href: str


type Edge = tuple[str, str]
"""From what was read to what was made."""


@dataclass
class _Layout:
    """Vertices and the invisible ones, by layer and by place in it."""

    layers: list[list[str]] = field(default_factory=list[list[str]])
    above: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    below: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    threads: dict[Edge, list[str]] = field(default_factory=dict[Edge, list[str]])
    x: dict[str, float] = field(default_factory=dict[str, float])
    real: set[str] = field(default_factory=set[str])

    def width(self, key: str) -> float:
        return NODE_WIDTH if key in self.real else THREAD

    def neighbours(self, key: str, *, downward: bool) -> list[str]:
        return (self.above if downward else self.below)[key]


def draw(vertices: Sequence[Vertex], edges: Sequence[Edge], *, title: str) -> str:
    """The graph as SVG; vertices are links."""
    edges = list(dict.fromkeys(edges))
    if not vertices:
        return ""
    layout = _layered(vertices, edges)
    _order(layout)
    _place(layout)
    left = min(layout.x[key] - layout.width(key) / 2 for layer in layout.layers for key in layer) - 4
    right = max(layout.x[key] + layout.width(key) / 2 for layer in layout.layers for key in layer) + 4
    height = LAYER_HEIGHT * (len(layout.layers) - 1) + NODE_HEIGHT + 8
    level = {key: index for index, layer in enumerate(layout.layers) for key in layer}
    parts = [_edge(layout, level, edge) for edge in edges]
    parts += [_box(vertex, layout.x[vertex.key], level[vertex.key] * LAYER_HEIGHT + 4) for vertex in vertices]
    box = f"{left:.1f} 0 {right - left:.1f} {height:.1f}"
    return (
        f'<svg class="graph" viewBox="{box}" style="min-width:{(right - left) * 0.75:.0f}px" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def depths(keys: Iterable[str], edges: Iterable[Edge]) -> dict[str, int]:
    """Layer of each vertex: below all it is made from; what is made from nothing, just above its first use.

    >>> depths("abcd", [("a", "b"), ("b", "c"), ("d", "c")])
    {'a': 0, 'b': 1, 'c': 2, 'd': 1}
    """
    sources: dict[str, list[str]] = {key: [] for key in keys}
    uses: dict[str, list[str]] = {key: [] for key in sources}
    for source, made in edges:
        sources[made].append(source)
        uses[source].append(made)
    found: dict[str, int] = {}

    def depth(key: str) -> int:
        if key not in found:
            found[key] = max((depth(source) + 1 for source in sources[key]), default=0)
        return found[key]

    for key in sources:
        depth(key)
    late = {key: min(found[use] for use in uses[key]) - 1 for key in sources if not sources[key] and uses[key]}
    return {key: late.get(key, found[key]) for key in sources}


def spread(wanted: Sequence[float], widths: Sequence[float], *, gap: float = GAP) -> list[float]:
    """Centres nearest to the wanted ones, in the same order, so that no two boxes are nearer than `gap`.

    Least squares under the order: pool adjacent violators (Ayer et al. 1955).

    >>> spread([0.0, 0.0], [10.0, 10.0], gap=2.0)
    [-6.0, 6.0]
    """
    offsets = [0.0]
    for before, after in pairwise(widths):
        offsets.append(offsets[-1] + (before + after) / 2 + gap)
    pools: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        total, size = want - offset, 1
        while pools and pools[-1][0] / pools[-1][1] > total / size:
            before_total, before_size = pools.pop()
            total, size = total + before_total, size + before_size
        pools.append((total, size))
    levels = [total / size for total, size in pools for _ in range(size)]
    return [level + offset for level, offset in zip(levels, offsets, strict=True)]


def _layered(vertices: Sequence[Vertex], edges: Sequence[Edge]) -> _Layout:
    level = depths([vertex.key for vertex in vertices], edges)
    first = min(level.values())
    layout = _Layout(layers=[[] for _ in range(max(level.values()) - first + 1)])
    for vertex in vertices:
        layout.layers[level[vertex.key] - first].append(vertex.key)
        layout.real.add(vertex.key)
    for number, (source, made) in enumerate(edges):
        line = [source]
        for at in range(level[source] + 1, level[made]):
            line.append(f"thread {number} {at}")
            layout.layers[at - first].append(line[-1])
        line.append(made)
        layout.threads[source, made] = line
        for upper, lower in pairwise(line):
            layout.below.setdefault(upper, []).append(lower)
            layout.above.setdefault(lower, []).append(upper)
    for layer in layout.layers:
        for key in layer:
            layout.above.setdefault(key, [])
            layout.below.setdefault(key, [])
    return layout


def _order(layout: _Layout) -> None:
    place = {key: float(index) for layer in layout.layers for index, key in enumerate(layer)}
    for sweep in range(SWEEPS):
        downward = sweep % 2 == 0
        for layer in layout.layers if downward else reversed(layout.layers):
            mean = {
                key: _mean([place[n] for n in layout.neighbours(key, downward=downward)], place[key]) for key in layer
            }
            layer.sort(key=lambda key: mean[key])
            place |= {key: float(index) for index, key in enumerate(layer)}


def _place(layout: _Layout) -> None:
    for layer in layout.layers:
        middle = spread([0.0] * len(layer), [layout.width(key) for key in layer])
        layout.x |= dict(zip(layer, middle, strict=True))
    for sweep in range(SWEEPS):
        downward = sweep % 2 == 0
        for layer in layout.layers if downward else reversed(layout.layers):
            wanted = [
                _mean([layout.x[n] for n in layout.neighbours(key, downward=downward)], layout.x[key]) for key in layer
            ]
            layout.x |= dict(zip(layer, spread(wanted, [layout.width(key) for key in layer]), strict=True))


def _edge(layout: _Layout, level: Mapping[str, int], edge: Edge) -> str:
    line = layout.threads[edge]
    path = ""
    for upper, lower in pairwise(line):
        y0 = level[upper] * LAYER_HEIGHT + 4 + NODE_HEIGHT
        y1 = level[lower] * LAYER_HEIGHT + 4
        if upper not in layout.real:
            path += f" L{layout.x[upper]:.1f},{y0:.1f}"  # straight through the layer of other boxes
        else:
            path += f"M{layout.x[upper]:.1f},{y0:.1f}"
        bend = (y1 - y0) / 2
        path += (
            f" C{layout.x[upper]:.1f},{y0 + bend:.1f} {layout.x[lower]:.1f},{y1 - bend:.1f} "
            f"{layout.x[lower]:.1f},{y1:.1f}"
        )
    return f'<path class="edge" d="{path}"/>'


def _box(vertex: Vertex, x: float, y: float) -> str:
    left = x - NODE_WIDTH / 2
    return (
        f'<a href="{escape(vertex.href)}"><g class="node kind-{escape(vertex.kind)}">'
        f'<rect class="box" x="{left:.1f}" y="{y:.1f}" width="{NODE_WIDTH:.0f}" height="{NODE_HEIGHT:.0f}" rx="7"/>'
        f'<rect class="stripe" x="{left:.1f}" y="{y + 7:.1f}" width="4" height="{NODE_HEIGHT - 14:.0f}" rx="2"/>'
        f'<text class="node-name" x="{left + 13:.1f}" y="{y + 19:.1f}">{escape(_cut(vertex.name, 19))}</text>'
        f'<text class="node-stage" x="{left + 13:.1f}" y="{y + 32:.1f}">{escape(_cut(vertex.stage, 23))}</text>'
        f'<text class="node-note" x="{left + 13:.1f}" y="{y + 44:.1f}">{escape(_cut(vertex.note, 25))}</text>'
        f"<title>{escape(vertex.name)}: {escape(vertex.stage)}</title></g></a>"
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
