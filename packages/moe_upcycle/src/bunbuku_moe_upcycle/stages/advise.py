"""`advise`: whether a dense model should be upcycled, and what that would cost."""

from collections.abc import Iterator
from typing import Annotated, Self

from bunbuku_contracts import (
    Architecture,
    Artifact,
    BunbukuError,
    Checkpoint,
    Config,
    Draft,
    Experts,
    Report,
    Section,
    Table,
    stage,
    write_sections,
)
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from bunbuku_moe_upcycle.advice import GIB, Budget, Cost, Gpus, opinions


class AdviseConfig(Config):
    """A dense model, what there is to train with, and the mixture that it could become."""

    budget: Budget
    model: Architecture | None = None
    """The dense model, where no checkpoint is given."""
    tokens_seen: NonNegativeInt | None = None
    """Tokens behind it; those of the checkpoint if left out."""
    experts: Annotated[int, Field(ge=2)] = 8
    active: PositiveInt = 2
    parts: PositiveInt = 1
    """Slices that each network is cut into, as the strategy `granular` does."""
    gpus: Gpus | None = None
    """Left out, plans say how fast it goes, or nothing does."""

    @model_validator(mode="after")
    def _numbers_fit(self) -> Self:
        if self.active > self.experts:
            raise ValueError(f"`active` {self.active} is more than `experts` {self.experts}")
        if self.experts % self.parts:
            raise ValueError(f"`experts` {self.experts} is not a multiple of `parts` {self.parts}")
        return self


@stage("moe_upcycle.advise", revision=2)
def advise(
    draft: Draft,
    config: AdviseConfig,
    checkpoint: Artifact[Checkpoint] | None = None,
    plans: dict[str, Artifact[Report]] | None = None,
) -> Report:
    """Say what upcycling would buy for a dense model and the tokens that are left, and what is published about when it pays.

    Give the dense model as `--checkpoint` or as `model`, and how fast it goes as `gpus`, or better as reports of
    `bunbuku-pretrain plan`: `--plans dense=DIR --plans mixture=DIR`. Nothing is trained.
    """
    dense, seen = _dense(config, checkpoint)
    if unknown := sorted(set(plans or {}) - {"dense", "mixture"}):
        raise BunbukuError(
            f"a plan is given as {unknown[0]!r}, of which nothing is asked",
            hint="the models are called 'dense' and 'mixture': --plans dense=DIR --plans mixture=DIR",
        )
    if dense.ffn_size % config.parts:
        raise BunbukuError(
            f"`parts` {config.parts} does not divide the {dense.ffn_size} inner units of the dense network",
            hint="choose a number that does",
        )
    experts = Experts(count=config.experts, active=config.active)
    mixture = dense.model_copy(update={"experts": experts, "ffn_size": dense.ffn_size // config.parts})
    costs = {name: _cost(config, name, model, plans or {}) for name, model in (("dense", dense), ("mixture", mixture))}
    tokens = config.budget.tokens
    spent = costs["dense"].flops_per_token * seen
    to_spend = costs["mixture"].flops_per_token * tokens
    ratio = to_spend / spent
    draft.metrics |= {"compute.dense": spent, "compute.mixture": to_spend, "compute.ratio": ratio}
    for name, cost in costs.items():
        draft.metrics |= {f"{name}.{figure}": value for figure, value in _figures(cost, tokens).items()}
    write_sections(draft, _sections(config, costs, seen=seen, ratio=ratio))
    return Report(title="Upcycle or not")


def _dense(config: AdviseConfig, checkpoint: Artifact[Checkpoint] | None) -> tuple[Architecture, int]:
    if (checkpoint is None) == (config.model is None):
        raise BunbukuError("advise takes either a checkpoint or `model`", hint="give one of them")
    spec = checkpoint.manifest.spec if checkpoint is not None else None
    model = config.model if spec is None else spec.architecture
    assert model is not None
    if model.experts is not None:
        raise BunbukuError(
            f"the model has {model.experts.count} experts already, upcycling begins with a dense one",
            hint="give that one",
        )
    seen = config.tokens_seen if config.tokens_seen is not None else spec.tokens_seen if spec is not None else 0
    if not seen:
        raise BunbukuError(
            "`tokens_seen` is not known or 0: a model without training cannot be upcycled", hint="state it"
        )
    return model, seen


def _cost(config: AdviseConfig, name: str, model: Architecture, plans: dict[str, Artifact[Report]]) -> Cost:
    length = config.budget.sequence_length
    speed = config.gpus.tokens_per_second(model, length) if config.gpus is not None else None
    if name not in plans:
        return Cost(model, model.flops_per_token(length), speed)
    metrics = plans[name].manifest.metrics
    speeds = [value for figure, value in metrics.items() if figure.startswith("tokens_per_second.")]
    if not speeds or "parameters" not in metrics:
        raise BunbukuError(
            f"{plans[name].dir}, given as the plan {name!r}, is no plan: it says no `parameters` and no `tokens_per_second`",
            hint="bunbuku-pretrain plan makes one",
        )
    if metrics["parameters"] != model.parameters:
        raise BunbukuError(
            f"the plan {name!r} ({plans[name].dir}) is of a model of {metrics['parameters']:,.0f} weights, "
            f"this one has {model.parameters:,}",
            hint="plan the same model with bunbuku-pretrain plan",
        )
    return Cost(model, model.flops_per_token(length), min(speeds), metrics.get("memory_gib.total"))


def _figures(cost: Cost, tokens: int) -> dict[str, float]:
    model = cost.architecture
    found = {
        "parameters": float(model.parameters),
        "active_parameters": float(model.active_parameters),
        "weights_gib": model.weight_bytes() / GIB,
        "training_gib": model.training_bytes() / GIB,
        "flops_per_token": cost.flops_per_token,
    }
    days = cost.days(tokens)
    if cost.tokens_per_second is not None and days is not None:
        found |= {"tokens_per_second": cost.tokens_per_second, "days": days}
    if cost.memory_gib is not None:
        found["memory_gib"] = cost.memory_gib
    return found


def _sections(config: AdviseConfig, costs: dict[str, Cost], *, seen: int, ratio: float) -> Iterator[Section]:
    heard = opinions(ratio)
    dense, mixture = costs["dense"].architecture, costs["mixture"].architecture
    short = (
        f"The mixture has {mixture.parameters / dense.parameters:.2f} times the weights of the dense model, and a token meets "
        f"{mixture.active_parameters / dense.active_parameters:.2f} times as many.",
        f"The dense model has cost {seen / 1e9:,.1f} G tokens; {config.budget.tokens / 1e9:,.1f} G tokens of the mixture cost "
        f"{ratio:.2f} times that.",
        f"By the rule of Skywork-MoE, the only one that names a threshold: {heard[0].verdict}.",
    )
    table = Table(
        columns=("source", "seen on", "what it says", "here"),
        rows=tuple((one.source, one.seen_on, one.rule, one.verdict or "says nothing") for one in heard),
        caption="What is published. All of it was measured on other models: a small trial on your own data is worth more.",
    )
    yield Section(title="In short", paragraphs=short, tables=(table,))
    figures = {name: _figures(cost, config.budget.tokens) for name, cost in costs.items()}
    labels = {
        "parameters": "weights",
        "active_parameters": "weights that a token meets",
        "weights_gib": "weights in bf16, GiB",
        "training_gib": "weights, gradients and Adam, GiB",
        "flops_per_token": "operations a token",
        "memory_gib": "memory of the fullest GPU, GiB",
        "tokens_per_second": "tokens a second",
        "days": "days for the tokens that are left",
    }
    rows = tuple(
        (label, *(round(figures[name][figure], 3) if figure in figures[name] else None for name in costs))
        for figure, label in labels.items()
        if any(figure in of for of in figures.values())
    )
    speed = "Speeds and memory are those of the plans, the speed that of the slowest phase." if config.gpus is None else (
        f"Where no plan is given, speeds assume that {config.gpus.count} GPUs reach {config.gpus.mfu:.0%} of their peak; "
        "mixtures often reach less."
    )  # fmt: skip
    yield Section(
        title="Cost",
        paragraphs=(speed,),
        tables=(Table(columns=("", *costs), rows=rows, caption="Both trained on the tokens that are left."),),
    )
