"""A finished run in numbers and curves, from its history.

What goes into the artifact's content is the same however often the run was cut off; what the clock said does not.
"""

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean, median

from bunbuku_contracts import Architecture, Curve, Section, Table

from bunbuku_pretrain.job import StepRecord

LAST_STEPS = 20
"""The final training loss is the mean of so many steps: one alone is as noisy as its batch."""
MOST_POINTS = 400
"""A curve with more steps shows means over neighbours."""


def metrics(history: Sequence[StepRecord]) -> dict[str, float]:
    """The numbers for the manifest."""
    steps = [record for record in history if record.step]
    validated = [record.validation_loss for record in history if record.validation_loss is not None]
    last = steps[-1]
    found = {
        "steps": float(last.step),
        "tokens": float(last.tokens),
        "train.loss": fmean(_present(steps, lambda record: record.loss)[-LAST_STEPS:]),
        "train.gradient_norm": fmean(_present(steps, lambda record: record.gradient_norm)[-LAST_STEPS:]),
        "train.tokens_per_second": median(record.batch_tokens / record.seconds for record in steps if record.seconds),
        "train.counted_tokens": float(sum(record.counted_tokens or 0 for record in steps)),
        "train.seconds": sum(record.seconds for record in steps),
    }
    if validated:
        found |= {"validation.loss_before": validated[0], "validation.loss": validated[-1]}
    if bits := _present(history, lambda record: record.bits_per_byte):
        found["validation.bits_per_byte"] = bits[-1]
    for part, measured in next((record.validation for record in reversed(steps) if record.validation), {}).items():
        found[f"validation.{part}.loss"] = measured.loss
        if measured.bits_per_byte is not None:
            found[f"validation.{part}.bits_per_byte"] = measured.bits_per_byte
    if last.mixture is not None:
        found |= {f"mixture.{name}": value for name, value in last.mixture.figures.items()}
    return found


def section(history: Sequence[StepRecord], architecture: Architecture) -> Section:
    """What a reader of the run wants to see."""
    last = history[-1]
    experts = architecture.experts
    kind = f"mixture of {experts.count} experts, {experts.active} active" if experts else "dense"
    facts = Table(
        columns=("", "value"),
        rows=(
            ("model", kind),
            ("parameters", architecture.parameters),
            ("active parameters", architecture.active_parameters),
            ("steps", last.step),
            ("tokens", last.tokens),
        ),
    )
    curves = (
        _curve("training loss", "loss, nats a token", history, lambda record: record.loss),
        _curve("validation loss", "loss, nats a token", history, lambda record: record.validation_loss),
        _curve("bits per byte", "bits a byte of held-out text", history, lambda record: record.bits_per_byte),
        _curve("learning rate", "learning rate", history, lambda record: record.learning_rate),
        _curve("gradient norm", "gradient norm", history, lambda record: record.gradient_norm),
        _curve("balance loss", "1 is even", history, lambda record: record.mixture and record.mixture.balance),
        _curve("most used expert", "over an even share", history, lambda record: record.mixture and record.mixture.most_load),
        _curve("least used expert", "over an even share", history, lambda record: record.mixture and record.mixture.least_load),
        _curve("tokens beyond capacity", "share of the choices", history, lambda record: record.mixture and record.mixture.dropped),
        _curve("router z-loss", "mean of log²Z", history, lambda record: record.mixture and record.mixture.z_loss),
        *_by_part(history),
    )  # fmt: skip
    return Section(title="Pre-training", tables=(facts,), curves=tuple(curve for curve in curves if curve.points))


def _by_part(history: Sequence[StepRecord]) -> Iterator[Curve]:
    """Bits per byte of every part that is held out, else its loss if there are several."""
    parts = sorted({name for record in history for name in record.validation})
    for part in parts:

        def bits(record: StepRecord, part: str = part) -> float | None:
            return record.validation[part].bits_per_byte if part in record.validation else None

        def loss(record: StepRecord, part: str = part) -> float | None:
            return record.validation[part].loss if part in record.validation and len(parts) > 1 else None

        in_bits = _curve(part, "bits per byte", history, bits)
        yield in_bits if in_bits.points else _curve(part, "validation loss, nats a token", history, loss)


def _curve(
    name: str, y_label: str, history: Sequence[StepRecord], value: Callable[[StepRecord], float | None]
) -> Curve:
    points = [(float(record.tokens), y) for record in history if (y := value(record)) is not None]
    return Curve(name=name, x_label="tokens", y_label=y_label, points=tuple(_thinned(points)))


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most so many points, each the mean of its neighbours."""
    width = -(-len(points) // MOST_POINTS)
    groups = [points[begin : begin + width] for begin in range(0, len(points), max(1, width))]
    return [(fmean(x for x, _ in group), fmean(y for _, y in group)) for group in groups]


def _present(records: Sequence[StepRecord], value: Callable[[StepRecord], float | None]) -> list[float]:
    return [found for record in records if (found := value(record)) is not None]
