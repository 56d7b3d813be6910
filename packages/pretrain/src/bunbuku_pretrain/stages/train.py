"""Training: one publisher, its ranks, and what becomes of a run that was cut off."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bunbuku_contracts import (
    Architecture,
    Artifact,
    ArtifactError,
    BunbukuError,
    Checkpoint,
    ConfigError,
    Draft,
    Report,
    Tokenizer,
    Tokens,
    Unfinished,
    stage,
    write_sections,
)

from bunbuku_pretrain import job as files
from bunbuku_pretrain import states, summary
from bunbuku_pretrain.blame import excluded, without
from bunbuku_pretrain.blending import with_blend
from bunbuku_pretrain.course import Course
from bunbuku_pretrain.job import Job, Start, TrainState
from bunbuku_pretrain.milestones import Milestones
from bunbuku_pretrain.precision import check_engine
from bunbuku_pretrain.preflight import insist, insist_on_text
from bunbuku_pretrain.providing import Provided, going_on, provide, read_blend, token_files
from bunbuku_pretrain.seen import write_seen
from bunbuku_pretrain.stages.export import ExportConfig, check_tokenizer
from bunbuku_pretrain.supervising import supervise
from bunbuku_pretrain.training import TrainConfig, TrainRun, check_layout, padded
from bunbuku_pretrain.watching import Watcher, decoder, run_name, write_prompts

LAPTOP = TrainRun()


@stage("pretrain.train", revision=3, resumable=True, bitwise=False)
def train(
    draft: Draft,
    config: TrainConfig,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    start: Artifact[Checkpoint] | None = None,
    blend: Artifact[Report] | None = None,
    *,
    run: TrainRun = LAPTOP,
) -> Checkpoint:
    """Train a new model, or go on with a dense or mixture-of-experts checkpoint, on Megatron-core.

    A run that is killed or stopped goes on from its last state when the same command is given again, and ends in the
    same bytes on the same machine with the same layout and threads. Ranks, devices and intervals of saving belong into
    the run settings (`--run`): they never change what is asked for. TensorBoard: `tensorboard --logdir OUT/log`.
    """
    trained = run_training(draft, config, tokens, tokenizer, start, blend, run=run)
    job = trained.job
    state = files.read_state(_publish_state(draft, files.states(draft.scratch) / files.state_name(job.course.steps)))
    history = files.read_history(draft.scratch)
    seen = write_seen(draft, job)
    draft.metrics |= summary.metrics(history)
    draft.metrics["parameters"] = float(job.architecture.parameters)
    write_sections(draft, [summary.section(history, job.architecture), *trained.provided.sections, *seen])
    return trained.made.spec(state)


@dataclass(frozen=True)
class Trained:
    """A run that has come to its end; its last state, history and observations are in the scratch folder."""

    job: Job
    made: "_Made"
    provided: Provided


def run_training(
    draft: Draft,
    config: TrainConfig,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    start: Artifact[Checkpoint] | None,
    blend: Artifact[Report] | None,
    *,
    run: TrainRun,
) -> Trained:
    """Train to the end in the scratch folder of a draft.

    Raises:
        BunbukuError: The inputs do not fit together, or the run failed, diverged, or was stopped.
    """
    _check_inputs(tokens, tokenizer, start)
    config = with_blend(config, read_blend(blend)) if blend is not None else config
    insist_on_text(token_files(tokens), tokens.spec.dtype)
    before = going_on(config, run, tokens, start)
    course = Course(config, schedule_before=before.schedule_tokens)
    architecture = _architecture(config, course, tokenizer, start)
    check_layout(course, run, architecture)
    check_engine(config, run)
    provided = provide(draft, course, tokens, before=before)
    job = _job(draft, config, run, architecture, provided, tokens=tokens, start=start)
    made = _Made(architecture, tokenizer, start.spec if start is not None else None)
    _launch(draft, job, made)
    return Trained(job, made, provided)


@dataclass(frozen=True)
class _Made:
    """What is true of every checkpoint of a run."""

    architecture: Architecture
    tokenizer: Artifact[Tokenizer]
    before: Checkpoint | None

    def shape(self, state: TrainState) -> Architecture:
        """With what the phases up to this state made of it."""
        update = {"rope_theta": state.rope_theta, "max_positions": state.max_positions}
        return self.architecture.model_copy(update=update)

    def spec(self, state: TrainState) -> Checkpoint:
        return Checkpoint(
            architecture=self.shape(state),
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
            f"{start.dir} has tied embeddings, and only a model with an output layer of its own is trained",
            hint="upcycling takes such a model and keeps it so: write its embeddings as `lm_head.weight` too before upcycling",
        )


def _architecture(
    config: TrainConfig, course: Course, tokenizer: Artifact[Tokenizer], start: Artifact[Checkpoint] | None
) -> Architecture:
    """The model's shape, from the config or from where it starts."""
    vocabulary = tokenizer.spec.vocab_size
    if start is None:
        if config.model is None:
            raise ConfigError(
                "`model` is missing, and no checkpoint to start from is given", hint="give one of the two"
            )
        return config.model.architecture(vocabulary=vocabulary, sequence_length=course.longest)
    if config.model is not None:
        raise ConfigError(f"`model` is given, and {start.dir} brings its own", hint="leave `model` out of the config")
    brought = start.spec.architecture
    longest = max(brought.max_positions, course.longest)
    rows = padded(brought.vocab_size)
    return brought.model_copy(update={"vocab_size": rows, "max_positions": longest})


def _job(
    draft: Draft,
    config: TrainConfig,
    settings: TrainRun,
    architecture: Architecture,
    provided: Provided,
    *,
    tokens: Artifact[Tokens],
    start: Artifact[Checkpoint] | None,
) -> Job:
    draft.scratch.mkdir(parents=True, exist_ok=True)
    whole = files.saved_states(files.states(draft.scratch))
    return Job(
        config=config,
        settings=settings,
        architecture=architecture,
        vocabulary=tokens.spec.vocab_size,
        **provided.fields,
        dtype=tokens.spec.dtype,
        start=_start(start),
        resume=whole[-1].resolve() if whole else None,
        milestone_steps=provided.course.milestone_steps,
        scratch=draft.scratch.resolve(),
        log=draft.log.resolve(),
    )


def _start(start: Artifact[Checkpoint] | None) -> Start | None:
    if start is None:
        return None
    if start.spec.format == "hf":
        from bunbuku_pretrain.sources import HuggingFaceFolder

        HuggingFaceFolder(start.dir).check(start.spec.architecture)
    return Start(
        folder=start.dir.resolve(),
        format="hf" if start.spec.format == "hf" else "megatron",
        max_positions=start.spec.architecture.max_positions,
    )


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
    write_prompts(job, made.tokenizer)
    watcher = Watcher(draft, run_name(draft), job, texts=decoder(made.tokenizer))

    def look() -> None:
        watcher.look()
        milestones.look()

    def launch(poll: Callable[[], None]) -> None:
        command = [sys.executable, "-m", "bunbuku_pretrain.rank", str(path)]
        settings = job.settings
        launcher = without(settings.launcher, excluded(job.scratch, settings))
        draft.launch(command, ranks=settings.ranks, env=_environment(settings), poll=poll, launcher=launcher)

    digests = _digests(draft.inputs["tokens"]) if job.settings.verify_tokens == "hashes" else {}
    ended = "stopped"
    try:
        outcome = None if _is_over(job) else supervise(job, launch, look, before=lambda: insist(job, digests))
        milestones.close(poll=watcher.look)
        ended = outcome.status if outcome else "done"
    except BunbukuError as error:
        ended = "stopped" if isinstance(error, Unfinished) else "failed"
        raise
    finally:
        watcher.close(ended)
    if outcome is not None and outcome.status == "stopped":
        raise Unfinished(
            f"stopped by {outcome.problem} after step {outcome.step} of {job.course.steps}",
            hint="give the same command again to go on",
        )


def _digests(tokens: object) -> dict[Path, str]:
    """What the token files are to be."""
    assert isinstance(tokens, Artifact)
    return {tokens.path(file).resolve(): file.sha256 for file in tokens.manifest.files}


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
                architecture=made.shape(state),
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


def _publish_state(draft: Draft, state: Path) -> Path:
    """Link the files of the final state into the draft: they may be many gigabytes, and the scratch folder goes."""
    for path in sorted(state.iterdir()):
        if path.name == states.HASHES:
            continue  # the manifest has them
        target = draft.dir / path.name
        target.unlink(missing_ok=True)
        target.hardlink_to(path)
    return draft.dir
