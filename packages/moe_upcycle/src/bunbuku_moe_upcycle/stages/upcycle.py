"""`upcycle`: a mixture of experts of a dense checkpoint."""

import shutil
from collections.abc import Mapping
from itertools import chain
from typing import Annotated, Literal, Self

from bunbuku_contracts import (
    Architecture,
    Artifact,
    BunbukuError,
    Checkpoint,
    Config,
    Corpus,
    Draft,
    Experts,
    GateOrder,
    RouterNormalization,
    stage,
)
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from bunbuku_moe_upcycle.checks import check_branches, check_dense, check_tensors
from bunbuku_moe_upcycle.function import FunctionProbe
from bunbuku_moe_upcycle.layout import copied_files, moe_config, open_weights, outputs
from bunbuku_moe_upcycle.remote import ship_modeling
from bunbuku_moe_upcycle.routers import AnyRouter, HiddenRouter, NormalRouter
from bunbuku_moe_upcycle.strategies import AnyStrategy, Branches, Noise
from bunbuku_moe_upcycle.tensors import Floats
from bunbuku_moe_upcycle.upcycling import Upcycling, shards, write_json, write_shards


class UpcycleConfig(Config):
    """What the model with experts looks like before it is trained on."""

    experts: Annotated[int, Field(ge=2)] = 8
    """Feed-forward networks in place of each dense one."""
    active: PositiveInt = 2
    """Experts a token is sent to."""
    gate_order: GateOrder = "choice_first"
    """`choice_first`: a softmax over the chosen experts, as in Mixtral. `softmax_first`: the chosen keep their share of a
    softmax over all, which lets a router with one active expert learn, and does not sum to 1."""
    layers: tuple[NonNegativeInt, ...] | None = None
    """Layers, from 0, that get experts; all of them if left out."""
    every: PositiveInt = 1
    """Instead of `layers`: every so many layers the last gets experts, with 2 the layers 1, 3, 5 and so on."""
    shared: bool = False
    """Keeps the dense network in every layer with experts, for all tokens: it and the experts begin with half of the answer
    each."""
    strategy: AnyStrategy = Noise()
    """How an expert is made of the dense network: `copy`, `noise`, `drop`, `granular` or `branches`."""
    router: AnyRouter = NormalRouter()
    """How the router begins: `normal`, `uniform` or `hidden`."""
    normalization: RouterNormalization | Literal["none"] = RouterNormalization()
    """Brings each token's router logits to mean 0 and standard deviation `scale`; `"none"` leaves them as they are, and
    the result is then a plain Mixtral."""
    aux_loss_coefficient: NonNegativeFloat = 0.01
    """Weight of the load-balancing loss in the training to come."""
    exact: bool = False
    """Refuse to make a model that computes something else than the dense one did."""
    seed: int = 0
    target_shard_bytes: PositiveInt = 4 * 2**30
    """Size at which another weights file begins."""

    @model_validator(mode="after")
    def _numbers_fit(self) -> Self:
        if self.active > self.experts:
            raise ValueError(f"`active` {self.active} is more than `experts` {self.experts}")
        slices = self.strategy.slices
        if self.experts % slices or self.experts < 2 * slices:
            raise ValueError(f"`experts` {self.experts} is not a multiple, twice or more, of `strategy.parts` {slices}")
        if self.layers is not None and self.every > 1:
            raise ValueError(f"`layers` {self.layers} and `every` {self.every} are given: give one of the two")
        gates = Experts(count=self.experts, active=self.active, gate_order=self.gate_order, layers=self.layers)
        if self.exact and (why := self.strategy.changes(gates)):
            raise ValueError(f"`exact` cannot be: {why}")
        return self

    def mixture(self, dense: Architecture) -> Experts:
        """The experts as the architecture of what is made of `dense` states them."""
        layers = tuple(range(self.every - 1, dense.layers, self.every)) if self.layers is None else self.layers
        some = len(layers) < dense.layers
        return Experts(
            count=self.experts,
            active=self.active,
            gate_order=self.gate_order,
            layers=layers if some else None,
            dense_ffn_size=dense.ffn_size if some else None,
            shared_ffn_size=dense.ffn_size if self.shared else None,
            normalization=None if self.normalization == "none" else self.normalization,
            aux_loss_coefficient=self.aux_loss_coefficient,
        )

    @property
    def copies(self) -> int:
        """Networks that the experts are made of: as many rows the router begins with."""
        return self.experts // self.strategy.slices


@stage("moe_upcycle.upcycle", revision=3)
def upcycle(
    draft: Draft,
    config: UpcycleConfig,
    checkpoint: Artifact[Checkpoint],
    branches: dict[str, Artifact[Checkpoint]] | None = None,
    prompts: dict[str, Artifact[Corpus]] | None = None,
) -> Checkpoint:
    """Make a mixture of experts of a dense Llama in Hugging Face layout, tensor by tensor.

    Every expert begins as the dense feed-forward network, changed by the strategy; the router begins at random. With the
    strategy `copy` the result computes what the dense model did. Train it on with `bunbuku-pretrain train`.

    Experts go into all layers, into some (`layers`, `every`), and may leave the dense network at their side (`shared`).

    The strategy `branches` takes the experts from `--branches NAME=DIR`, checkpoints of the same model trained on texts of
    their own; the router `hidden` begins with what the dense model makes of `--prompts NAME=DIR`, a corpus a domain.
    """
    branches, prompts = branches or {}, prompts or {}
    architecture = _made_of(config, checkpoint, branches, prompts)
    spec, dense = checkpoint.manifest.spec, open_weights(checkpoint)
    check_tensors(checkpoint, dense.stored)
    write_json(draft.dir / "config.json", moe_config(checkpoint.dir / "config.json", architecture))
    means = _means(config, checkpoint, prompts)
    for path in copied_files(checkpoint):
        shutil.copyfile(path, draft.dir / path.name)
    assert architecture.experts is not None
    ship_modeling(draft.dir, architecture.experts)
    planned = list(outputs(dense.stored, architecture))
    folders = [dense, *(open_weights(branches[name]) for name in sorted(branches))]
    probe = FunctionProbe(architecture.experts, exact=config.exact)
    making = Upcycling(folders, config.strategy, config.router, config.seed, probe, means)
    cut = shards(planned, config.target_shard_bytes)
    in_order = draft.track(chain.from_iterable(cut), unit="tensors", total=len(planned))
    write_shards(draft.dir, cut, map(making.make, in_order))
    draft.metrics |= {
        "parameters.total": float(architecture.parameters),
        "parameters.active": float(architecture.active_parameters),
        "perturbation.absolute": making.perturbation.absolute,
        "perturbation.relative": making.perturbation.relative,
        "function.error": probe.error,
    }
    return spec.model_copy(update={"architecture": architecture, **_behind(spec, branches)})


def _made_of(
    config: UpcycleConfig,
    checkpoint: Artifact[Checkpoint],
    branches: Mapping[str, Artifact[Checkpoint]],
    prompts: Mapping[str, Artifact[Corpus]],
) -> Architecture:
    """The architecture with experts, if what was given fits together."""
    dense, slices = check_dense(checkpoint), config.strategy.slices
    if dense.ffn_size % slices:
        raise BunbukuError(
            f"{checkpoint.dir}: the feed-forward network has {dense.ffn_size} inner units, no multiple of "
            f"`strategy.parts` {slices}",
            hint="choose a number that divides them",
        )
    last = max(config.layers) if config.layers else config.every - 1
    if last >= dense.layers:
        raise BunbukuError(
            f"{checkpoint.dir}: its layers are 0 to {dense.layers - 1}, and experts are asked for in layer {last}",
            hint="give other `layers`, or a smaller `every`",
        )
    if isinstance(config.strategy, Branches) != bool(branches):
        given = ", ".join(sorted(branches)) or "none"
        raise BunbukuError(
            f"`strategy.type` is {config.strategy.type!r} and the branches are {given}",
            hint="the strategy 'branches' takes --branches NAME=DIR, and no other does",
        )
    if branches and config.experts % (len(branches) + 1):
        raise BunbukuError(
            f"`experts` {config.experts} is no multiple of the {len(branches) + 1} networks: the checkpoint's and "
            f"{len(branches)} of branches",
            hint="give another number of experts or of branches",
        )
    check_branches(checkpoint, branches)
    if isinstance(config.router, HiddenRouter) != bool(prompts) or (prompts and len(prompts) != config.copies):
        raise BunbukuError(
            f"`router.type` is {config.router.type!r}, its rows are {config.copies}, and the prompts given are "
            f"{', '.join(sorted(prompts)) or 'none'}",
            hint="the router 'hidden' takes --prompts NAME=DIR, one a row, and no other does",
        )
    return dense.model_copy(update={"experts": config.mixture(dense), "ffn_size": dense.ffn_size // slices})


def _means(
    config: UpcycleConfig, checkpoint: Artifact[Checkpoint], prompts: Mapping[str, Artifact[Corpus]]
) -> Floats | None:
    if not isinstance(config.router, HiddenRouter):
        return None
    from bunbuku_moe_upcycle.listening import mean_heard

    return mean_heard(checkpoint, prompts, tokens=config.router.tokens)


def _behind(spec: Checkpoint, branches: Mapping[str, Artifact[Checkpoint]]) -> dict[str, int]:
    """Steps and tokens of the checkpoint, and what each branch has beyond it."""
    beyond = [branch.manifest.spec for branch in branches.values()]
    return {
        "step": spec.step + sum(max(0, one.step - spec.step) for one in beyond),
        "tokens_seen": spec.tokens_seen + sum(max(0, one.tokens_seen - spec.tokens_seen) for one in beyond),
    }
