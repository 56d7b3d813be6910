"""What must not change a result: how rows are batched or packed, where the reference comes from, whether it is merged."""

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from bunbuku_align import (
    AlignRun,
    Cdpo,
    Ddpo,
    Dpo,
    DpoConfig,
    Full,
    Ipo,
    Kto,
    Lora,
    MergeConfig,
    Orpo,
    SftConfig,
    Simpo,
    dpo,
    merge,
    sft,
)
from bunbuku_align.balance import balance_as_pretrained
from bunbuku_align.batches import Packed, ordered, packed
from bunbuku_align.examples import prepare_dialogues
from bunbuku_align.parquet import read_dialogues
from bunbuku_align.run import disk_bytes
from bunbuku_align.template import ChatTokenizer
from bunbuku_contracts import Artifact, ArtifactError, Checkpoint, ConfigError, read_sections
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

HERE = AlignRun(device="cpu", threads=1)
KEPT = AlignRun(device="cpu", threads=1, reference="cached")


def few(**changed: Any) -> dict[str, Any]:
    """Settings of a short training."""
    return FEW | changed


FEW: dict[str, Any] = {"max_tokens": 64, "batch_examples": 16, "max_steps": 3, "learning_rate": 1e-2, "samples": 0}
KINDS = pytest.mark.parametrize("kind", ["llama", "mixtral"])
EVERYWHERE = Lora(rank=2, alpha=4, experts=True, router=True)
IDS = torch.tensor([[1, 300, 270, 265, 280, 2], [1, 290, 291, 292, 293, 2]])


@pytest.fixture(scope="module")
def dialogues(make, numerals):
    return make.dialogues(numerals)


@pytest.fixture(scope="module")
def preferences(make, numerals):
    return make.preferences({id: (turns[:1], turns[1][1], "ひと") for id, turns in numerals.items()})


def curves(made) -> dict[str, list[float]]:
    return {curve.name: [y for _, y in curve.points] for curve in read_sections(made)[0].curves}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for path in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(path).items()}


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


@KINDS
def test_a_packed_batch_has_the_loss_of_its_dialogues_one_by_one(kind, make, dialogues) -> None:
    base = make.model(kind)
    chat = ChatTokenizer(base.dir)
    rows = prepare_dialogues(
        read_dialogues(dialogues), chat.render, chat.encode, max_tokens=64, held_out_share=0
    ).train[:12]
    config = SftConfig(max_tokens=120, batch_examples=12, packing=True)
    together = packed(rows, 120)
    assert len(together) <= len(rows) / 2
    model = AutoModelForCausalLM.from_pretrained(base.dir).eval()
    model.config.pad_token_id = 3
    if kind == "mixtral":
        balance_as_pretrained(model)
        setattr(model, "router_aux_loss_coef", 0.0)  # noqa: B010 the model's own loss is to be that of the answers
    more = {"use_cache": False} | ({"output_router_logits": True} if kind == "mixtral" else {})
    found = []
    for collate, data in (
        (Packed(3), together),
        (DataCollatorForLanguageModeling(3), rows),
    ):
        batch = collate([dict(row) for row in ordered(data, config)])
        with torch.no_grad():
            found.append(model(**batch, **more))
    assert found[0].loss.item() == pytest.approx(found[1].loss.item(), abs=1e-5)
    if kind == "mixtral":
        assert found[0].aux_loss.item() == pytest.approx(found[1].aux_loss.item(), abs=1e-5)


@KINDS
def test_what_stands_before_a_document_in_its_row_changes_none_of_its_logits(kind, make, dialogues) -> None:
    base = make.model(kind)
    chat = ChatTokenizer(base.dir)
    rows = prepare_dialogues(
        read_dialogues(dialogues), chat.render, chat.encode, max_tokens=64, held_out_share=0
    ).train[:2]
    [row] = packed(rows, 120)
    first = row.seq_lengths[0]
    other = row._replace(input_ids=[*reversed(row.input_ids[:first]), *row.input_ids[first:]])
    model = AutoModelForCausalLM.from_pretrained(base.dir).eval()
    with torch.no_grad():
        one, changed = (model(**Packed(3)([some._asdict()]), use_cache=False).logits[0] for some in (row, other))
    assert (one[:first] - changed[:first]).abs().max() > 0.1
    assert (one[first:] - changed[first:]).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        pytest.param("sft", "mixtral", marks=pytest.mark.long),
        pytest.param("packed", "llama", marks=pytest.mark.long),
        pytest.param("packed", "mixtral", marks=pytest.mark.long),
        ("dpo", "llama"),
        pytest.param("dpo", "mixtral", marks=pytest.mark.long),
    ],
)
def test_a_batch_trains_alike_however_it_is_divided(what, kind, make, dialogues, preferences, tmp_path: Path) -> None:
    """Without the balancing loss, which is of the tokens that are computed at once and no sum over rows."""
    base = unbalanced(make.model(kind), tmp_path / "base")
    found = []
    for size in (16, 4):
        run, out = HERE.model_copy(update={"micro_batch_examples": size}), tmp_path / f"{size}"
        if what == "dpo":
            made = dpo(out, DpoConfig(**FEW, held_out_share=0.2, adapter=Lora(rank=2)), base, preferences, run=run)
        else:
            config = SftConfig(**FEW, held_out_share=0.2, packing=what == "packed", adapter=Lora(rank=2))
            made = sft(out, config, base, dialogues, run=run)
        found.append(curves(made))
    whole, divided = found
    assert whole.keys() == divided.keys()
    whole.pop("training reward accuracy", None)  # at the start all are ties, and rounding decides
    for name, values in whole.items():
        assert divided[name] == pytest.approx(values, abs=2e-4), name


def unbalanced(source: Artifact[Checkpoint], folder: Path) -> Artifact[Checkpoint]:
    """The checkpoint with a balancing loss that weighs nothing."""
    shutil.copytree(source.dir, folder)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"router_aux_loss_coef": 0.02', '"router_aux_loss_coef": 0.0'))
    return type(source)(folder, source.manifest)


def test_packed_training_learns_as_well(make, dialogues, tmp_path: Path) -> None:
    config = SftConfig(
        max_tokens=120, packing=True, batch_examples=4, epochs=3, learning_rate=1e-2, held_out_share=0.2, samples=0,
        adapter=Lora(rank=8),
    )  # fmt: skip
    metrics = sft(tmp_path / "sft", config, make.model(), dialogues, run=HERE).manifest.metrics
    assert metrics["held_out.loss.end"] < metrics["held_out.loss.start"] - 1


@pytest.mark.parametrize(
    ("kind", "objective"),
    [
        *(("llama", objective) for objective in (Dpo(), Cdpo(), Kto())),
        *(
            pytest.param("llama", objective, marks=pytest.mark.long)
            for objective in (Ipo(), Ddpo(penalty=0, label_smoothing=0.05))
        ),
        *(
            pytest.param("mixtral", objective, marks=pytest.mark.long)
            for objective in (Ipo(), Ddpo(penalty=0, label_smoothing=0.05), Kto())
        ),
        ("mixtral", Dpo()),
    ],
    ids=lambda given: getattr(given, "type", given),
)
def test_a_reference_asked_once_gives_the_curves_of_one_asked_at_every_step(
    kind, objective, make, preferences, tmp_path: Path
) -> None:
    base, config = make.model(kind), DpoConfig(**FEW, held_out_share=0.2, objective=objective, adapter=Lora(rank=2))
    live = curves(dpo(tmp_path / "live", config, base, preferences, run=HERE))
    kept = curves(dpo(tmp_path / "kept", config, base, preferences, run=KEPT))
    assert live.keys() == kept.keys()
    live.pop("training reward accuracy", None)  # TRL's own takes a tie for a loss, and all are ties at the start
    for name, values in live.items():
        assert kept[name] == pytest.approx(values, abs=1e-4), name


def test_a_kept_reference_is_found_again_and_refused_if_it_is_of_something_else(
    make, preferences, tmp_path: Path
) -> None:
    run = KEPT.model_copy(update={"reference_cache": str(tmp_path / "cache")})
    base, config = make.model(), DpoConfig(**FEW, held_out_share=0.2, adapter=Lora(rank=2))
    one = dpo(tmp_path / "one", config, base, preferences, run=run)
    [file] = (tmp_path / "cache").iterdir()
    before = file.stat().st_mtime_ns
    other = dpo(tmp_path / "other", config.model_copy(update={"seed": 1}), base, preferences, run=run)
    assert file.stat().st_mtime_ns == before
    assert curves(one)["held-out loss"][0] == curves(other)["held-out loss"][0]
    for name, changed in (("model", make.model(seed=1)), ("data", base)):
        less = config.model_copy(update={"held_out_share": 0.3 if name == "data" else 0.2})
        dpo(tmp_path / name, less, changed, preferences, run=run)
    files = sorted((tmp_path / "cache").iterdir())
    assert len(files) == 3, "another model, other data: other files"
    stranger = next(path for path in files if path != file)
    shutil.copyfile(stranger, file)
    with pytest.raises(ArtifactError, match=r"holds log-probabilities of another (model|data)"):
        dpo(tmp_path / "out", config, base, preferences, run=run)
    file.write_bytes(b"{")
    with pytest.raises(ArtifactError, match="does not read"):
        dpo(tmp_path / "out", config, base, preferences, run=run)
    assert not (tmp_path / "out").exists()


def test_another_tokenizer_asks_the_reference_anew_although_every_id_is_the_same(
    make, preferences, tmp_path: Path
) -> None:
    """A special token that no text uses changes no id; the checkpoint's digest is held the same to see the key alone."""
    run = KEPT.model_copy(update={"reference_cache": str(tmp_path / "cache")})
    source, folder = make.model(), tmp_path / "other"
    shutil.copytree(source.dir, folder)
    told = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    told["additional_special_tokens"] = ["<0xFF>"]
    (folder / "tokenizer_config.json").write_text(json.dumps(told), encoding="utf-8")
    config = DpoConfig(**few(max_steps=1), held_out_share=0.2, adapter=Lora(rank=2))
    for number, base in enumerate((source, type(source)(folder, source.manifest))):
        dpo(tmp_path / f"{number}", config, base, preferences, run=run)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_no_penalty_is_dpo_to_the_last_digit_that_counts(make, preferences, tmp_path: Path) -> None:
    base, config = make.model(), DpoConfig(**FEW, held_out_share=0.2, adapter=Lora(rank=2))
    plain = curves(dpo(tmp_path / "plain", config, base, preferences, run=HERE))
    zero = config.model_copy(update={"objective": Ddpo(penalty=0)})
    for name, values in curves(dpo(tmp_path / "zero", zero, base, preferences, run=HERE)).items():
        assert values == pytest.approx(plain[name], abs=1e-5), name


@pytest.mark.parametrize("objective", [Simpo(), Orpo()], ids=lambda objective: objective.type)
def test_objectives_without_a_reference_raise_the_margin_too(objective, make, preferences, tmp_path: Path) -> None:
    config = DpoConfig(**few(max_steps=8), held_out_share=0.2, objective=objective)
    metrics = dpo(tmp_path / "dpo", config, make.model(), preferences, run=HERE).manifest.metrics
    assert metrics["held_out.margin.end"] > metrics["held_out.margin.start"] + 0.01


@pytest.mark.parametrize("data", ["dialogues", "preferences"])
def test_adapters_on_experts_and_router_train_and_merge(data, make, dialogues, preferences, tmp_path: Path) -> None:
    base = make.model("mixtral", shard="20KB")
    if data == "dialogues":
        made = sft(tmp_path / "a", SftConfig(**FEW, held_out_share=0.2, adapter=EVERYWHERE), base, dialogues, run=HERE)
    else:
        config = DpoConfig(**FEW, held_out_share=0.2, adapter=EVERYWHERE)
        made = dpo(tmp_path / "a", config, base, preferences, run=HERE)
        assert made.manifest.metrics["held_out.margin.start"] == 0 < made.manifest.metrics["held_out.margin.end"]
    assert "aux_loss.start" in made.manifest.metrics
    merged = merge(tmp_path / "merged", MergeConfig(), base, made)
    plain = AutoModelForCausalLM.from_pretrained(base.dir, dtype=torch.float32)
    before = logits(plain)
    beside = PeftModel.from_pretrained(plain, made.dir)
    told = logits(beside)
    assert (told - before).abs().max() > 0.01
    with beside.disable_adapter():
        assert torch.equal(logits(beside), before), "switched off, it is the reference"
    assert (logits(AutoModelForCausalLM.from_pretrained(merged.dir)) - told).abs().max() < 1e-5
    old, new = weights(base.dir), weights(merged.dir)
    assert old.keys() == new.keys()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    experts = {name for name in old if ".experts." in name}
    assert len(experts) == 2 * 4 * 3
    assert experts | {name for name in old if name.endswith("moe.gate.weight")} <= changed
    assert not [name for name in changed if "norm" in name or "embed" in name or "lm_head" in name]


def test_the_router_stays_unless_it_is_asked_for(make, dialogues, tmp_path: Path) -> None:
    base = make.model("mixtral")
    adapter = sft(tmp_path / "sft", SftConfig(**FEW, adapter=Lora(rank=2, experts=True)), base, dialogues, run=HERE)
    merged = merge(tmp_path / "merged", MergeConfig(), base, adapter)
    config = SftConfig(**few(learning_rate=1e-3), adapter=Full(router=False))
    frozen = sft(tmp_path / "full", config, base, dialogues, run=HERE)
    old = weights(base.dir)
    for made in (merged, frozen):
        new = weights(made.dir)
        assert all(torch.equal(old[name], new[name]) for name in old if name.endswith("moe.gate.weight"))
        assert not any(torch.equal(old[name], new[name]) for name in old if ".experts." in name)


@KINDS
def test_all_weights_train_to_a_checkpoint_of_the_same_layout(
    kind, make, dialogues, preferences, tmp_path: Path
) -> None:
    base = make.model(kind, shard="20KB")
    config = SftConfig(**few(max_steps=10, learning_rate=3e-3), held_out_share=0.2, adapter=Full())
    tuned = sft(tmp_path / "sft", config, base, dialogues, run=HERE)
    assert tuned.manifest.metrics["held_out.loss.end"] < tuned.manifest.metrics["held_out.loss.start"] - 1
    assert tuned.spec.format == "hf"
    old, new = weights(base.dir), weights(tuned.dir)
    assert {name: tensor.shape for name, tensor in old.items()} == {name: tensor.shape for name, tensor in new.items()}
    assert not any(torch.equal(old[name], new[name]) for name in old)
    for file in base.files():
        if not file.path.endswith(".safetensors"):
            assert base.path(file).read_bytes() == tuned.dir.joinpath(file.path).read_bytes()
    held = DpoConfig(**few(learning_rate=1e-3), held_out_share=0.2, adapter=Full())
    preferring = dpo(tmp_path / "dpo", held, tuned, preferences, run=HERE)
    metrics = preferring.manifest.metrics
    assert metrics["held_out.margin.start"] == pytest.approx(0, abs=1e-6)
    assert metrics["held_out.margin.end"] > 0
    answers = ChatTokenizer(preferring.dir)
    assert answers.template == ChatTokenizer(base.dir).template


def test_an_adapter_for_what_a_model_has_not_is_refused(make, dialogues, tmp_path: Path) -> None:
    for kind, adapter, words in (
        ("llama", Lora(experts=True), "'experts', but .* is a dense model"),
        ("llama", Lora(router=True), "'router', but .* is a dense model"),
        ("mixtral", Lora(targets=("q_proj", "up_proj")), "'up_proj', but .* is a mixture of experts"),
    ):
        with pytest.raises(ConfigError, match=words):
            sft(tmp_path / "out", SftConfig(**FEW, adapter=adapter), make.model(kind), dialogues, run=HERE)
    with pytest.raises(ValueError, match=r"`dropout` 0\.1 cannot be had on experts or router"):
        Lora(dropout=0.1, experts=True)
    assert not (tmp_path / "out").exists()


def test_states_take_a_bounded_place_on_disk(make, dialogues, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = [(0, 0)]
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            [*there] = tmp_path.glob(".many.*.scratch")
            seen.append((sum(map(disk_bytes, there)), sum(len(files) for one in there for *_, files in os.walk(one))))

    base = make.model()
    weights = sum(file.bytes for file in base.files() if file.path.endswith(".safetensors")) / 4
    run = HERE.model_copy(update={"save_every_steps": 1})
    config = SftConfig(**few(max_steps=12), adapter=Full())
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        metrics = sft(tmp_path / "many", config, base, dialogues, run=run).manifest.metrics
    finally:
        over.set()
        watcher.join()
    most, files = (max(found) for found in zip(*seen, strict=True))
    assert 24 * weights < most <= metrics["disk_bytes.most"], "as seen from outside"
    assert metrics["disk_bytes.most"] < 36 * weights + 3 * 100_000, "three states, weights and two moments each"
    assert files < 50
