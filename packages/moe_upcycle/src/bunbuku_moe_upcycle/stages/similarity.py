"""`similarity`: how alike the experts of each layer are, over any number of checkpoints."""

from collections.abc import Mapping
from typing import NamedTuple

from bunbuku_contracts import (
    Architecture,
    Artifact,
    BunbukuError,
    Checkpoint,
    Config,
    Draft,
    Picture,
    Report,
    Section,
    Table,
    stage,
    write_sections,
)
from pydantic import NonNegativeInt

from bunbuku_moe_upcycle.checks import check_mixture
from bunbuku_moe_upcycle.layout import open_weights
from bunbuku_moe_upcycle.similarity import DECIMALS, Matrix, expert_cosines, mean_pairwise


class SimilarityConfig(Config):
    """What is drawn. Every layer of every checkpoint is measured."""

    heat_map_layers: tuple[NonNegativeInt, ...] | None = None
    """Layers, from 0, whose experts are drawn one by one; the first, the middle and the last if left out."""


class Measured(NamedTuple):
    """The cosines of one checkpoint, by layer."""

    checkpoint: Artifact[Checkpoint]
    layers: dict[int, Matrix]

    @property
    def architecture(self) -> Architecture:
        return self.checkpoint.manifest.spec.architecture

    @property
    def experts(self) -> int:
        return self.architecture.experts.count if self.architecture.experts else 0

    @property
    def means(self) -> list[float]:
        """Mean pairwise cosine of each layer."""
        return [mean_pairwise(cosines) for cosines in self.layers.values()]

    @property
    def mean(self) -> float:
        """Mean over layers."""
        return round(sum(self.means) / len(self.means), DECIMALS)


@stage("moe_upcycle.similarity", revision=1)
def similarity(draft: Draft, config: SimilarityConfig, checkpoints: dict[str, Artifact[Checkpoint]]) -> Report:
    """Measure how alike the experts of each layer are: mean pairwise cosine of their weights.

    Give every stage of a model's life by name, such as `--checkpoints upcycled=DIR --checkpoints trained=DIR`, in Hugging
    Face layout. Copies have similarity 1, networks trained apart about 0; a model whose experts stay alike wastes them.
    """
    ordered = dict(sorted(checkpoints.items(), key=lambda item: (item[1].manifest.spec.tokens_seen, item[0])))
    for name, checkpoint in ordered.items():
        check_mixture(name, checkpoint)
    chosen = {name: _chosen_layers(config, name, checkpoint) for name, checkpoint in ordered.items()}
    weights = {name: open_weights(checkpoint) for name, checkpoint in ordered.items()}
    measured = {name: Measured(checkpoint, {}) for name, checkpoint in ordered.items()}
    places = [(name, layer) for name, of in measured.items() for layer in range(of.architecture.layers)]
    for name, layer in draft.track(places, unit="layers", total=len(places)):
        measured[name].layers[layer] = expert_cosines(weights[name], layer, measured[name].experts)
    for name, of in measured.items():
        draft.metrics[f"similarity.{name}.mean"] = of.mean
        draft.metrics |= {f"similarity.{name}.layer.{layer:03d}": mean for layer, mean in enumerate(of.means)}
    write_sections(draft, _sections(draft, measured, chosen))
    return Report(title="Expert similarity")


def _chosen_layers(config: SimilarityConfig, name: str, checkpoint: Artifact[Checkpoint]) -> tuple[int, ...]:
    layers = checkpoint.manifest.spec.architecture.layers
    if config.heat_map_layers is None:
        return tuple(sorted({0, layers // 2, layers - 1}))
    beyond = [layer for layer in config.heat_map_layers if layer >= layers]
    if beyond or not config.heat_map_layers:
        raise BunbukuError(
            f"`heat_map_layers` {config.heat_map_layers!r} does not fit {name!r}, whose layers are 0 to {layers - 1}",
            hint="leave it out to see the first, the middle and the last",
        )
    return tuple(sorted(set(config.heat_map_layers)))


def _sections(
    draft: Draft, measured: Mapping[str, Measured], chosen: Mapping[str, tuple[int, ...]]
) -> tuple[Section, ...]:
    from bunbuku_moe_upcycle.pictures import heat_maps, layer_curves

    layer_curves(draft.dir / "layers.png", {name: of.means for name, of in measured.items()})
    pictures = [Picture(path="layers.png", caption="Mean pairwise cosine of the experts' weights, by layer.")]
    lowest = min(float(measured[name].layers[layer].min()) for name in measured for layer in chosen[name])
    for number, (name, of) in enumerate(measured.items(), start=1):
        path = f"experts-{number:02d}.png"
        maps = {layer: of.layers[layer] for layer in chosen[name]}
        heat_maps(draft.dir / path, name, maps, lowest=lowest)
        pictures.append(Picture(path=path, caption=f"{name}: cosine of every expert with every other."))
    columns = ("checkpoint", "tokens seen", "step", "experts", "mean", "least alike layer", "most alike layer")
    rows = tuple(
        (
            name,
            of.checkpoint.manifest.spec.tokens_seen,
            of.checkpoint.manifest.spec.step,
            of.experts,
            of.mean,
            min(of.means),
            max(of.means),
        )
        for name, of in measured.items()
    )
    explained = (
        "The three matrices of an expert are flattened into one vector; shown is the cosine between the vectors of two "
        "experts of one layer, averaged over all pairs. Copies have 1, networks trained apart about 0."
    )
    table = Table(columns=columns, rows=rows, caption="Mean pairwise cosine, over all layers and of single layers.")
    return (Section(title="Expert similarity", paragraphs=(explained,), tables=(table,), pictures=tuple(pictures)),)
