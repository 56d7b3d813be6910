"""Training: one publisher, its ranks, and what becomes of a run that was cut off."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bunbuku_contracts import (
    Architecture,
    Artifact,
    ArtifactError,
    Checkpoint,
    ConfigError,
    Draft,
    Tokenizer,
    Tokens,
    Unfinished,
    stage,
    write_sections,
)
from bunbuku_pretrain import job as files
from bunbuku_pretrain import states, summary
from bunbuku_pretrain.course import Course
from bunbuku_pretrain.job import Job, Start, TrainState
from bunbuku_pretrain.milestones import Milestones
from bunbuku_pretrain.stages.export import ExportConfig, check_tokenizer
from bunbuku_pretrain.supervising import supervise
from bunbuku_pretrain.training import TrainConfig, TrainRun, check_layout, padded
from bunbuku_pretrain.watching import Watcher

LAPTOP = TrainRun()


@stage("pretrain.train", revision=1, resumable=True, bitwise=False)
def train(
    draft: Draft,
    config: TrainConfig,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    start: Artifact[Checkpoint] | None = None,
    *,
    run: TrainRun = LAPTOP,
) -> Checkpoint:
    """Train a new model, or go on with a dense or mixture-of-experts checkpoint, on Megatron-core.

    A run that is killed or stopped goes on from its last state when the same command is given again, and ends in the
    same bytes on the same machine with the same layout and threads. Ranks, devices and intervals of saving belong into
    the run settings (`--run`): they never change what is asked for. TensorBoard: `tensorboard --logdir OUT/log`.
    """
    _check_inputs(tokens, tokenizer, start)
    architecture = _architecture(config, tokenizer, start)
    course = Course(config)
    check_layout(course, run, architecture)
    job = _job(draft, config, run, architecture, tokens=tokens, start=start)
    before = start.spec if start is not None else None
    state = TrainState(step=course.steps, tokens=course.tokens)
    made = _Made(architecture, tokenizer, before)
    _launch(draft, job, made)
    _publish_state(draft, files.states(draft.scratch) / files.state_name(state.step))
    history = files.read_history(draft.scratch)
    draft.metrics |= summary.metrics(history)
    draft.metrics["parameters"] = float(architecture.parameters)
    write_sections(draft, [summary.section(history, architecture, epochs=state.tokens / _train_tokens(tokens))])
    return made.spec(state)


@dataclass(frozen=True)
class _Made:
    """What is true of every checkpoint of a run."""

    architecture: Architecture
    tokenizer: Artifact[Tokenizer]
    before: Checkpoint | None

    def spec(self, state: TrainState) -> Checkpoint:
        return Checkpoint(
            architecture=self.architecture,
            format="megatron",
            step=state.step + (self.before.step if self.before else 0),
            tokens_seen=state.tokens + (self.before.tokens_seen if self.before else 0),
            tokenizer=self.tokenizer.content,
            chat=self.before.chat if self.before else False,
        )


def _check_inputs(tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer], start: Artifact[Checkpoint] | None) -> None:
    check_tokenizer(str(tokens.dir), tokens.spec.tokenizer, tokenizer)
    if start is None:
        return
    check_tokenizer(str(start.dir), start.spec.tokenizer, tokenizer)
    if start.spec.format == "peft":
        hint = "fold it into its model first: bunbuku-align merge"
        raise ArtifactError(f"{start.dir} is an adapter, not a model", hint=hint)
    if start.spec.architecture.tied_embeddings:
        raise ArtifactError(
            f"{start.dir} has tied embeddings", hint="only models with an output layer of their own are trained"
        )


def _architecture(
    config: TrainConfig, tokenizer: Artifact[Tokenizer], start: Artifact[Checkpoint] | None
) -> Architecture:
    """The model's shape, from the config or from where it starts."""
    vocabulary = tokenizer.spec.vocab_size
    if start is None:
        if config.model is None:
            raise ConfigError(
                "`model` is missing, and no checkpoint to start from is given", hint="give one of the two"
            )
        return config.model.architecture(vocabulary=vocabulary, sequence_length=config.sequence_length)
    if config.model is not None:
        raise ConfigError(f"`model` is given, and {start.dir} brings its own", hint="leave `model` out of the config")
    brought = start.spec.architecture
    longest = max(brought.max_positions, config.sequence_length)
    rows = padded(brought.vocab_size)
    return brought.model_copy(update={"vocab_size": rows, "max_positions": longest})


def _job(
    draft: Draft,
    config: TrainConfig,
    settings: TrainRun,
    architecture: Architecture,
    *,
    tokens: Artifact[Tokens],
    start: Artifact[Checkpoint] | None,
) -> Job:
    read, length = _train_tokens(tokens), config.sequence_length
    if read <= length:
        raise ArtifactError(
            f"{tokens.dir} has {read} tokens to train on, a sequence of {length} needs one more than that",
            hint="give more text or shorten `sequence_length`",
        )
    draft.scratch.mkdir(parents=True, exist_ok=True)
    whole = files.saved_states(files.states(draft.scratch))
    return Job(
        config=config,
        settings=settings,
        architecture=architecture,
        vocabulary=tokens.spec.vocab_size,
        train=_token_file(tokens, _train_part(tokens)).resolve(),
        validation=_token_file(tokens, "validation").resolve() if "validation" in tokens.manifest.parts else None,
        dtype=tokens.spec.dtype,
        start=_start(start),
        resume=whole[-1].resolve() if whole else None,
        milestone_steps=Course(config).milestone_steps,
        scratch=draft.scratch.resolve(),
        log=draft.log.resolve(),
    )


def _start(start: Artifact[Checkpoint] | None) -> Start | None:
    if start is None:
        return None
    if start.spec.format == "hf":
        from bunbuku_pretrain.sources import HuggingFaceFolder

        HuggingFaceFolder(start.dir).check(start.spec.architecture)
        return Start(folder=start.dir.resolve(), format="hf")
    return Start(folder=start.dir.resolve(), format="megatron")


def _launch(draft: Draft, job: Job, made: _Made) -> None:
    """Run the ranks to the end of the run, publishing milestones on the way.

    Raises:
        BunbukuError: They failed, diverged, or were stopped by their time limit.
    """
    resumed = files.read_state(job.resume) if job.resume else None
    step = resumed.step if resumed else None
    if resumed and resumed.shared_optimizer != job.settings.distributed_optimizer:
        raise ConfigError(
            f"`distributed_optimizer` is {job.settings.distributed_optimizer}, the run began with the other",
            hint="set it as it was; everything else of the layout may change",
        )
    milestones = _milestones(draft, job, made)
    job = job.model_copy(update={"milestone_steps": tuple(sorted(set(job.milestone_steps) - milestones.done()))})
    milestones.close()
    files.cut_history(job.scratch, after_step=step)
    path = files.job_file(job.scratch)
    path.write_text(job.model_dump_json(indent=2), encoding="utf-8")
    watcher = Watcher(draft, job.scratch, steps=job.course.steps)

    def look() -> None:
        watcher.look()
        milestones.look()

    def launch(poll: Callable[[], None]) -> None:
        command = [sys.executable, "-m", "bunbuku_pretrain.rank", str(path)]
        settings = job.settings
        draft.launch(command, ranks=settings.ranks, env=_environment(settings), poll=poll, launcher=settings.launcher)

    try:
        outcome = None if _is_over(job) else supervise(job, launch, look)
    finally:
        watcher.close()
    milestones.close()
    if outcome is not None and outcome.status == "stopped":
        raise Unfinished(
            f"stopped by {outcome.problem} after step {outcome.step} of {job.course.steps}",
            hint="give the same command again to go on",
        )


def _is_over(job: Job) -> bool:
    """Whether nothing is left to do but to publish, since the last state is there and whole."""
    if job.resume is None or files.read_state(job.resume).step != job.course.steps:
        return False
    if problem := states.damage(job.resume):
        states.set_aside(job.scratch, job.resume, problem)
    return not problem


def _milestones(draft: Draft, job: Job, made: _Made) -> Milestones:
    def publish(folder: Path) -> Path:
        from bunbuku_pretrain.hugging_face import write_folder

        state = files.read_state(folder)

        def make(milestone: Draft) -> Checkpoint:
            exported = write_folder(
                milestone.dir,
                folder,
                architecture=made.architecture,
                tokenizer=made.tokenizer,
                shard_bytes=ExportConfig().shard_bytes,
            )
            return made.spec(state).model_copy(update={"format": "hf", "architecture": exported})

        return draft.milestone(f"step-{state.step:06d}", make).dir

    return Milestones(
        files.milestones(job.scratch),
        publish=publish,
        command=job.settings.milestone_command,
        timeout_seconds=job.settings.milestone_timeout_seconds,
        log=draft.log,
    )


def _environment(settings: TrainRun) -> dict[str, str]:
    # Megatron marks functions for torch.compile, which would need a compiler and half a minute.
    threads = {} if settings.threads is None else {"OMP_NUM_THREADS": str(settings.threads)}
    return {"TORCHDYNAMO_DISABLE": "1", "PYTHONUNBUFFERED": "1", **threads}


def _publish_state(draft: Draft, state: Path) -> None:
    """Link the files of the final state into the draft: they may be many gigabytes, and the scratch folder goes."""
    for path in sorted(state.iterdir()):
        if path.name == states.HASHES:
            continue  # the manifest has them
        target = draft.dir / path.name
        target.unlink(missing_ok=True)
        target.hardlink_to(path)


def _train_part(tokens: Artifact[Tokens]) -> str:
    return tokens.part or "train"


def _train_tokens(tokens: Artifact[Tokens]) -> int:
    return sum(file.tokens or 0 for file in tokens.files(_train_part(tokens)))


def _token_file(tokens: Artifact[Tokens], part: str) -> Path:
    """The `.bin` of a part."""
    found = [file for file in tokens.files(part) if file.path.endswith(".bin")]
    if len(found) != 1:
        raise ArtifactError(f"part {part!r} of {tokens.dir} has {len(found)} .bin files, not one")
    return tokens.path(found[0])
