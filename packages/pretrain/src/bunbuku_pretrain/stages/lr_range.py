"""The learning rate range test: which rate a model bears, before a long training is paid for."""

from collections.abc import Sequence
from typing import Annotated, Self

from bunbuku_contracts import (
    Artifact,
    Checkpoint,
    Config,
    Draft,
    Picture,
    Report,
    Section,
    Table,
    Tokenizer,
    Tokens,
    stage,
    write_sections,
)
from pydantic import Field, PositiveFloat, model_validator

from bunbuku_pretrain import job as files
from bunbuku_pretrain import observations
from bunbuku_pretrain.charts import Line, Mark, line_chart, standing_alone
from bunbuku_pretrain.rate_range import Stair, Turn, TurnRule, recommended, stairs, turns
from bunbuku_pretrain.schedule import Stairs
from bunbuku_pretrain.spikes import Skip
from bunbuku_pretrain.stages.train import run_training
from bunbuku_pretrain.training import TrainConfig, TrainRun

LAPTOP = TrainRun()
PICTURE = "range.svg"


class LrRangeConfig(Config):
    """What rates are tried, and on what training."""

    training: TrainConfig
    """The training for which a rate is sought: the fields of `train`'s config. Its own rate, schedule, phases, length and
    milestones are left aside."""
    lowest: PositiveFloat = 1e-5
    highest: PositiveFloat = 1e-1
    stairs: Annotated[int, Field(ge=3)] = 20
    """Rates tried, each the same factor above the one before."""
    steps_per_stair: Annotated[int, Field(ge=5)] = 20
    turn: TurnRule = TurnRule()
    """What counts as too high."""
    margin: Annotated[float, Field(ge=1)] = 2.0
    """How many times below the first turn the recommended rate lies."""

    @property
    def rates(self) -> list[float]:
        factor = (self.highest / self.lowest) ** (1 / (self.stairs - 1))
        return [self.lowest * factor**number for number in range(self.stairs)]

    def rising(self) -> TrainConfig:
        """The training with a rate that rises."""
        given = self.training.model_dump(
            exclude={"phases", "ramp_up", "schedule_tokens", "milestone_tokens", "milestone_interval_tokens"}
        )
        steps = self.stairs * self.steps_per_stair
        return TrainConfig.model_validate(
            given
            | {
                "total_tokens": steps * self.training.batch_tokens,
                "schedule": Stairs(first=self.lowest / self.highest, stairs=self.stairs),
                "optimizer": {**given["optimizer"], "learning_rate": self.highest},
                "validation_interval_steps": steps,
                # What is not a number is a finding here, and never a reason to stop.
                "spikes": Skip(sigmas=1e9, most_in_a_row=steps),
            }
        )

    @model_validator(mode="after")
    def _rates_rise(self) -> Self:
        if self.lowest >= self.highest:
            raise ValueError(f"`lowest` {self.lowest:g} is not below `highest` {self.highest:g}")
        return self


@stage("pretrain.lr-range", revision=1, resumable=True, bitwise=False)
def lr_range(
    draft: Draft,
    config: LrRangeConfig,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    start: Artifact[Checkpoint] | None = None,
    *,
    run: TrainRun = LAPTOP,
) -> Report:
    """Raise the learning rate stair by stair, and say where the training turns and which rate it bears.

    Trains as `train` would, from a checkpoint or from new weights, and throws the weights away: what is kept is a table of
    the stairs, a picture, and the recommended rate. Of a `megatron` checkpoint the moments are kept with
    `training.keep = ["optimizer"]`.
    """
    often = max(1, config.steps_per_stair // 4)
    watch = run.watch.model_copy(update={"statistics_interval_steps": often})
    rising = config.rising()
    run_training(draft, rising, tokens, tokenizer, start, None, run=run.model_copy(update={"watch": watch}))
    history = files.read_history(draft.scratch)
    seen = observations.read(observations.Statistics, observations.statistics_file(draft.scratch))
    found = stairs(history, seen, config.rates, steps=config.steps_per_stair)
    turned = turns(found, config.turn)
    rate = recommended(found, turned, margin=config.margin)
    draft.metrics["recommended"] = rate
    draft.metrics |= {f"turns.{turn.what.replace(' ', '_')}": turn.rate for turn in turned}
    picture = draft.dir / PICTURE
    picture.write_text(_drawn(found, turned, rate), encoding="utf-8")
    write_sections(draft, [_section(found, turned, rate, config)])
    return Report(title="Learning rate range")


def _section(found: Sequence[Stair], turned: Sequence[Turn], rate: float, config: LrRangeConfig) -> Section:
    if turned:
        said = f"The first to turn is the {turned[0].what}, at {turned[0].rate:.2e}: {turned[0].why}."
        advice = f"Recommended: at most {rate:.2e}, {config.margin:g} times below it."
    else:
        said = f"Nothing turned up to {found[-1].rate:.2e}: raise `highest`."
        advice = f"{rate:.2e} is safe by this test, and higher rates may be."
    rows = tuple(
        (
            f"{one.rate:.2e}",
            _round(one.loss, 4),
            _round(one.gradient_norm, 4),
            _round(one.update_ratio, 6),
            _round(one.steep_share, 4),
            one.broken,
            ", ".join(turn.what for turn in turned if turn.rate == one.rate),
        )
        for one in found
    )
    columns = ("rate", "loss", "gradient norm", "largest update", "steep share", "not a number", "turns")
    caption = (
        "Means on each stair. Largest update: the share of a layer's weights that a step moves it by. Steep share: "
        "weights whose |m| is above sqrt(v)."
    )
    return Section(
        title="Learning rate range",
        paragraphs=(said, advice),
        tables=(Table(columns=columns, rows=rows, caption=caption),),
        pictures=(Picture(path=PICTURE, caption="Means over the steps of each stair, and where they turn"),),
    )


def _drawn(found: Sequence[Stair], turned: Sequence[Turn], rate: float) -> str:
    marks = [Mark(turn.rate, "spike", f"{turn.what}: {turn.why}") for turn in turned]
    marks.append(Mark(rate, "milestone", "recommended"))
    looks: tuple[tuple[str, str, list[tuple[float, float]]], ...] = (
        ("Loss", "loss, nats a token", [(one.rate, one.loss) for one in found if one.loss is not None]),
        (
            "Gradient norm",
            "gradient norm",
            [(one.rate, one.gradient_norm) for one in found if one.gradient_norm is not None],
        ),
        (
            "Largest update",
            "share of a layer's weights",
            [(one.rate, one.update_ratio) for one in found if one.update_ratio],
        ),
    )
    charts = [
        line_chart(
            [Line(title, points)],
            title=title,
            y_label=unit,
            marks=marks,
            log=at > 0,
            over="learning rate",
        )
        for at, (title, unit, points) in enumerate(looks)
    ]
    return standing_alone([chart for chart in charts if chart])


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
