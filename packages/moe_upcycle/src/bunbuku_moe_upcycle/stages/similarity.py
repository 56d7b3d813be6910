"""`similarity`: how alike the experts of each layer are, over any number of checkpoints."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np
from bunbuku_contracts import (
    Architecture,
    Artifact,
    BunbukuError,
    Checkpoint,
    Config,
    Corpus,
    Curve,
    Draft,
    Picture,
    Report,
    Section,
    Table,
    stage,
    write_sections,
)
from pydantic import NonNegativeInt, PositiveInt

from bunbuku_moe_upcycle.checks import check_mixture
from bunbuku_moe_upcycle.function import Doubles, heard_by
from bunbuku_moe_upcycle.layout import norm_name, open_weights
from bunbuku_moe_upcycle.similarity import DECIMALS, MEASURES, Alikeness, alikeness, mean_pairwise


class SimilarityConfig(Config):
    """What is compared on what, and drawn. Every layer of every checkpoint is measured."""

    inputs: PositiveInt = 64
    """Inputs on which the experts' answers and inner units are compared: what the layers hear of the corpus if one is
    given, else random vectors that went through the layer's norm."""
    heat_map_layers: tuple[NonNegativeInt, ...] | None = None
    """Layers, from 0, whose experts are drawn one by one; the first, the middle and the last if left out."""
    drawn: Literal["ends", "all"] = "ends"
    """Checkpoints that are drawn layer by layer and expert by expert: of a run (`copy@start`, `copy@step-000100`) the first and
    the last, or all. Every one is measured, and is in the table and in the curves."""


class Measured(NamedTuple):
    """What was found of one checkpoint, by layer."""

    checkpoint: Artifact[Checkpoint]
    layers: dict[int, Alikeness]

    @property
    def architecture(self) -> Architecture:
        return self.checkpoint.manifest.spec.architecture

    @property
    def experts(self) -> int:
        return self.architecture.experts.count if self.architecture.experts else 0

    def means(self, measure: str) -> list[float]:
        """Mean over pairs, layer by layer."""
        return [mean_pairwise(getattr(alike, measure)) for alike in self.layers.values()]

    def mean(self, measure: str) -> float:
        """Mean over layers."""
        means = self.means(measure)
        return round(sum(means) / len(means), DECIMALS)


@stage("moe_upcycle.similarity", revision=3)
def similarity(
    draft: Draft,
    config: SimilarityConfig,
    checkpoints: dict[str, Artifact[Checkpoint]],
    corpus: Artifact[Corpus] | None = None,
) -> Report:
    """Measure how alike the experts of each layer are: in their weights, their answers and their inner units.

    Give every stage of a model's life by name, such as `--checkpoints upcycled=DIR --checkpoints trained=DIR`, in Hugging
    Face layout. Copies have similarity 1, networks trained apart about 0; a model whose experts stay alike wastes them.
    Checkpoints of several runs are told apart by what stands before `@` in their names.
    """
    ordered = dict(sorted(checkpoints.items(), key=lambda item: (item[1].manifest.spec.tokens_seen, item[0])))
    for name, checkpoint in ordered.items():
        check_mixture(name, checkpoint)
    drawn = ends(list(ordered)) if config.drawn == "ends" else list(ordered)
    chosen = {name: _chosen_layers(config, name, ordered[name]) for name in drawn}
    measured = {name: Measured(checkpoint, {}) for name, checkpoint in ordered.items()}
    total = sum(len(of.architecture.mixture_layers) for of in measured.values())
    progress = iter(draft.track(range(total), unit="layers", total=total))
    for of in measured.values():
        weights = open_weights(of.checkpoint)
        heard = _heard(config, of, corpus) if corpus is not None else None
        for layer in of.architecture.mixture_layers:
            gain_D = weights.read(norm_name(layer))
            inputs_PD = heard[layer] if heard is not None else heard_by(layer, gain_D, config.inputs)
            of.layers[layer] = alikeness(weights, layer, of.experts, inputs_PD)
            next(progress)
    for name, of in measured.items():
        for measure, prefix in zip(MEASURES, ("similarity", "answers", "units"), strict=True):
            draft.metrics[f"{prefix}.{name}.mean"] = of.mean(measure)
            means = zip(of.layers, of.means(measure), strict=True)
            draft.metrics |= {f"{prefix}.{name}.layer.{layer:03d}": mean for layer, mean in means}
    write_sections(draft, (_section(draft, measured, chosen),))
    return Report(title="Expert similarity")


def _heard(config: SimilarityConfig, of: Measured, corpus: Artifact[Corpus]) -> list[Doubles]:
    """What each layer hears of the corpus."""
    from bunbuku_moe_upcycle.listening import Listener, documents

    windows = list(Listener(of.checkpoint).listen(documents(corpus, tokens=config.inputs), tokens=config.inputs))
    if sum(len(window.ids) for window in windows) < 2:
        raise BunbukuError(f"{corpus.dir} has no text to listen to", hint="give a corpus with documents")
    layers = range(of.architecture.layers)
    return [np.concatenate([window.hidden_TD[layer] for window in windows]).astype(np.float64) for layer in layers]


def _chosen_layers(config: SimilarityConfig, name: str, checkpoint: Artifact[Checkpoint]) -> tuple[int, ...]:
    layers = checkpoint.manifest.spec.architecture.mixture_layers
    if config.heat_map_layers is None:
        return tuple(sorted({layers[0], layers[len(layers) // 2], layers[-1]}))
    beyond = [layer for layer in config.heat_map_layers if layer not in layers]
    if beyond or not config.heat_map_layers:
        raise BunbukuError(
            f"`heat_map_layers` {config.heat_map_layers!r} does not fit {name!r}, which has experts in layers "
            f"{', '.join(map(str, layers))}",
            hint="leave it out to see the first, the middle and the last",
        )
    return tuple(sorted(set(config.heat_map_layers)))


def series(names: Mapping[str, Artifact[Checkpoint]]) -> dict[str, list[str]]:
    """Checkpoints of one run after the other: those with the same word before `@`, or all if no name has one."""
    if not any("@" in name for name in names):
        return {"all": list(names)}
    runs = groupby(sorted(names, key=lambda name: name.partition("@")[0]), key=lambda name: name.partition("@")[0])
    found = {run: [name for name in names if name in set(of)] for run, of in ((run, list(of)) for run, of in runs)}
    return {run: of for run, of in found.items() if len(of) > 1}


def ends(names: Sequence[str]) -> list[str]:
    """The first and the last of each run, and what belongs to none.

    >>> ends(["dense", "a@1", "b@1", "a@2", "a@3", "b@2"])
    ['dense', 'a@1', 'b@1', 'a@3', 'b@2']
    """
    run_of = {name: name.partition("@")[0] if "@" in name else name for name in names}
    first = {run: name for name, run in reversed(run_of.items())}
    last = {run: name for name, run in run_of.items()}
    return [name for name, run in run_of.items() if name in (first[run], last[run])]


def _section(draft: Draft, measured: Mapping[str, Measured], chosen: Mapping[str, tuple[int, ...]]) -> Section:
    explained = (
        "Weights: the three matrices of an expert are flattened into one vector, and the cosine between the vectors of two "
        "experts is taken. Copies have 1, networks trained apart about 0. Answers: the cosine between what two experts answer "
        "to the same inputs. Inner units: linear CKA, which does not mind in what order the units are, and which strangers "
        "do not bring to 0. All are averaged over the pairs of a layer."
    )
    columns = ("checkpoint", "tokens seen", "step", "experts", *MEASURES, "least alike layer", "most alike layer")
    rows = tuple(
        (
            name,
            of.checkpoint.manifest.spec.tokens_seen,
            of.checkpoint.manifest.spec.step,
            of.experts,
            *(of.mean(measure) for measure in MEASURES),
            min(of.means("weights")),
            max(of.means("weights")),
        )
        for name, of in measured.items()
    )
    caption = "Means over pairs and layers; the last two columns are of single layers, of their weights."
    curves = _curves(measured)
    return Section(
        title="Expert similarity",
        paragraphs=(explained,),
        tables=(Table(columns=columns, rows=rows, caption=caption),),
        pictures=_pictures(draft, measured, chosen, curves),
        curves=tuple(curves),
    )


def _curves(measured: Mapping[str, Measured]) -> list[Curve]:
    """Each measure over the training of each run."""
    found: list[Curve] = []
    for run, names in series({name: of.checkpoint for name, of in measured.items()}).items():
        tokens = [measured[name].checkpoint.manifest.spec.tokens_seen for name in names]
        if len(set(tokens)) < 2:
            continue
        for measure, label in MEASURES.items():
            means = [measured[name].mean(measure) for name in names]
            points = tuple(zip(map(float, tokens), means, strict=True))
            name = label if run == "all" else f"{run}: {label}"
            found.append(Curve(name=name, x_label="tokens seen", y_label="mean over pairs and layers", points=points))
    return found


def _pictures(
    draft: Draft, measured: Mapping[str, Measured], chosen: Mapping[str, tuple[int, ...]], curves: list[Curve]
) -> tuple[Picture, ...]:
    from bunbuku_moe_upcycle.pictures import heat_maps, panels

    drawn = {name: measured[name] for name in chosen}
    by_layer = {
        label: {name: list(zip(of.layers, of.means(measure), strict=True)) for name, of in drawn.items()}
        for measure, label in MEASURES.items()
    }
    panels(draft.dir / "layers.png", "layer", by_layer, whole=True)
    pictures = [Picture(path="layers.png", caption="Mean over the pairs of a layer's experts, by layer.")]
    if curves:
        over_time = {
            label: {curve.name.removesuffix(label).removesuffix(": ") or "mean over layers": curve.points
                    for curve in curves if curve.name.endswith(label)}
            for label in MEASURES.values()
        }  # fmt: skip
        panels(draft.dir / "training.png", "tokens seen", over_time)
        pictures.append(Picture(path="training.png", caption="How the experts drift apart while they are trained."))
    maps = {
        name: {
            label: {layer: getattr(of.layers[layer], measure) for layer in chosen[name]}
            for measure, label in (("weights", "weights"), ("answers", "answers"))
        }
        for name, of in drawn.items()
    }
    lowest = min(float(map_.min()) for rows in maps.values() for row in rows.values() for map_ in row.values())
    for number, (name, rows) in enumerate(maps.items(), start=1):
        path = f"experts-{number:02d}.png"
        heat_maps(draft.dir / path, name, rows, lowest=lowest)
        caption = f"{name}: every expert with every other, by the cosine of weights and of answers."
        pictures.append(Picture(path=path, caption=caption))
    return tuple(pictures)
