"""`routing`: which experts take which tokens, by domain and by kind of sign."""

from collections.abc import Iterator, Mapping
from typing import Literal

from bunbuku_contracts import (
    Artifact,
    BunbukuError,
    Checkpoint,
    Config,
    Corpus,
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
from bunbuku_moe_upcycle.routing import CLASSES, Matrix, Routing, class_of, information, shares


class RoutingConfig(Config):
    """What is read, and what counts as a domain."""

    tokens: PositiveInt = 20_000
    """Tokens of each corpus that each model reads, from documents spread evenly over it."""
    domains: Literal["corpus", "source", "language"] = "corpus"
    """Documents are of one domain that have in common the corpus they come from (the name given with `--corpora`), their
    `source`, or their `language`."""
    map_layers: tuple[NonNegativeInt, ...] | None = None
    """Layers, from 0, that are drawn expert by expert; the first, the middle and the last if left out."""


@stage("moe_upcycle.routing", revision=1)
def routing(
    draft: Draft,
    config: RoutingConfig,
    checkpoints: dict[str, Artifact[Checkpoint]],
    corpora: dict[str, Artifact[Corpus]],
) -> Report:
    """Let mixtures read texts and see where their routers send the tokens: by domain, and by kind of sign.

    Give checkpoints in Hugging Face layout and one corpus or more by name, such as `--corpora code=DIR#code`. The report has
    the load of the experts, how sure the gates are (Max1/Max2, entropy), dead experts, and how much the choice of an expert
    tells of the domain. Needs the extra `hf`: the models are run.
    """
    if not checkpoints or not corpora:
        raise BunbukuError(
            "routing was given no checkpoint or no corpus", hint="give --checkpoints and --corpora NAME=DIR"
        )
    for name, checkpoint in checkpoints.items():
        check_mixture(name, checkpoint, stage="routing")
    steps = iter(draft.track(range(len(checkpoints) * len(corpora)), unit="readings"))
    found: dict[str, Routing] = {}
    for name, checkpoint in sorted(checkpoints.items(), key=lambda item: (item[1].manifest.spec.tokens_seen, item[0])):
        found[name] = _read(config, checkpoint, corpora, steps)
    for name, of in found.items():
        draft.metrics |= {f"routing.{name}.{figure}": value for figure, value in _figures(of).items()}
    write_sections(draft, _sections(draft, config, found))
    return Report(title="Routing")


def _read(
    config: RoutingConfig,
    checkpoint: Artifact[Checkpoint],
    corpora: Mapping[str, Artifact[Corpus]],
    steps: Iterator[int],
) -> Routing:
    from bunbuku_moe_upcycle.listening import Listener, documents

    listener, architecture = Listener(checkpoint), checkpoint.manifest.spec.architecture
    assert architecture.experts is not None
    found = Routing(architecture.mixture_layers, architecture.experts.count, architecture.experts.active)
    classes: dict[int, str] = {}
    for name, corpus in sorted(corpora.items()):
        for heard in listener.listen(documents(corpus, tokens=config.tokens), tokens=config.tokens):
            for token in heard.ids:
                if token not in classes:
                    classes[token] = class_of(listener.tokenizer.decode([token]))
            domain = name if config.domains == "corpus" else getattr(heard.document, config.domains)
            found.add(domain, [classes[token] for token in heard.ids], heard.logits_TE)
        next(steps)
    if not found.tokens:
        raise BunbukuError(f"no text in {', '.join(sorted(corpora))}", hint="give corpora with documents")
    return found


def _figures(of: Routing) -> dict[str, float]:
    """Over all layers: means, the worst load, and the number of dead experts."""
    return {
        "max1_max2": float(of.ratio_L.mean()),
        "entropy": float(of.entropy_L.mean()),
        "least_load": float(of.load_LE.min()),
        "most_load": float(of.load_LE.max()),
        "dead": float(of.dead_L.sum()),
        "information.domains": float(information(of.domains.values()).mean()),
        "information.classes": float(information(of.classes.values()).mean()),
    }


def _sections(draft: Draft, config: RoutingConfig, found: Mapping[str, Routing]) -> Iterator[Section]:
    explained = (
        "Max1/Max2 is the largest gate of a token over the next one (geometric mean), entropy that of its gates over all "
        "experts, in nats. The load is counted over an even share; an expert with less than a hundredth of it is dead. "
        "Information is how many bits the choice of an expert tells of a token's domain or kind, if all were as frequent."
    )
    columns = (
        "checkpoint",
        "tokens",
        "Max1/Max2",
        "entropy",
        "least load",
        "most load",
        "dead",
        "bits of domain",
        "bits of kind",
    )
    rows = tuple((name, of.tokens, *(round(value, 4) for value in _figures(of).values())) for name, of in found.items())
    layers = tuple(
        (name, layer, *(round(float(values[row]), 4) for values in _by_layer(of).values()))
        for name, of in found.items()
        for row, layer in enumerate(of.layers)
    )
    yield Section(
        title="Routing",
        paragraphs=(explained,),
        tables=(
            Table(columns=columns, rows=rows, caption="Means over layers; loads are those of the worst layer."),
            Table(columns=("checkpoint", "layer", *_BY_LAYER), rows=layers, caption="Layer by layer."),
        ),
        pictures=(_curves(draft, found),),
    )
    for number, (name, of) in enumerate(found.items(), start=1):
        yield Section(title=f"Who gets what: {name}", pictures=_maps(draft, config, f"{number:02d}", name, of))


_BY_LAYER = ("Max1/Max2", "entropy", "least load", "most load", "dead", "bits of domain", "bits of kind")


def _by_layer(of: Routing) -> dict[str, Matrix]:
    measured = (
        of.ratio_L,
        of.entropy_L,
        of.load_LE.min(axis=1),
        of.load_LE.max(axis=1),
        of.dead_L.astype(float),
        information(of.domains.values()),
        information(of.classes.values()),
    )
    return dict(zip(_BY_LAYER, measured, strict=True))


def _curves(draft: Draft, found: Mapping[str, Routing]) -> Picture:
    from bunbuku_moe_upcycle.pictures import panels

    shown = ("Max1/Max2", "most load", "bits of domain", "bits of kind")
    lines = {
        label: {name: list(zip(of.layers, map(float, _by_layer(of)[label]), strict=True)) for name, of in found.items()}
        for label in shown
    }
    panels(draft.dir / "layers.png", "layer", lines, whole=True)
    return Picture(path="layers.png", caption="How sure the gates are, how even the load is, and what a choice tells.")


def _maps(draft: Draft, config: RoutingConfig, number: str, name: str, of: Routing) -> tuple[Picture, ...]:
    from bunbuku_moe_upcycle.pictures import share_maps

    usual = {of.layers[0], of.layers[len(of.layers) // 2], of.layers[-1]}
    layers = sorted(usual if config.map_layers is None else set(config.map_layers))
    if not layers or not set(layers) <= set(of.layers):
        raise BunbukuError(
            f"`map_layers` {config.map_layers!r} does not fit {name!r}, which has experts in layers "
            f"{', '.join(map(str, of.layers))}",
            hint="leave it out to see the first, the middle and the last",
        )
    ordered = {kind: of.classes[kind] for kind in CLASSES if kind in of.classes}
    pictures: list[Picture] = []
    for what, counts in (("domains", of.domains), ("kinds", ordered)):
        path = f"{what}-{number}.png"
        share_LE = shares(counts)
        maps = {
            f"layer {layer}": {group: list(share_LE[group][of.layers.index(layer)]) for group in share_LE}
            for layer in layers
        }
        share_maps(draft.dir / path, f"{name}: {what} of tokens", maps)
        caption = (
            f"{name}: share of the choices of each of the {what} of tokens that an expert gets, over an even share."
        )
        pictures.append(Picture(path=path, caption=caption))
    return tuple(pictures)
