"""Planning a training: read, run the core, write."""

import logging
from collections.abc import Iterator, Sequence

from bunbuku_contracts import Draft, Report, Section, Table, stage, write_sections

from bunbuku_pretrain import planning
from bunbuku_pretrain.planning import GIB, SECONDS_PER_DAY, Fit, PlanConfig

_logger = logging.getLogger(__name__)


@stage("pretrain.plan", revision=1)
def plan(draft: Draft, config: PlanConfig) -> Report:
    """Say what a training needs before it is paid for: time, memory a GPU, checkpoints, and a layout that fits.

    Give a model, a cluster and the phases of the training. How fast it goes is read off a step that somebody logged
    (`logged`), or assumed (`assumed`), and the report says which. A layout that does not fit is refused with the part that
    is too large; without one, the cheapest that fits is chosen, with what forbids the cheaper ones.
    """
    chosen = planning.choose(config)
    found = list(_sections(config, chosen))
    draft.metrics |= _metrics(config, chosen)
    write_sections(draft, found)
    for section in found:
        for line in (*section.paragraphs, *(_told(table, row) for table in section.tables for row in table.rows)):
            _logger.info("%s: %s", section.title, line)
    return Report(title="Plan")


def _told(table: Table, row: Sequence[object]) -> str:
    return ", ".join(f"{column} {cell}" for column, cell in zip(table.columns, row, strict=True))


def _metrics(config: PlanConfig, chosen: Fit) -> dict[str, float]:
    model, found = config.model, {"mfu": config.mfu}
    found |= {"parameters": float(model.parameters), "active_parameters": float(model.active_parameters)}
    found |= {f"memory_gib.{part}": value / GIB for part, value in chosen.memory._asdict().items()}
    found["memory_gib.total"] = chosen.memory.total / GIB
    found["checkpoint_gb"] = planning.checkpoint_bytes(model) / 1e9
    days = 0.0
    for phase in config.phases:
        seconds = config.seconds_per_step(phase)
        days += phase.steps * seconds / SECONDS_PER_DAY
        found[f"seconds_per_step.{phase.name}"] = seconds
        found[f"tokens_per_second.{phase.name}"] = phase.batch_tokens / seconds
    found["days"] = days
    return found


def _sections(config: PlanConfig, chosen: Fit) -> Iterator[Section]:
    model, cluster = config.model, config.cluster
    source = "read off the logged step" if config.logged else "an assumption, not a measurement"
    split = chosen.layout.tensor * chosen.layout.pipeline
    yield Section(
        title="In short",
        paragraphs=(
            f"{model.parameters / 1e9:.2f} G weights, {model.active_parameters / 1e9:.2f} G of them active for a token, on "
            f"{cluster.gpus} {cluster.gpu.name}: {_metrics(config, chosen)['days']:.1f} days without interruptions.",
            f"The share of the peak that is reached (MFU) is {config.mfu:.3f}: {source}.",
            f"Layout: {chosen.layout}, data parallel {cluster.gpus // split}; pipeline stages wait "
            f"{chosen.bubble:.1%} of the time.",
        ),
        tables=(_phases(config),),
    )
    yield Section(title="Memory of the fullest GPU", tables=(_memory(chosen),))
    yield Section(title="Checkpoints", paragraphs=(_checkpoints(config),))
    if config.layout is None and (others := planning.rejected(config, chosen)):
        rows = tuple((str(each.layout), each.problem) for each in others)
        yield Section(
            title="Cheaper layouts, and why they cannot be", tables=(Table(columns=("layout", "reason"), rows=rows),)
        )


def _phases(config: PlanConfig) -> Table:
    columns = (
        "phase",
        "G tokens",
        "sequence",
        "M tokens a step",
        "steps",
        "s a step",
        "k tokens/s",
        "TFLOP/s a GPU",
        "days",
    )
    rows: list[tuple[str | int | float, ...]] = []
    for phase in config.phases:
        seconds = config.seconds_per_step(phase)
        done = config.model.flops_per_token(phase.sequence_length) * phase.batch_tokens / seconds
        rows.append(
            (
                phase.name,
                round(phase.tokens / 1e9, 2),
                phase.sequence_length,
                round(phase.batch_tokens / 1e6, 2),
                phase.steps,
                round(seconds, 2),
                round(phase.batch_tokens / seconds / 1e3, 1),
                round(done / config.cluster.gpus / 1e12, 1),
                round(phase.steps * seconds / SECONDS_PER_DAY, 2),
            )
        )
    return Table(columns=columns, rows=tuple(rows))


def _memory(chosen: Fit) -> Table:
    parts = [(name, round(value / GIB, 2)) for name, value in chosen.memory._asdict().items()]
    total = [("total", round(chosen.memory.total / GIB, 2)), ("usable", round(chosen.usable / GIB, 2))]
    return Table(columns=("part", "GiB"), rows=(*parts, *total))


def _checkpoints(config: PlanConfig) -> str:
    size = planning.checkpoint_bytes(config.model) / 1e9
    seconds = size / config.cluster.storage_gb_per_second
    return (
        f"A whole state is {size:,.0f} GB (bf16 weights, fp32 weights and two moments) and takes {seconds:,.0f} s to write "
        f"at {config.cluster.storage_gb_per_second:g} GB/s."
    )
