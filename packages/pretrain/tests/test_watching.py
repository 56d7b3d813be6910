"""What is seen of real runs."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bunbuku_contracts import Artifact, Checkpoint, Config, Draft, Report, Tokenizer, Tokens, stage
from bunbuku_pretrain import TrainRun, train
from bunbuku_pretrain.job import STATE, StepRecord, TrainState
from bunbuku_pretrain.milestones import Milestones
from bunbuku_pretrain.observations import Evaluation, Event, Sample, Statistics, Watch, events_file, read
from bunbuku_pretrain.observations import evaluations_file as evaluations
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

pytestmark = pytest.mark.slow

CLOSELY = Watch(statistics_interval_steps=2, sample_prompts=("狸は", "和尚は山で"), sample_tokens=8)
SETTINGS: dict[str, Any] = {"micro_batch_sequences": 4, "watch": CLOSELY}
DISCRETE = {"steep_share", "root_moment_quantiles"}
"""Counts of what lies over a border: a last bit may move one."""


def logged[O: Config](artifact: Artifact[Checkpoint], cls: type[O], name: str) -> list[O]:
    return read(cls, artifact.dir / "log" / f"{name}.jsonl")


@pytest.fixture(scope="session")
def watched(
    made: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    mixture_start: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> Artifact[Checkpoint]:
    """The mixture again, looked at closely."""
    return train(made / "watched", tiny.mixture, tokens, tokenizer, mixture_start, run=TrainRun(**SETTINGS))


def test_looking_closely_changes_nothing_of_what_is_trained(
    watched: Artifact[Checkpoint], mixture: Artifact[Checkpoint]
) -> None:
    assert watched.content == mixture.content


def test_the_norms_of_the_rows_make_up_the_norm_of_the_gradient(watched: Artifact[Checkpoint]) -> None:
    history = {record.step: record for record in logged(watched, StepRecord, "history")}
    found = logged(watched, Statistics, "statistics")
    assert [one.step for one in found] == [2, 4, 6]
    for one in found:
        assert len(one.gradient_norm) == watched.spec.architecture.layers + 2
        assert math.hypot(*one.gradient_norm) == pytest.approx(history[one.step].gradient_norm, rel=1e-5)
        assert one.tokens == history[one.step].tokens
        assert all(0 < rms < largest for rms, largest in zip(one.activation_rms, one.activation_max, strict=True))
        assert list(one.root_moment_quantiles) == sorted(one.root_moment_quantiles)
        assert one.root_moment_quantiles[-1] <= 1.13 * max(one.root_moment_max)


def test_the_first_steps_of_adamw_are_about_as_long_as_its_learning_rate_says(watched: Artifact[Checkpoint]) -> None:
    one = logged(watched, Statistics, "statistics")[0]
    weights = watched.spec.architecture.parameters
    moved = math.hypot(*(a * b for a, b in zip(one.update_ratio, one.weight_norm, strict=True)))
    assert 0.3 < moved / (1e-2 * math.sqrt(weights)) < 1.2  # |m| / sqrt(v) is at most about 1 for each weight


def test_the_page_tensorboard_and_events_of_a_run_are_in_its_log(dense: Artifact[Checkpoint]) -> None:
    page = (dense.dir / "log" / "run.html").read_text()
    assert "dense" in page and "finished" in page and "Layer by layer" in page
    told = [event for event in logged(dense, Event, "events") if event.kind != "slow"]  # as a busy machine is
    assert [event.kind for event in told] == ["start", "milestone"]
    assert told[1].text == "the command ended with status 3"
    events = EventAccumulator(str(dense.dir / "log" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("statistics/update_ratio")] == [20, 40, 60]
    assert {file.part for file in dense.manifest.files if file.path.startswith("log/")} == {"log"}


LAYOUTS: dict[str, dict[str, Any]] = {
    "expert-shared-optimizer": {"ranks": 2, "expert_parallel": 2, "distributed_optimizer": True},
    "tensor": {"ranks": 2, "tensor_parallel": 2},
    "pipeline": {"ranks": 2, "pipeline_parallel": 2},
    "data": {"ranks": 2},
    "tensor-expert": {"ranks": 4, "tensor_parallel": 2, "expert_parallel": 2},
    "tensor-pipeline-shared": {"ranks": 4, "tensor_parallel": 2, "pipeline_parallel": 2, "distributed_optimizer": True},
}
BY_HAND = [pytest.param(name, marks=pytest.mark.long) for name in list(LAYOUTS)[1:]]


@pytest.mark.parametrize("layout", [next(iter(LAYOUTS)), *BY_HAND])
def test_another_layout_measures_and_writes_the_same(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    mixture_start: Artifact[Checkpoint],
    watched: Artifact[Checkpoint],
    tiny: SimpleNamespace,
    layout: str,
) -> None:
    run = TrainRun(**SETTINGS, **LAYOUTS[layout])
    other = train(tmp_path / "other", tiny.mixture, tokens, tokenizer, mixture_start, run=run)
    ours, theirs = (logged(one, Statistics, "statistics") for one in (other, watched))
    for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        for name in set(Statistics.model_fields) - {"memory_bytes", "seconds"}:
            if number == 0 or name not in DISCRETE:
                assert getattr(a, name) == pytest.approx(getattr(b, name), rel=1e-5 if number == 0 else 1e-3), name
    assert logged(other, Sample, "samples") == logged(watched, Sample, "samples")


def test_the_model_goes_on_from_its_prompts_whenever_it_is_validated(watched: Artifact[Checkpoint]) -> None:
    samples = logged(watched, Sample, "samples")
    assert [(sample.step, sample.prompt) for sample in samples] == [
        (step, prompt) for step in (0, 6) for prompt in CLOSELY.sample_prompts
    ]
    assert all(len(sample.ids) <= 8 for sample in samples)
    assert "和尚は山で" in (watched.dir / "log" / "run.html").read_text()


class FoundConfig(Config):
    accuracy: float


@stage("test.report")
def make_report(draft: Draft, config: FoundConfig) -> Report:
    """A report with one number."""
    (draft.dir / "page.txt").write_text("…")
    draft.metrics["accuracy"] = config.accuracy
    return Report(title="found")


def test_what_a_milestones_command_finds_comes_back_as_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "scratch" / "milestones"
    (folder / "step-00000020").mkdir(parents=True)
    (folder / "step-00000020" / STATE).write_text(TrainState(step=20, tokens=640).model_dump_json())
    made = make_report(tmp_path / "made", FoundConfig(accuracy=0.25))
    command = (
        f'mkdir "$MILESTONE_OUT" && cp -r {made.dir} "$MILESTONE_OUT/jcqa" && echo in between; echo >&2 to the log;'
        'test -d "$MILESTONE" && echo \'{"loss": 2, "gone": NaN}\'; exit 4'
    )
    (tmp_path / "out@step-000020").mkdir()
    milestones = Milestones(
        folder,
        publish=lambda _: tmp_path / "out@step-000020",
        command=command,
        timeout_seconds=20,
        log=tmp_path,
    )
    milestones.close()
    (found,) = read(Evaluation, evaluations(tmp_path / "scratch"))
    assert (found.step, found.tokens, found.status) == (20, 640, 4)
    assert found.metrics == {"jcqa.accuracy": 0.25, "loss": 2.0}
    (event,) = read(Event, events_file(tmp_path / "scratch"))
    assert event.text == "the command ended with status 4; jcqa.accuracy 0.25, loss 2"
    assert milestones.done() == {20}
