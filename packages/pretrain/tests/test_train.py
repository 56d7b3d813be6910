import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from bunbuku_contracts import (
    Artifact,
    ArtifactError,
    BunbukuError,
    Checkpoint,
    ConfigError,
    Tokenizer,
    Tokens,
    load,
    read_sections,
)
from bunbuku_pretrain import AdamW, TrainRun, train
from bunbuku_pretrain.cli import main
from transformers import AutoModelForCausalLM, AutoTokenizer


def curve(artifact: Artifact[Checkpoint], name: str) -> list[float]:
    section, *_ = read_sections(artifact)
    return next([y for _, y in curve.points] for curve in section.curves if curve.name == name)


def test_a_model_learns_its_text(dense: Artifact[Checkpoint]) -> None:
    losses = curve(dense, "training loss")
    assert len(losses) == 60
    assert losses[0] == pytest.approx(5, abs=0.3)  # log of 150 ids
    assert losses[-1] < losses[0] - 2
    assert dense.manifest.metrics["validation.loss"] < dense.manifest.metrics["validation.loss_before"] - 2


def test_a_checkpoint_says_what_it_is(dense: Artifact[Checkpoint], tokenizer: Artifact[Tokenizer]) -> None:
    spec = dense.spec
    assert (spec.format, spec.step, spec.tokens_seen) == ("megatron", 60, 60 * 256)
    assert spec.tokenizer == tokenizer.content
    assert spec.architecture.vocab_size == 256
    assert dense.manifest.metrics["train.tokens_per_second"] > 0
    assert not dense.manifest.run.bitwise


def test_tensorboard_has_one_curve_of_every_number(dense: Artifact[Checkpoint]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(dense.dir / "log" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, 61))
    assert [event.step for event in events.Scalars("validation/loss")] == [0, 25, 50, 60]
    assert {"train/gradient_norm", "train/learning_rate", "train/tokens_per_second"} <= set(events.Tags()["scalars"])


def test_a_milestone_is_a_whole_model_and_its_command_cannot_stop_the_run(
    made: Path, dense: Artifact[Checkpoint]
) -> None:
    milestone = load(made / "dense@step-000020", Checkpoint)
    assert (milestone.spec.format, milestone.spec.step, milestone.spec.tokens_seen) == ("hf", 20, 20 * 256)
    assert "model.safetensors" in (made / "dense@step-000020.listing").read_text()  # the command then failed
    model = AutoModelForCausalLM.from_pretrained(milestone.dir)
    assert model.num_parameters() == milestone.spec.architecture.parameters
    assert AutoTokenizer.from_pretrained(milestone.dir).eos_token_id == 2
    assert not list(made.glob(".dense*"))


def killed_after(command: list[str], history: str, lines: int, folder: Path) -> None:
    """Start `command` and kill it and its ranks when the history has so many lines."""
    process = subprocess.Popen(command, cwd=folder, start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        found = list(folder.glob(history))
        if found and found[0].read_text().count("\n") >= lines:
            break
        time.sleep(0.01)
    assert process.poll() is None, "it ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(
    tmp_path: Path,
    made: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    dense: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    config, run = tmp_path / "train.json", tmp_path / "run.json"
    config.write_text(tiny.dense.model_dump_json())
    run.write_text(tiny.laptop.model_dump_json())
    script = (
        "import sys; from pathlib import Path; from bunbuku_contracts import load, Tokenizer, Tokens;"
        "from bunbuku_pretrain import train, TrainConfig, TrainRun; a = sys.argv;"
        "train(Path(a[1]), TrainConfig.model_validate_json(Path(a[2]).read_bytes()), load(Path(a[4]), Tokens),"
        " load(Path(a[5]), Tokenizer), run=TrainRun.model_validate_json(Path(a[3]).read_bytes()))"
    )
    out = tmp_path / "killed"
    command = [sys.executable, "-c", script, *map(str, (out, config, run, tokens.dir, tokenizer.dir))]
    killed_after(command, ".killed.*.scratch/history.jsonl", lines=28, folder=tmp_path)
    (states,) = tmp_path.glob(".killed.*.scratch/states")
    assert {"step-00000010", "step-00000020"} & {path.name for path in states.iterdir()}
    deadline = time.monotonic() + 20  # orphaned ranks see that their publisher is gone
    while True:
        try:
            made_again = train(out, tiny.dense, tokens, tokenizer, run=tiny.laptop)
            break
        except ArtifactError as error:
            assert "another process is making" in str(error) and time.monotonic() < deadline
            time.sleep(0.2)
    assert made_again.content == dense.content
    milestones = [
        load(folder, Checkpoint).content for folder in (tmp_path / "killed@step-000020", made / "dense@step-000020")
    ]
    assert milestones[0] == milestones[1]


def test_two_data_parallel_ranks_learn_what_one_does(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    dense: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    run = TrainRun(ranks=2, micro_batch_sequences=2)
    two = train(tmp_path / "two", tiny.dense.model_copy(update={"milestone_tokens": ()}), tokens, tokenizer, run=run)
    differences = [abs(a - b) for a, b in zip(curve(two, "training loss"), curve(dense, "training loss"), strict=True)]
    assert max(differences[:20]) < 1e-5
    assert max(differences) < 1e-3


def test_a_mixture_goes_on_from_hugging_face_and_counts_what_was_seen_before(
    mixture: Artifact[Checkpoint], tiny: SimpleNamespace
) -> None:
    spec = mixture.spec
    assert (spec.step, spec.tokens_seen) == (10 + 6, 1000 + 6 * 256)
    assert spec.architecture.experts == tiny.normalized
    assert curve(mixture, "training loss")[-1] < curve(mixture, "training loss")[0]
    metrics = mixture.manifest.metrics
    assert 0.9 < metrics["mixture.balance"] < 2
    assert 0 <= metrics["mixture.least_load"] < 1 < metrics["mixture.most_load"] < 2  # 4 experts, 2 active
    assert metrics["mixture.z_loss"] > 0


@pytest.mark.slow
def test_two_expert_parallel_ranks_learn_what_one_does(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    mixture: Artifact[Checkpoint],
    mixture_start: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    run = TrainRun(ranks=2, expert_parallel=2, micro_batch_sequences=4)
    two = train(tmp_path / "two", tiny.mixture, tokens, tokenizer, mixture_start, run=run)
    for name in ("training loss", "most used expert"):
        assert curve(two, name) == pytest.approx(curve(mixture, name), abs=1e-4)


@pytest.mark.slow
def test_a_run_out_of_time_saves_and_goes_on_to_the_same_bytes(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    mixture: Artifact[Checkpoint],
    mixture_start: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    out, hurried = tmp_path / "mixture", tiny.laptop.model_copy(update={"time_limit_seconds": 0.01})
    with pytest.raises(BunbukuError, match=r"stopped by `time_limit_seconds` 0\.01 after step 1 of 6") as caught:
        train(out, tiny.mixture, tokens, tokenizer, mixture_start, run=hurried)
    assert caught.value.hint == "give the same command again to go on"
    assert train(out, tiny.mixture, tokens, tokenizer, mixture_start, run=tiny.laptop).content == mixture.content


def test_a_loss_that_is_not_a_number_stops_the_run_and_names_the_step(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    dense: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    config = tiny.config(steps=6, model=None).model_copy(update={"optimizer": AdamW(learning_rate=1e30)})
    with pytest.raises(BunbukuError, match=r"of step 2 is .*\(sequences 8 to 15, learning rate 1e\+30\)") as caught:
        train(tmp_path / "diverged", config, tokens, tokenizer, dense, run=tiny.laptop)
    assert "learning_rate" in caught.value.hint
    (history,) = tmp_path.glob(".diverged.*.scratch/history.jsonl")
    before, first = (json.loads(line) for line in history.read_text().splitlines())
    # It began from the dense model's weights, which had learned this text.
    assert before["validation_loss"] == pytest.approx(dense.manifest.metrics["validation.loss"], abs=1e-6)
    assert first["loss"] < 3


def test_a_model_is_described_once(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    mixture_start: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    with pytest.raises(ConfigError, match="`model` is missing, and no checkpoint"):
        train(tmp_path / "out", tiny.config(steps=2, model=None), tokens, tokenizer)
    with pytest.raises(ConfigError, match=r"`model` is given, and .*mixture-start brings its own"):
        train(tmp_path / "out", tiny.config(steps=2), tokens, tokenizer, mixture_start)


def test_inputs_of_another_tokenizer_are_refused(
    tmp_path: Path, tokens: Artifact[Tokens], tiny: SimpleNamespace
) -> None:
    other = tiny.tokenizer(tmp_path / "other", tiny.tokenizer_config(vocabulary=140))
    with pytest.raises(ArtifactError, match=f"{tokens.dir} was made with tokenizer"):
        train(tmp_path / "out", tiny.config(steps=2), tokens, other)


def test_too_little_text_is_refused_before_anything_starts(
    tmp_path: Path, tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace
) -> None:
    config = tiny.config(steps=2).model_copy(
        update={"sequence_length": 10**6, "batch_tokens": 10**6, "total_tokens": 10**6}
    )
    with pytest.raises(ArtifactError, match="a sequence of 1000000 needs one more than that"):
        train(tmp_path / "out", config, tokens, tokenizer)


def test_a_model_with_other_tensors_is_refused(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    mixture_start: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    pretender = tmp_path / "pretender"
    shutil.copytree(mixture_start.dir, pretender)
    manifest = json.loads((pretender / "manifest.json").read_text())
    manifest["spec"]["architecture"]["experts"] = None
    (pretender / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"lacks the tensor 'model\.layers\.0\.mlp\.down_proj\.weight' and 5 more"):
        train(tmp_path / "out", tiny.config(steps=2, model=None), tokens, tokenizer, load(pretender, Checkpoint))


def test_a_second_call_finds_the_model_made(
    made: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    dense: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    before = (made / "dense" / "manifest.json").stat().st_mtime_ns
    again = train(made / "dense", tiny.dense, tokens, tokenizer, run=tiny.laptop)
    assert again.content == dense.content
    assert (made / "dense" / "manifest.json").stat().st_mtime_ns == before


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for stage in ("tokenize", "train", "export"):
        with pytest.raises(SystemExit):
            main([stage, "--help"])
    shown = capsys.readouterr().out
    for word in ("batch_tokens", "end-of-document", "LlamaForCausalLM", "goes on from its last state"):
        assert word in shown
