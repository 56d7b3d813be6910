"""A training as one HTML file that needs nothing else: while it goes, and as it went.

Everything that comes from a run is escaped, the style sheet and the script are in the file, and a content-security policy
in the page forbids every request. How it looks is in `page/`.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby
from statistics import fmean

from bunbuku_pretrain.charts import COLOURS, MOST_COLUMNS, Line, Mark, heat_map, line_chart, short
from bunbuku_pretrain.durations import duration
from bunbuku_pretrain.job import LayerMixture, StepRecord
from bunbuku_pretrain.observations import QUANTILES, Event, Statistics
from bunbuku_pretrain.story import Story, incidents

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
LAST_SAMPLES = 6
_QUIET = ("start",)
"""Events in the table that are no marks in the charts."""
_KETTLE = (
    '<svg class="kettle" viewBox="0 0 64 64" aria-hidden="true">'
    '<path d="M20 24 Q32 2 44 24" fill="none" stroke="currentColor" stroke-width="3" stroke-linecap="round"/>'
    '<path d="M12 40 C12 26 20 22 32 22 C44 22 52 26 52 40 C52 52 44 56 32 56 C20 56 12 52 12 40 Z" fill="currentColor"/>'
    '<path d="M51 36 C58 34 58 28 61 26" fill="none" stroke="currentColor" stroke-width="5" stroke-linecap="round"/>'
    '<path d="M14 44 C4 46 3 36 8 31" fill="none" stroke="var(--accent)" stroke-width="6" stroke-linecap="round"/>'
    '<circle cx="26" cy="36" r="4.4" fill="var(--paper)"/><circle cx="38" cy="36" r="4.4" fill="var(--paper)"/>'
    '<circle cx="26.6" cy="36.4" r="1.9" fill="currentColor"/><circle cx="37.4" cy="36.4" r="1.9" fill="currentColor"/>'
    '<ellipse cx="32" cy="43" rx="2.4" ry="1.7" fill="var(--accent)"/>'
    '<rect x="27" y="17" width="10" height="6" rx="3" fill="currentColor"/></svg>'
)

type Measure = Callable[[StepRecord], float | None]


def html(story: Story, *, texts: Callable[[Sequence[int]], str] | None = None) -> str:
    """The page as it is now.

    Args:
        story: What is known of the run.
        texts: The text of ids; without it, samples are shown as ids.
    """
    every = "" if story.ended else f' data-every="{story.job.settings.watch.page_interval_seconds:g}"'
    page = files("bunbuku_pretrain") / "page"
    marks = _marks(story)
    body = "".join(
        [
            _masthead(story),
            _section("curves", "Curves", _curves(story, marks), note=_HOW_TO_READ),
            _section("evaluations", "What the milestones can do", _evaluations(story, marks)),
            _section("events", "Events", _events(story)),
            _section("layers", "Layer by layer", _layers(story, marks), note=_LAYERS),
            _section("samples", "What the model writes", _samples(story, texts or _ids)),
            _section("settings", "Settings", _settings(story)),
        ]
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><meta name="color-scheme" content="light dark">'
        f'<title>{escape(story.name)}: training</title><link rel="icon" href="data:,">'
        f"<style>{(page / 'style.css').read_text(encoding='utf-8')}</style></head>\n"
        f'<body{every}><div class="page">{body}</div><button type="button" class="back" hidden>Whole run (Esc)</button>'
        f"<script>{(page / 'page.js').read_text(encoding='utf-8')}</script></body></html>\n"
    )


_HOW_TO_READ = "Point at a chart to read all of them at that place; drag over a stretch to look closer."
_LAYERS = (
    "The embedding at the bottom, then every layer, the head (last norm and output layer) at the top. Lighter is more, on "
    "a logarithmic scale. m and v are AdamW's moments of the gradient, bias corrected."
)


def _masthead(story: Story) -> str:
    state, word = (
        ("running", "running") if not story.ended else (story.ended, {"done": "finished"}.get(story.ended, story.ended))
    )
    done = story.tokens / story.course.tokens
    facts = "".join(
        f"<div{' class=warn' if warn else ''}><dt>{escape(name)}</dt><dd>{value}</dd></div>"
        for name, value, warn in _facts(story)
    )
    return (
        f'<header class="masthead">{_KETTLE}<div><p class="kicker">bunbuku <span lang="ja">分福茶釜</span> pretrain</p>'
        f'<h1>{escape(story.name)}<span class="state {state}">{escape(word)}</span></h1></div></header>\n'
        f'<div class="way" role="progressbar" aria-valuenow="{done * 100:.0f}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-label="Share of the tokens"><i style="width:{done:.1%}"></i></div><dl class="facts">{facts}</dl>\n'
    )


def _facts(story: Story) -> Iterator[tuple[str, str, bool]]:
    yield "step", f"{story.step:,} <small>of {story.course.steps:,}</small>", False
    yield "tokens", f"{short(story.tokens)} <small>of {short(story.course.tokens)}</small>", False
    losses = [record.loss for record in story.steps[-20:] if record.loss is not None]
    if losses:
        yield "training loss", f"{fmean(losses):.4f} <small>last {len(losses)}</small>", False
    validated = [record.validation_loss for record in story.records if record.validation_loss is not None]
    if validated:
        yield "validation loss", f"{validated[-1]:.4f} <small>from {validated[0]:.3f}</small>", False
    if rate := story.tokens_per_second:
        yield "tokens a second", short(float(f"{rate:.4g}")), False
        if mfu := story.mfu(rate):
            yield "MFU", f"{mfu:.1%}", False
    if not story.ended and (left := story.seconds_left) is not None:
        yield "time left", duration(left), False
    if story.statistics:
        yield "memory of a rank", f"{story.statistics[-1].memory_bytes / 2**30:.2f} GiB", False
    for name, count in incidents(story):
        yield name, str(count), count > 0


def _marks(story: Story) -> list[Mark]:
    """Where something happened. What happened at one step is one mark, of the kind that came first: a skip has a reason."""
    loud = sorted((event for event in story.events if event.kind not in _QUIET), key=lambda event: event.step)
    found: list[Mark] = []
    for step, group in groupby(loud, key=lambda event: event.step):
        events = list(group)
        told = "; ".join(f"{event.kind}: {_said(story, event)}" for event in events)
        found.append(Mark(story.tokens_at(step), events[0].kind, f"step {step}: {told}"))
    return found


def _curves(story: Story, marks: Sequence[Mark]) -> str:
    return "".join(
        _figure(
            title, lines, line_chart(lines, title=title, y_label=label, marks=marks, log=log, until=story.tokens), note
        )
        for title, label, lines, log, note in _charts(story)
    )


def _charts(story: Story) -> Iterator[tuple[str, str, list[Line], bool, str]]:
    """Title, label of the y axis, lines, whether it is logarithmic, and what to say of it."""

    def of(name: str, value: Measure, colour: int = 0) -> Line:
        points = [(float(record.tokens), y) for record in story.records if (y := value(record)) is not None]
        return Line(name, points, colour)

    loss, validation = of("training", lambda r: r.loss, 1), of("validation", lambda r: r.validation_loss, 0)
    yield "Loss", "nats a token", [loss, validation], False, ""
    parts = sorted({name for record in story.records for name in record.validation})
    if len(parts) > 1:
        by_part = [of(name, _loss_of(name), colour) for colour, name in enumerate(parts)]
        yield "Validation by part", "nats a token", by_part, False, ""
    in_bytes = [of(name, _bits_of(name), colour) for colour, name in enumerate(parts)]
    yield "Bits per byte", "bits per byte of held-out text", in_bytes, False, "comparable between tokenizers"
    yield "Gradient norm", "norm before clipping", [of("gradient norm", lambda r: r.gradient_norm, 0)], True, ""
    yield "Learning rate", "learning rate", [of("learning rate", lambda r: r.learning_rate, 2)], False, ""
    speeds = [(float(record.tokens), speed) for record, speed in story.speeds()]
    yield "Throughput", "tokens a second", [Line("tokens a second", speeds, 6)], False, ""
    shares = [(tokens, mfu) for tokens, speed in speeds if (mfu := story.mfu(speed)) is not None]
    yield (
        "MFU",
        "share of the peak",
        [Line("MFU", shares, 6)],
        False,
        "operations of the model over what the devices could do",
    )
    yield (
        "Balance of experts",
        "loss, 1 is even",
        [of("balance", lambda r: r.mixture and r.mixture.balance, 3)],
        False,
        "",
    )
    most, least = (
        of("most used", lambda r: r.mixture and r.mixture.most_load, 0),
        of("least used", lambda r: r.mixture and r.mixture.least_load, 1),
    )
    yield "Loads of experts", "over an even share", [most, least], False, "of any layer"
    yield "Router z-loss", "mean of log²Z", [of("z-loss", lambda r: r.mixture and r.mixture.z_loss, 4)], False, ""
    entropy = of("entropy", lambda r: r.mixture and r.mixture.entropy, 2)
    yield "Router entropy", "nats", [entropy], False, "of a token's gates over all experts; log of their number if even"
    sharpness = of("Max1/Max2", lambda r: r.mixture and r.mixture.max1_max2, 7)
    yield "Max1/Max2", "geometric mean over tokens", [sharpness], False, "a token's largest gate over the next"
    dead = of("dead experts", lambda r: r.mixture and r.mixture.dead, 0)
    yield "Dead experts", "experts of all layers", [dead], False, "with less than a hundredth of an even share"
    dropped = of("beyond capacity", lambda r: r.mixture and r.mixture.dropped, 0)
    yield (
        "Tokens beyond capacity",
        "share of the choices",
        [dropped],
        False,
        "what experts of a stated capacity would drop",
    )
    memory = [(float(one.tokens), one.memory_bytes / 2**30) for one in story.statistics]
    yield "Memory", "GiB of the fullest rank", [Line("memory", memory, 5)], False, ""


def _loss_of(part: str) -> Measure:
    return lambda record: record.validation[part].loss if part in record.validation else None


def _bits_of(part: str) -> Measure:
    return lambda record: record.validation[part].bits_per_byte if part in record.validation else None


def _figure(title: str, lines: Sequence[Line], svg: str, note: str = "") -> str:
    if not svg:
        return ""
    shown = [line for line in lines if line.points]
    legend = "".join(f'<li class="c{line.colour}">{escape(line.name)}</li>' for line in shown)
    small = f"<small>{escape(note)}</small>" if note else ""
    return (
        f"<figure><figcaption>{escape(title)}{small}</figcaption>{svg}"
        + (f'<ul class="legend">{legend}</ul>' if len(shown) > 1 else "")
        + "</figure>\n"
    )


def _evaluations(story: Story, marks: Sequence[Mark]) -> str:
    """A chart a metric of a report, with a line for each model, style or domain that it was measured of."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for one in sorted(story.evaluations, key=lambda one: one.step):
        for name, value in one.metrics.items():
            words = name.split(".")
            if words[-1] not in ("low", "high"):  # intervals are in the reports
                lines = found.setdefault(".".join(words[:2]), {})
                lines.setdefault(".".join(words[2:]) or words[-1], []).append((float(one.tokens), value))
    figures: list[str] = []
    for title, points in found.items():
        lines = [Line(name, of, colour % COLOURS) for colour, (name, of) in enumerate(points.items())]
        # Counts that are ever the same say how it was measured, not how well it went.
        if {y for line in lines for _, y in line.points if not y.is_integer() or y in (0.0, 1.0)}:
            svg = line_chart(lines, title=title, y_label=title.rpartition(".")[2], marks=marks, until=story.tokens)
            figures.append(_figure(title, lines, svg))
    return "".join(figures)


def _said(story: Story, event: Event) -> str:
    """The text of an event, with files as they are named in the artifact: the draft it was said in is no more."""
    return event.text.replace(f"{story.job.log.parent}/", "")


def _events(story: Story) -> str:
    rows = "".join(
        f'<tr><td class="n">{event.step:,}</td><td><span class="chip k-{_word(event.kind)}">{escape(event.kind)}</span></td>'
        f"<td>{escape(_said(story, event))}</td><td><time>{_clock(event.time)}</time></td></tr>\n"
        for event in reversed(story.events)
    )
    head = '<tr><th class="n">step</th><th>kind</th><th>what</th><th>when (UTC)</th></tr>'
    return f'<div class="scroll tall"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>' if rows else ""


def _layers(story: Story, marks: Sequence[Mark]) -> str:
    if not story.statistics:
        return ""
    maps: tuple[tuple[str, str, Callable[[Statistics], Sequence[float]]], ...] = (
        ("Gradient norm", "before clipping", lambda one: one.gradient_norm),
        (
            "Activations, root mean square",
            "of what each puts out; the head's are logits",
            lambda one: one.activation_rms,
        ),
        ("Activations, largest", "outliers, which quantisation meets first", lambda one: one.activation_max),
        ("Update over weight", "how far a step moves a layer; about 1e-3 is usual", lambda one: one.update_ratio),
        ("Largest sqrt(v)", "jumps when a gradient far from the usual comes by", lambda one: one.root_moment_max),
        (
            "Share of weights with |m| > sqrt(v)",
            "whose last gradients all point the same way",
            lambda one: one.steep_share,
        ),
    )
    figures = [_moments(story, marks)]
    for title, note, values in maps:
        columns = [(float(one.tokens), values(one)) for one in story.statistics]
        figures.append(
            _figure(title, (), heat_map(story.rows, columns, title=title, marks=marks, until=story.tokens), note)
        )
    return "".join(figures) + _experts(story, marks)


def _experts(story: Story, marks: Sequence[Mark]) -> str:
    """How each layer of a mixture sends its tokens."""
    mixed = [(record.tokens, record.mixture.layers) for record in story.records if record.mixture]
    every = max(1, len(mixed) // (4 * MOST_COLUMNS))
    shown = [(float(tokens), layers) for tokens, layers in mixed[::every] if layers]
    rows = [story.rows[1:-1][layer] for layer in story.job.architecture.mixture_layers]
    figures: list[str] = []
    for title, note, value in _OF_LAYERS if shown else ():
        columns = [(tokens, [value(one) for one in layers]) for tokens, layers in shown]
        svg = heat_map(rows, columns, title=title, marks=marks, until=story.tokens)
        figures.append(_figure(title, (), svg, note))
    return "".join(figures)


_OF_LAYERS: tuple[tuple[str, str, Callable[[LayerMixture], float]], ...] = (
    ("Load of the most used expert", "over an even share, layer by layer", lambda one: max(one.load)),
    ("Router entropy, layer by layer", "nats, of a token's gates over all experts", lambda one: one.entropy),
    ("Max1/Max2, layer by layer", "a token's largest gate over the next", lambda one: one.max1_max2),
    ("Dead experts, layer by layer", "with less than a hundredth of an even share", lambda one: one.dead),
    ("Tokens beyond capacity, layer by layer", "share of the choices", lambda one: one.dropped or 0.0),
)


def _moments(story: Story, marks: Sequence[Mark]) -> str:
    """Quantiles of sqrt(v) and its largest, the violet line, which a spike lifts before the loss shows it."""
    largest = [(float(one.tokens), max(one.root_moment_max)) for one in story.statistics]
    lines = [Line("largest", largest, 4)]
    for place, share in reversed(list(enumerate(QUANTILES))):
        points = [(float(one.tokens), one.root_moment_quantiles[place]) for one in story.statistics]
        if any(y > 0 for _, y in points):  # weights that no gradient reaches have none
            lines.append(Line(f"{share:.0%}", points, (0, 3, 2, 1, 6)[place]))
    title = "sqrt(v) of AdamW over all weights"
    return _figure(
        title,
        lines,
        line_chart(lines, title=title, y_label="sqrt(v)", marks=marks, log=True, until=story.tokens),
        "quantiles, and the largest in violet",
    )


def _samples(story: Story, texts: Callable[[Sequence[int]], str]) -> str:
    newest = list(reversed(story.samples))
    prompts = {one.prompt for one in newest}
    steps = list(dict.fromkeys(one.step for one in newest))

    def shown(of: Sequence[int]) -> str:
        return "".join(
            f'<div class="text"><h3>step {one.step:,}</h3><p class="said" lang="ja">'
            f'<span class="given">{escape(one.prompt)}</span>'
            f"{escape(texts(one.ids))}</p></div>"
            for one in newest
            if one.step in of
        )

    if not newest:
        return ""
    count = max(1, LAST_SAMPLES // max(1, len(prompts)))
    last, before = set(steps[:count]), set(steps[count:])
    older = (
        f'<details><summary>{len(before)} times before</summary><div class="texts">{shown(list(before))}</div></details>'
        if before
        else ""
    )
    return f'<p class="small">The likeliest token each time, after the same prompts.</p><div class="texts">{shown(list(last))}</div>{older}'


def _settings(story: Story) -> str:
    job = story.job
    blocks = (("Model", job.architecture), ("Config", job.config), ("Run settings", job.settings))
    return "".join(
        f"<details><summary>{name}</summary><pre><code>{escape(json.dumps(one.model_dump(mode='json', exclude_none=True), indent=2, ensure_ascii=False))}</code></pre></details>"
        for name, one in blocks
    )


def _section(name: str, title: str, body: str, *, note: str = "") -> str:
    if not body:
        return ""
    grid = f'<div class="charts">{body}</div>' if body.startswith("<figure") else body
    said = f'<p class="small">{escape(note)}</p>' if note else ""
    return f'<section id="{name}"><h2>{escape(title)}</h2>{said}{grid}</section>\n'


def _ids(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids))


def _word(kind: str) -> str:
    return "".join(letter for letter in kind.lower() if letter.isascii() and letter.isalpha()) or "other"


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
