"""Training through the stages: it learns, it counts, it can be killed, and it is the same every time."""

import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from bunbuku_align import AlignRun, DpoConfig, Lora, MergeConfig, SftConfig, dpo, merge, sft
from bunbuku_align.cli import main
from bunbuku_align.examples import IGNORED, prepare_dialogues, prepare_preferences
from bunbuku_align.parquet import read_dialogues, read_preferences
from bunbuku_align.template import ChatTokenizer
from bunbuku_contracts import ArtifactError, BunbukuError, ConfigError, load, read_sections
from bunbuku_contracts.kinds import Checkpoint
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import AutoModelForCausalLM

HERE = AlignRun(device="cpu", threads=1)
LORA = Lora(rank=8, alpha=16)
SFT = SftConfig(max_tokens=64, epochs=4, batch_examples=16, learning_rate=1e-2, held_out_share=0.2, adapter=LORA)
DPO = DpoConfig(max_tokens=64, epochs=2, batch_examples=16, learning_rate=1e-2, held_out_share=0.2, adapter=LORA)
KINDS = pytest.mark.parametrize("kind", ["llama", "mixtral"])


@pytest.fixture(scope="module")
def dialogues(make, numerals):
    return make.dialogues(numerals)


@pytest.fixture(scope="module")
def preferences(make, numerals):
    """The right name of a numeral is better than another word."""
    return make.preferences({id: (turns[:1], turns[1][1], "ひと") for id, turns in numerals.items()})


def answer_losses(folder: Path, rows) -> tuple[float, float]:
    """Mean loss and share of right first guesses over trained tokens: a plain forward pass a row."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    losses, right = [], []
    for ids, labels in rows:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0]
        for place, label in enumerate(labels):
            if label != IGNORED:
                losses.append(-functional.log_softmax(logits[place - 1].double(), -1)[label].item())
                right.append(logits[place - 1].argmax().item() == label)
    return sum(losses) / len(losses), sum(right) / len(right)


def answer_logprob(model, prompt_ids: list[int], answer_ids: list[int]) -> float:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt_ids + answer_ids])).logits[0].double()
    rows = functional.log_softmax(logits, -1)[len(prompt_ids) - 1 : -1]
    return sum(row[id].item() for row, id in zip(rows, answer_ids, strict=True))


@KINDS
def test_fine_tuning_lowers_the_loss_of_rows_it_never_saw(kind, make, dialogues, tmp_path: Path) -> None:
    base = make.model(kind)
    tuned = sft(tmp_path / "sft", SFT, base, dialogues, run=HERE)
    merged = merge(tmp_path / "merged", MergeConfig(), base, tuned)
    metrics = tuned.manifest.metrics
    assert metrics["held_out.loss.end"] < metrics["held_out.loss.start"] - 2
    assert metrics["held_out.accuracy.end"] > metrics["held_out.accuracy.start"]
    assert metrics["rows.train"] + metrics["rows.held_out"] == metrics["rows.seen"] == 120
    chat = ChatTokenizer(base.dir)
    rows = prepare_dialogues(
        read_dialogues(dialogues), chat.render, chat.encode, max_tokens=64, held_out_share=0.2
    ).held_out
    for folder, when in ((base.dir, "start"), (merged.dir, "end")):
        loss, accuracy = answer_losses(folder, rows)
        assert metrics[f"held_out.loss.{when}"] == pytest.approx(loss, abs=1e-4)
        assert metrics[f"held_out.accuracy.{when}"] == pytest.approx(accuracy)


@KINDS
def test_preferences_raise_the_margin_of_pairs_never_seen(kind, make, preferences, tmp_path: Path) -> None:
    base = make.model(kind)
    tuned = dpo(tmp_path / "dpo", DPO, base, preferences, run=HERE)
    merged = merge(tmp_path / "merged", MergeConfig(), base, tuned)
    metrics = tuned.manifest.metrics
    assert metrics["held_out.loss.start"] == pytest.approx(math.log(2))
    assert metrics["held_out.margin.start"] == 0
    assert metrics["held_out.accuracy.start"] == 0.5
    assert metrics["held_out.margin.end"] > 0.5
    assert metrics["held_out.accuracy.end"] > 0.9
    chat = ChatTokenizer(base.dir)
    pairs = prepare_preferences(
        read_preferences(preferences), chat.render, chat.encode, max_tokens=64, held_out_share=0.2
    ).held_out
    policy, reference = (AutoModelForCausalLM.from_pretrained(model.dir).eval() for model in (merged, base))
    margins = [
        0.1
        * sum(
            sign * (answer_logprob(policy, prompt, ids) - answer_logprob(reference, prompt, ids))
            for sign, ids in ((1, chosen), (-1, rejected))
        )
        for prompt, chosen, rejected in pairs
    ]
    assert metrics["held_out.margin.end"] == pytest.approx(sum(margins) / len(margins), abs=1e-4)
    assert metrics["held_out.loss.end"] == pytest.approx(
        sum(math.log1p(math.exp(-margin)) for margin in margins) / len(margins), abs=1e-4
    )


def test_the_loss_is_that_of_the_next_token_worked_out_by_hand(make, tmp_path: Path) -> None:
    """With attention and feed-forward silenced, a token's logits are head · norm(embedding): no model is needed."""
    source = make.model()
    folder = tmp_path / "silent"
    shutil.copytree(source.dir, folder)
    weights = load_file(folder / "model.safetensors")
    for name in weights:
        if "o_proj" in name or "down_proj" in name:
            weights[name].zero_()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    embedding, head = weights["model.embed_tokens.weight"], weights["lm_head.weight"]
    normed = embedding / (embedding.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights["model.norm.weight"]
    logprobs = functional.log_softmax(normed @ head.T, -1)

    chat = ChatTokenizer(folder)
    data = make.dialogues({"一": [("user", "一"), ("assistant", "いち"), ("user", "二"), ("assistant", "に")]})
    [row] = prepare_dialogues(read_dialogues(data), chat.render, chat.encode, max_tokens=128, held_out_share=0).train
    following = zip(row.input_ids, row.input_ids[1:], row.labels[1:], strict=False)
    expected = [-logprobs[before, after].item() for before, after, label in following if label != IGNORED]
    assert len(expected) == len("いち") + len("に") + 2

    base = type(source)(folder, source.manifest)
    config = SFT.model_copy(update={"held_out_share": 0.0, "max_steps": 1, "max_tokens": 128})
    metrics = sft(tmp_path / "sft", config, base, data, run=HERE).manifest.metrics
    assert metrics["loss.start"] == pytest.approx(sum(expected) / len(expected), abs=1e-5)


def test_the_balancing_loss_is_on_with_the_weight_that_the_checkpoint_states(
    make, dialogues, preferences, tmp_path: Path
) -> None:
    base = make.model("mixtral")
    once = {"max_steps": 1, "held_out_share": 0.0, "batch_examples": 120}
    metrics = sft(tmp_path / "sft", SFT.model_copy(update=once), base, dialogues, run=HERE).manifest.metrics
    chat = ChatTokenizer(base.dir)
    rows = prepare_dialogues(read_dialogues(dialogues), chat.render, chat.encode, max_tokens=64, held_out_share=0).train
    answers, _ = answer_losses(base.dir, rows)
    assert metrics["aux_loss.start"] == pytest.approx(balance_by_hand(base.dir, [row.input_ids for row in rows]), 1e-5)
    assert metrics["loss.start"] == pytest.approx(answers + 0.02 * metrics["aux_loss.start"], abs=1e-5)
    pairs = prepare_preferences(
        read_preferences(preferences), chat.render, chat.encode, max_tokens=64, held_out_share=0
    ).train
    texts = [pair.prompt_ids + answer for pair in pairs for answer in (pair.chosen_ids, pair.rejected_ids)]
    metrics = dpo(tmp_path / "dpo", DPO.model_copy(update=once), base, preferences, run=HERE).manifest.metrics
    assert metrics["aux_loss.start"] == pytest.approx(balance_by_hand(base.dir, texts), 1e-5)
    assert metrics["loss.start"] == pytest.approx(math.log(2) + 0.02 * metrics["aux_loss.start"], abs=1e-5)


def balance_by_hand(folder: Path, texts: list[list[int]]) -> float:
    """Experts times the sum over experts of share of choices times mean probability, a layer, summed over layers."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    layers: list[list[torch.Tensor]] = [[], []]
    for ids in texts:
        with torch.no_grad():
            found = model(input_ids=torch.tensor([ids]), output_router_logits=True).router_logits
        for layer, logits in zip(layers, found, strict=True):
            layer.extend(logits.double())
    total = 0.0
    for layer in layers:
        probabilities = [logits.softmax(0).tolist() for logits in layer]
        chosen = [sorted(range(4), key=row.__getitem__)[-2:] for row in probabilities]
        share = [sum(expert in some for some in chosen) / (2 * len(layer)) for expert in range(4)]
        mean = [sum(row[expert] for row in probabilities) / len(layer) for expert in range(4)]
        total += 4 * sum(f * p for f, p in zip(share, mean, strict=True))
    return total


def test_the_adapter_is_on_the_asked_projections_alone(make, dialogues, tmp_path: Path) -> None:
    config = SFT.model_copy(update={"max_steps": 1, "adapter": Lora(rank=2, targets=("v_proj", "q_proj"))})
    tuned = sft(tmp_path / "sft", config, make.model(), dialogues, run=HERE)
    tensors = load_file(tuned.dir / "adapter_model.safetensors")
    names = {
        f"base_model.model.model.layers.{layer}.self_attn.{target}.lora_{factor}.weight"
        for layer in (0, 1)
        for target in ("q_proj", "v_proj")
        for factor in "AB"
    }
    assert tensors.keys() == names
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


def test_micro_batches_of_any_size_train_alike(make, dialogues, tmp_path: Path) -> None:
    config = SFT.model_copy(update={"max_steps": 6})
    runs = {
        size: sft(
            tmp_path / f"{size}",
            config,
            make.model(),
            dialogues,
            run=AlignRun(device="cpu", threads=1, micro_batch_examples=size),
        )
        for size in (16, 8, 2)
    }
    curves = {size: read_sections(made)[0].curves for size, made in runs.items()}
    for size in (8, 2):
        for ours, whole in zip(curves[size], curves[16], strict=True):
            assert [y for _, y in ours.points] == pytest.approx([y for _, y in whole.points], abs=2e-4)


@pytest.mark.parametrize("what", ["sft", "dpo"])
@KINDS
def test_the_same_request_makes_the_same_bytes(kind, what, make, dialogues, preferences, tmp_path: Path) -> None:
    base = make.model(kind)
    requests: dict[str, Any] = {"sft": (sft, SFT, dialogues), "dpo": (dpo, DPO, preferences)}
    stage, asked, data = requests[what]
    config = asked.model_copy(update={"max_steps": 5, "adapter": Lora(rank=2, dropout=0.1)})
    one = stage(tmp_path / "one", config, base, data, run=HERE)
    other = stage(tmp_path / "elsewhere" / "other", config, base, data, run=HERE)
    assert one.content == other.content
    another = stage(tmp_path / "seed", config.model_copy(update={"seed": 1}), base, data, run=HERE)
    assert one.content != another.content


def test_what_is_published_is_an_adapter_its_curves_and_a_log(make, dialogues, tmp_path: Path) -> None:
    base = make.model()
    tuned = sft(tmp_path / "sft", SFT, base, dialogues, run=HERE)
    assert sorted(file.path for file in tuned.manifest.files if file.in_content) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "sections.json",
    ]
    assert [file for file in tuned.manifest.files if file.path.startswith("log/events.out.tfevents")]
    assert tuned.spec == base.spec.model_copy(update={"format": "peft", "chat": True, "licences": ("CC0-1.0",)})
    assert [path.name for path in tmp_path.iterdir()] == ["sft"], "no scratch folder is left"
    section, mix, samples = read_sections(tuned)
    curves = {curve.name: curve.points for curve in section.curves}
    assert set(curves) == {"training loss", "held-out loss", "held-out accuracy", "learning rate"}
    assert {row[0]: row[1] for row in mix.tables[3].rows} == {"1": tuned.manifest.metrics["rows.train"]}
    assert [len(row) for row in samples.tables[0].rows] == [6] * SFT.samples
    page = (tuned.dir / "log" / "report.html").read_text(encoding="utf-8")
    assert "held-out loss" in page and "<script" not in page
    assert tuned.manifest.metrics["rows.train"] == 98
    assert [step for step, _ in curves["held-out loss"]] == [0, 6, 12, 19, 25]
    assert [step for step, _ in curves["training loss"]] == list(range(1, 26))


def test_nothing_is_asked_of_the_network_and_nothing_is_left_elsewhere(
    make, dialogues, preferences, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[object] = []

    def refuse(*asked: object, **_: object) -> None:
        tried.append(asked)
        raise OSError("no network here")

    base = make.model()
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("CI", raising=False)
    sft(tmp_path / "sft", SFT.model_copy(update={"max_steps": 3}), base, dialogues, run=HERE)
    dpo(tmp_path / "dpo", DPO.model_copy(update={"max_steps": 3}), base, preferences, run=HERE)
    time.sleep(0.5)  # telemetry would be sent by a thread
    assert (tried, list(work.iterdir())) == ([], [])


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_state_and_ends_in_the_same_bytes(make, dialogues, tmp_path: Path) -> None:
    base = make.model()
    config = SFT.model_copy(update={"epochs": 12, "adapter": Lora(rank=2, dropout=0.1)})
    often = AlignRun(device="cpu", threads=1, save_every_steps=2)
    (tmp_path / "sft.toml").write_text(_toml(config))
    (tmp_path / "run.toml").write_text('device = "cpu"\nthreads = 1\nsave_every_steps = 2\n')
    home = tmp_path / "home"
    home.mkdir()
    options = ["sft.toml", "--checkpoint", str(base.dir), "--dialogues", str(dialogues.dir), "--run", "run.toml"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from bunbuku_align.cli import main; main()", "sft", *options, "--out", "killed"],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(home), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 240
    while not list(tmp_path.glob(".killed.*.scratch/trainer/checkpoint-*/complete")):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed").exists()
    assert list(home.iterdir()) == []
    states = list(tmp_path.glob(".killed.*.scratch/trainer/checkpoint-*/complete"))
    reached = max(int(state.parent.name.removeprefix("checkpoint-")) for state in states)

    resumed = sft(tmp_path / "killed", config, base, dialogues, run=often)
    whole = sft(tmp_path / "whole", config, base, dialogues, run=HERE)
    assert 0 < reached < whole.manifest.metrics["steps"]
    assert resumed.content == whole.content
    assert resumed.manifest.metrics["held_out.loss.end"] == whole.manifest.metrics["held_out.loss.end"]
    assert len(list((resumed.dir / "log").glob("events*"))) == 3, "curves of either process, and samples"
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_state_that_was_cut_off_is_passed_over(make, dialogues, tmp_path: Path) -> None:
    base = make.model()
    config = SFT.model_copy(update={"max_steps": 4})
    whole = sft(tmp_path / "whole", config, base, dialogues, run=HERE)
    scratch = tmp_path / f".cut.{whole.manifest.recipe.digest[:12]}.scratch" / "trainer" / "checkpoint-3"
    scratch.mkdir(parents=True)
    (scratch / "trainer_state.json").write_text("{")
    assert sft(tmp_path / "cut", config, base, dialogues, run=HERE).content == whole.content


def test_the_command_line_prints_the_path_alone_and_finds_what_is_made(
    make, dialogues, preferences, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    base = make.model("mixtral")
    for stage, config, data in (("sft", SFT, dialogues), ("dpo", DPO, preferences)):
        path, out = tmp_path / f"{stage}.toml", tmp_path / stage
        path.write_text(_toml(config))
        role = "--dialogues" if stage == "sft" else "--preferences"
        command = [stage, str(path), "--checkpoint", str(base.dir), role, str(data.dir), "--out", str(out)]
        assert main([*command, "--set", "max_steps=2"]) == 0
        assert capfd.readouterr().out == f"{out}\n"
        assert main([*command, "--set", "max_steps=2"]) == 0
        command = ["merge", "--checkpoint", str(base.dir), "--adapter", str(out)]
        assert main([*command, "--out", str(tmp_path / f"{stage}-merged")]) == 0
        assert load(tmp_path / f"{stage}-merged", Checkpoint).spec.chat
        capfd.readouterr()


def test_help_teaches_what_a_stage_does(capsys: pytest.CaptureFixture[str]) -> None:
    for stage, words in (("sft", "LoRA adapter on dialogues"), ("dpo", "pairs of answers"), ("merge", "B·A")):
        with pytest.raises(SystemExit) as done:
            main([stage, "--help"])
        assert done.value.code == 0
        assert words in capsys.readouterr().out


def test_what_cannot_be_trained_is_refused_in_a_sentence(make, dialogues, tmp_path: Path) -> None:
    base, out = make.model(), tmp_path / "out"
    with pytest.raises(ConfigError, match="`max_tokens` 129 is more than the 128 positions"):
        sft(out, SFT.model_copy(update={"max_tokens": 129}), base, dialogues)
    with pytest.raises(ConfigError, match="`batch_examples` 16 is not a multiple of `micro_batch_examples` 3"):
        sft(out, SFT, base, dialogues, run=AlignRun(micro_batch_examples=3))
    adapter = sft(tmp_path / "sft", SFT.model_copy(update={"max_steps": 1}), base, dialogues, run=HERE)
    with pytest.raises(ArtifactError, match="format 'peft', not 'hf'"):
        sft(out, SFT, adapter, dialogues)
    with pytest.raises(ArtifactError, match="no column 'chosen', 'prompt', 'rejected'"):
        dpo(out, DPO, base, dialogues)
    if not torch.cuda.is_available():
        with pytest.raises(BunbukuError, match="PyTorch sees no GPU"):
            sft(out, SFT, base, dialogues, run=AlignRun(device="cuda"))
    assert not out.exists()


def test_a_model_that_nothing_here_knows_is_refused_in_a_sentence(make, dialogues, tmp_path: Path) -> None:
    source = make.model("mixtral")
    folder = tmp_path / "strange"
    shutil.copytree(source.dir, folder)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"model_type": "mixtral"', '"model_type": "strange_moe"'))
    with pytest.raises(ArtifactError, match=r"strange does not open as a model: .*`strange_moe`"):
        sft(tmp_path / "out", SFT, type(source)(folder, source.manifest), dialogues, run=HERE)


def test_a_loss_that_is_no_number_stops_the_run_and_publishes_nothing(make, dialogues, tmp_path: Path) -> None:
    config = SFT.model_copy(update={"learning_rate": 1e30, "warmup_share": 0.0})
    with pytest.raises(BunbukuError, match=r"training diverged: the loss is \w+ at step \d+ of 25"):
        sft(tmp_path / "out", config, make.model(), dialogues, run=HERE)
    assert not (tmp_path / "out").exists()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@KINDS
def test_training_on_a_gpu_in_mixed_precision_learns_too(kind, make, dialogues, tmp_path: Path) -> None:
    config = SFT.model_copy(update={"precision": "bfloat16"})
    metrics = sft(tmp_path / "sft", config, make.model(kind), dialogues).manifest.metrics
    assert metrics["held_out.loss.end"] < metrics["held_out.loss.start"] - 2


def _toml(config: SftConfig | DpoConfig) -> str:
    adapter = config.adapter
    assert isinstance(adapter, Lora)
    return (
        f"max_tokens = {config.max_tokens}\nepochs = {config.epochs}\nbatch_examples = {config.batch_examples}\n"
        f"learning_rate = {config.learning_rate}\nheld_out_share = {config.held_out_share}\n"
        f'[adapter]\ntype = "lora"\nrank = {adapter.rank}\nalpha = {adapter.alpha}\ndropout = {adapter.dropout}\n'
    )
