"""What a run is given, turned into what its ranks need to know of it: text, held-out text, a course gone on with."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bunbuku_contracts import (
    Artifact,
    ArtifactError,
    Blend,
    BunbukuError,
    Checkpoint,
    ConfigError,
    Draft,
    Report,
    Section,
    Table,
    Tokens,
)

from bunbuku_pretrain.course import Course
from bunbuku_pretrain.job import packings, read_state
from bunbuku_pretrain.laps import Lap, Stint
from bunbuku_pretrain.overlap import common_documents
from bunbuku_pretrain.packing import Packing
from bunbuku_pretrain.reading import HeldOut, Sampler, TokenFile, lengths_of
from bunbuku_pretrain.supply import Supply, lengths_cut
from bunbuku_pretrain.training import TrainConfig, TrainRun

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Before:
    """What a run goes on with besides weights."""

    schedule_tokens: int = 0
    sampler: Sampler | None = None

    @property
    def read(self) -> tuple[Stint, ...]:
        return self.sampler.read if self.sampler else ()


@dataclass(frozen=True)
class Provided:
    """The text of a run."""

    course: Course
    fields: dict[str, Any]
    """Of the job."""
    sections: tuple[Section, ...]


def read_blend(blend: Artifact[Report]) -> Blend:
    """The plan that `bunbuku-corpus blend` made."""
    (file,) = blend.files("blend")
    return Blend.model_validate_json(blend.path(file).read_bytes())


def going_on(
    config: TrainConfig, settings: TrainRun, tokens: Artifact[Tokens], start: Artifact[Checkpoint] | None
) -> Before:
    """What is kept of the run that a checkpoint comes from.

    Raises:
        ConfigError: It cannot be kept.
        BunbukuError: The checkpoint was trained with other rotary positions than it says.
    """
    if start is not None:
        _check_theta(config, start)
    if not config.keep:
        return Before()
    named = " and ".join(f"`{one}`" for one in config.keep)
    if start is None:
        raise ConfigError(f"{named} is to be kept, and no checkpoint to start from is given", hint="give --start")
    if start.spec.format != "megatron":
        hint = "start from what `train` made, or leave `keep` out of the config"
        raise ConfigError(f"{named} is to be kept of {start.dir}, which has weights alone", hint=hint)
    state = read_state(start.dir)
    if "optimizer" in config.keep and state.shared_optimizer != settings.distributed_optimizer:
        raise ConfigError(
            f"`distributed_optimizer` is {settings.distributed_optimizer}, and {start.dir} was trained with the other",
            hint="set it as it was, or do not keep the optimizer",
        )
    return Before(
        schedule_tokens=state.schedule_tokens if "schedule" in config.keep else 0,
        sampler=_kept_sampler(config, tokens, start, state.sampler) if "sampler" in config.keep else None,
    )


def provide(draft: Draft, course: Course, tokens: Artifact[Tokens], *, before: Before) -> Provided:
    """Look whether there is text enough, pack what is to be packed, and compare it with what is held out.

    Raises:
        BunbukuError: There is not, or it has documents in common with what is held out and may not.
    """
    config, files = course.config, token_files(tokens)
    train_part = tokens.part or "train"
    supply = Supply(tokens.dir, files, course, train_part, before.read)
    supply.check()
    block_tokens = _block_tokens(supply, before)
    folder = packings(draft.scratch)
    clock = time.perf_counter()
    laps = supply.laps(block_tokens=block_tokens, seed=config.seed, packings=folder)
    seconds = time.perf_counter() - clock
    parts = {part: files[part] for part in supply.parts()}
    table = _packing_table(draft, course, parts, laps, folder=folder, seconds=seconds)
    held_out = _compared(draft, config, tokens, parts, _held_out(config, tokens, files))
    warn_of_interval(config, course)
    sampler = Sampler(
        tokens=tokens.content, seed=config.seed, packing=config.packing, block_tokens=block_tokens, read=before.read
    )
    fields = {
        "parts": parts,
        "train_part": train_part,
        "laps": tuple(laps),
        "sampler": sampler,
        "held_out": held_out,
        "schedule_before": before.schedule_tokens,
    }
    return Provided(course, fields, (Section(title="Text", tables=(_phase_table(course), table)),))


def token_files(tokens: Artifact[Tokens]) -> dict[str, TokenFile]:
    """The parts of a tokens artifact."""
    found: dict[str, TokenFile] = {}
    for file in tokens.manifest.files:
        if not file.in_content or not file.path.endswith(".bin"):
            continue
        if file.part in found:
            raise ArtifactError(f"part {file.part!r} of {tokens.dir} has several .bin files, not one")
        if file.tokens:
            path = tokens.path(file).resolve()
            found[file.part] = TokenFile(bin=path, tokens=file.tokens, documents=file.rows or 0)
    return found


def _check_theta(config: TrainConfig, start: Artifact[Checkpoint]) -> None:
    """Refuse weights that were trained with another base of rotary positions than their manifest says."""
    own: float | None = None
    if start.spec.format == "megatron":
        own = read_state(start.dir).rope_theta
    asked = config.phases[0].rope_theta if config.phases else None
    told = start.spec.architecture.rope_theta
    if own is not None and own != told and asked is None:
        raise BunbukuError(
            f"{start.dir} was trained with `rope_theta` {own:g}, and is to be loaded with {told:g}",
            hint=f"say which it is to be in the first phase: rope_theta = {own:g}",
        )


def _kept_sampler(
    config: TrainConfig, tokens: Artifact[Tokens], start: Artifact[Checkpoint], kept: Sampler | None
) -> Sampler:
    if kept is None:
        raise ConfigError(f"{start.dir} does not say how far it had read", hint="take `sampler` out of `keep`")
    for what, then, now in (
        ("tokens", kept.tokens[:7], tokens.content[:7]),
        ("`seed`", kept.seed, config.seed),
        ("`packing`", kept.packing, config.packing),
    ):
        if then != now:
            raise ConfigError(
                f"{start.dir} read in the order of {what} {then}, and this run has {now}",
                hint="give the same, or take `sampler` out of `keep`: every part is then read from its beginning",
            )
    return kept


def _block_tokens(supply: Supply, before: Before) -> int:
    if before.sampler is None:
        return supply.block_tokens()
    kept = before.sampler.block_tokens
    for stretch in supply.course.stretches:
        if kept % stretch.sequence_length and before.sampler.packing == "concatenate":
            raise ConfigError(
                f"the text was shuffled in blocks of {kept} tokens, which is no multiple of the sequence length "
                f"{stretch.sequence_length}",
                hint="take `sampler` out of `keep`; a first run with `shuffle_tokens` can go on in longer sequences",
            )
    return kept


def _held_out(config: TrainConfig, tokens: Artifact[Tokens], files: Mapping[str, TokenFile]) -> tuple[HeldOut, ...]:
    parts = config.validation_parts
    if parts is None:
        parts = tuple(part for part in files if part.startswith("validation"))
    for part in parts:
        if part not in files:
            raise ArtifactError(f"{tokens.dir} has no part {part!r}, which is to be measured on")
    sizes = {part: int(tokens.manifest.metrics.get(f"{part}.bytes", 0)) or None for part in parts}
    return tuple(
        HeldOut(
            part=part,
            file=files[part],
            bytes=sizes[part],
            most_tokens=config.validation_tokens,
            packed=config.packing == "best_fit",
        )
        for part in sorted(parts)
        if files[part].tokens > 1
    )


def warn_of_interval(config: TrainConfig, course: Course) -> None:
    """Warn of a run that is never measured on its way: Tanuki's had `eval_interval=46875000`, and learned too late."""
    interval, given = config.validation_interval_steps, "validation_interval_steps" in config.model_fields_set
    if given and interval > course.steps:
        _logger.warning(
            "`validation_interval_steps` is %s and the run has %s steps: it is measured before the first and after the last "
            "alone; a long validation needs no long interval, since `validation_tokens` makes it short",
            f"{interval:,}",
            f"{course.steps:,}",
        )


def _compared(
    draft: Draft,
    config: TrainConfig,
    tokens: Artifact[Tokens],
    parts: Mapping[str, TokenFile],
    held_out: tuple[HeldOut, ...],
) -> tuple[HeldOut, ...]:
    """The held-out parts, each with how many of its documents are in the text trained on too.

    Raises:
        BunbukuError: Some are, and none may be.
    """
    if config.overlap == "ignore":
        return held_out
    compared: list[HeldOut] = []
    for one in held_out:
        counts = 0
        for part, file in parts.items():
            if part == one.part:
                continue
            common = common_documents(file, one.file, dtype=tokens.spec.dtype)
            draft.metrics[f"overlap.{one.part}.{part}"] = float(common)
            counts += common if part not in {other.part for other in held_out} else 0
            if not common:
                continue
            problem = f"{common} of {one.file.documents} documents of part {one.part!r} are in part {part!r} too"
            if config.overlap == "refuse":
                raise BunbukuError(problem, hint="take them out of one of the two, or let `overlap` be 'warn'")
            _logger.warning("%s: what is measured on them was learned by heart", problem)
        compared.append(one.model_copy(update={"common": counts}))
    return tuple(compared)


def _packing_table(
    draft: Draft, course: Course, parts: Mapping[str, TokenFile], laps: list[Lap], *, folder: Path, seconds: float
) -> Table:
    """What becomes of the documents of every part, and how often it is read."""
    packed = course.config.packing == "best_fit"
    rows: list[tuple[str | int | float, ...]] = []
    for part, file in parts.items():
        own = [lap for lap in laps if lap.part == part]
        length = own[-1].sequence_length
        fill = Packing.load(folder / own[-1].packing).fill(length) if own[-1].packing else 1.0
        cut = lengths_cut(lengths_of(file), length, packed=packed)
        read = sum(lap.sequences * lap.sequence_length for lap in own)
        epochs = read / file.tokens
        rows.append((part, file.documents, file.tokens, read, round(epochs, 3), round(fill, 5), round(cut, 5)))
        draft.metrics |= {f"text.{part}.epochs": epochs, f"text.{part}.fill": fill, f"text.{part}.cut": cut}
        _logger.info("%s: %.2f epochs, sequences filled to %.2f %%, %.2f %% of documents cut", part, epochs, 100 * fill, 100 * cut)  # fmt: skip
    if packed:
        documents = sum(file.documents for file in parts.values())
        draft.metrics["packing.documents_per_second"] = documents / seconds
        _logger.info("packed %s documents in %.1f s", f"{documents:,}", seconds)
    columns = ("part", "documents", "tokens", "tokens read", "epochs", "fill", "documents cut")
    return Table(columns=columns, rows=tuple(rows), caption="fill and cuts at the last sequence length of the part")


def _phase_table(course: Course) -> Table:
    rows: list[tuple[str | int | float | None, ...]] = []
    for number, phase in enumerate(course.phases):
        first, last = course.phase_steps[number]
        end = course.step(last)
        mix = ", ".join(f"{part} {weight:g}" for part, weight in phase.mix.items())
        rows.append((phase.name, first, last, end.tokens, end.sequence_length, end.batch_tokens, phase.rope_theta, mix))
    columns = (
        "phase",
        "first step",
        "last step",
        "tokens at its end",
        "sequence",
        "tokens a step",
        "rope theta",
        "mix",
    )
    return Table(columns=columns, rows=tuple(rows))
