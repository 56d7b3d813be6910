"""`eval.report`: one page that shows the whole run."""

from bunbuku_contracts import (
    Artifact,
    BunbukuError,
    Checkpoint,
    Config,
    Draft,
    Report,
    Section,
    Spec,
    Table,
    stage,
    write_sections,
)
from pydantic import Field

from bunbuku_eval.ancestry import Ancestry
from bunbuku_eval.headline import Headline
from bunbuku_eval.page import gather

PAGE = "index.html"


class ReportConfig(Config):
    title: str = Field(default="A language model and how it was made", min_length=1)
    notes: tuple[str, ...] = ()
    """Paragraphs of your own, shown under the summary."""
    attribution: tuple[str, ...] = ()
    """Whom the data is owed to, shown with the licences."""


@stage("eval.report", revision=2, bitwise=False)
def report(
    draft: Draft,
    config: ReportConfig,
    reports: dict[str, Artifact[Spec]],
    checkpoints: dict[str, Artifact[Checkpoint]],
) -> Report:
    """Draw one HTML page of a run: its numbers, curves, texts, pictures, lineage and commands.

    Give every report that is to be shown (or any artifact that has something to say), and the checkpoints whose
    training curves are: logs are found in them and in all they were made from, as long as those still lie where they
    lay. The page asks for nothing from the network.
    """
    if not reports and not checkpoints:
        raise BunbukuError("there is nothing to show", hint="--reports NAME=DIR, once a report; --checkpoints NAME=DIR")
    ancestry = Ancestry.of(
        {f"checkpoint {name}": one for name, one in checkpoints.items()}
        | {f"report {name}": one for name, one in reports.items()}
    )
    page = gather(
        reports,
        ancestry,
        title=config.title,
        notes=config.notes,
        attribution=config.attribution,
        base=draft.dir.parent,
    )
    (draft.dir / PAGE).write_text(page.html(), encoding="utf-8")
    draft.metrics |= _metrics(page.headline)
    draft.metrics |= {"artifacts": len(page.made), "seconds": page.seconds}
    write_sections(draft, [_section(page.headline, [verdict.text for verdict in page.verdicts])])
    return Report(title=config.title, page=PAGE)


def _metrics(headline: Headline) -> dict[str, float]:
    """The headline again, for who reads manifests."""
    found: dict[str, float] = {}
    for row in headline.rows:
        found[f"tokens_seen.{row.name}"] = row.tokens_seen
        if row.bits_per_byte is not None:
            found[f"bits_per_byte.{row.name}"] = row.bits_per_byte
        for change, what in ((row.to_parent, "to_parent"), (row.to_baseline, "to_baseline")):
            if change:
                found[f"{what}.{row.name}"] = change.value
        found |= {f"accuracy.{row.name}.{one.style}": one.value for one in row.accuracies}
    return found | ({"chance": headline.chance} if headline.chance is not None else {})


def _section(headline: Headline, said: list[str]) -> Section:
    rows = tuple(
        (
            row.name,
            row.shape,
            row.parameters,
            row.tokens_seen,
            row.bits_per_byte,
            row.to_parent.value if row.to_parent else None,
            row.to_baseline.value if row.to_baseline else None,
            *({one.style: one.value for one in row.accuracies}.get(style) for style in headline.styles),
        )
        for row in headline.rows
    )
    columns = ("model", "shape", "parameters", "tokens seen", "bits per byte", "to parent", "to bigram table")
    accuracies = tuple(f"accuracy, {style}" for style in headline.styles)
    return Section(title="In short", paragraphs=tuple(said), tables=(Table(columns=columns + accuracies, rows=rows),))
