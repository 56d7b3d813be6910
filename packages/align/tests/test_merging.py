"""An adapter folded into its weights says what it said beside them, and nothing else changes."""

import json
from pathlib import Path

import peft
import pytest
import torch
from bunbuku_align import AlignRun, Lora, MergeConfig, SftConfig, merge, sft
from bunbuku_align.adapter import read_adapter
from bunbuku_align.weights import Tensors, rewrite
from bunbuku_contracts import ArtifactError, load
from bunbuku_contracts.kinds import Checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

CONFIG = SftConfig(max_tokens=64, learning_rate=1e-2, held_out_share=0, max_steps=4, adapter=Lora(rank=3, alpha=7))
IDS = torch.tensor([[1, 300, 270, 265, 280, 2], [1, 290, 291, 292, 293, 2]])


@pytest.fixture(scope="module", params=["llama", "mixtral"])
def trained(request, make, numerals, tmp_path_factory):
    """A model, an adapter trained on it, and both merged."""
    folder = tmp_path_factory.mktemp("merged")
    base = make.model(request.param, shard="20KB")
    adapter = sft(folder / "sft", CONFIG, base, make.dialogues(numerals), run=AlignRun(device="cpu", threads=1))
    return base, adapter, merge(folder / "merged", MergeConfig(), base, adapter)


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for path in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(path).items()}


def test_merged_logits_are_those_of_the_adapter_beside_its_base(trained) -> None:
    base, adapter, merged = trained
    plain = AutoModelForCausalLM.from_pretrained(base.dir, dtype=torch.float32)
    before = logits(plain)
    beside = logits(peft.PeftModel.from_pretrained(plain, adapter.dir))
    assert (beside - before).abs().max() > 0.1, "an adapter that changes nothing would show nothing"
    assert (logits(AutoModelForCausalLM.from_pretrained(merged.dir, dtype=torch.float32)) - beside).abs().max() < 1e-5


def test_merged_weights_are_those_that_peft_merges(trained) -> None:
    base, adapter, merged = trained
    model = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base.dir), adapter.dir)
    theirs = model.merge_and_unload().state_dict()
    ours = AutoModelForCausalLM.from_pretrained(merged.dir).state_dict()
    assert theirs.keys() == ours.keys()
    assert max((theirs[name] - ours[name]).abs().max().item() for name in theirs) < 1e-6


def test_all_but_the_attention_stays_byte_for_byte(trained) -> None:
    base, _, merged = trained
    assert [file.path for file in base.files()] == [file.path for file in merged.files()]
    assert len(list(base.dir.glob("*.safetensors"))) > 1, "one shard would show less"
    before, after = weights(base.dir), weights(merged.dir)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.endswith(tuple(f"{p}_proj.weight" for p in "qkvo"))}
    for file in base.files():
        if not file.path.endswith(".safetensors"):
            assert base.path(file).read_bytes() == merged.path(file).read_bytes()


def test_a_merged_checkpoint_opens_and_says_what_it_is(trained) -> None:
    base, _, merged = trained
    assert merged.spec == base.spec.model_copy(update={"chat": True, "licences": ("CC0-1.0",)})
    assert merged.manifest.metrics == {"weights.changed": 8.0}
    tokenizer = AutoTokenizer.from_pretrained(merged.dir)
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(base.dir).chat_template


def test_merging_twice_makes_the_same_bytes(trained, tmp_path: Path) -> None:
    base, adapter, merged = trained
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    assert merge(tmp_path / "again", MergeConfig(), base, adapter).content == merged.content
    torch.set_num_threads(before)


def test_an_adapter_for_another_base_is_refused(trained, make, tmp_path: Path) -> None:
    base, adapter, merged = trained
    other = make.model("mixtral" if base.spec.architecture.experts else "llama", seed=1)
    with pytest.raises(ArtifactError, match=f"adapter for checkpoint {base.content[:12]}, but .* {other.content[:12]}"):
        merge(tmp_path / "out", MergeConfig(), other, adapter)
    with pytest.raises(ArtifactError, match="format 'hf', not 'peft'"):
        merge(tmp_path / "out", MergeConfig(), base, merged)
    with pytest.raises(ArtifactError, match="format 'peft', not 'hf'"):
        merge(tmp_path / "out", MergeConfig(), adapter, adapter)
    assert not (tmp_path / "out").exists()


def test_an_adapter_that_is_more_than_low_rank_updates_is_refused(make, tmp_path: Path) -> None:
    plain = AutoModelForCausalLM.from_pretrained(make.model().dir)
    dora = peft.get_peft_model(plain, peft.LoraConfig(r=2, target_modules=["q_proj"], use_dora=True))
    dora.save_pretrained(str(tmp_path))
    with pytest.raises(ArtifactError, match="`use_dora` True, which merging does not know"):
        read_adapter(tmp_path)


def test_a_damaged_adapter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(ArtifactError, match="does not read as an adapter"):
        read_adapter(tmp_path)


def test_an_adapter_tells_no_path_and_no_version(trained) -> None:
    base, adapter, _ = trained
    config = json.loads((adapter.dir / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] is None
    assert "peft_version" not in config
    for file in adapter.files():
        assert str(base.dir).encode() not in adapter.path(file).read_bytes()
    assert load(adapter.dir, Checkpoint).spec.format == "peft"


DTYPES = st.sampled_from([torch.float64, torch.float32, torch.float16, torch.bfloat16])
SHAPES = st.lists(st.integers(0, 5), max_size=3).map(tuple)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text("abc.", min_size=1, max_size=8), st.tuples(DTYPES, SHAPES)), st.data())
def test_only_named_tensors_change_and_the_layout_stays(tmp_path_factory, shapes, data) -> None:
    folder = tmp_path_factory.mktemp("rewritten")
    before = {name: torch.randn(shape).to(dtype) for name, (dtype, shape) in shapes.items()}
    names = set(data.draw(st.lists(st.sampled_from(sorted(shapes) or ["none"]))))
    save_file(before, folder / "before.safetensors", metadata={"format": "pt"})
    changed = rewrite(folder / "before.safetensors", folder / "after.safetensors", names, lambda _, tensor: tensor * 2)
    after = load_file(folder / "after.safetensors")
    assert sorted(changed) == sorted(names & before.keys())
    assert after.keys() == before.keys()
    read = Tensors(folder / "before.safetensors")
    assert read.names == before.keys()
    for name, tensor in before.items():
        assert torch.equal(read.read(name), tensor)
        assert after[name].dtype == tensor.dtype
        assert torch.equal(after[name], tensor * 2 if name in names else tensor)
    same = rewrite(folder / "before.safetensors", folder / "same.safetensors", before, lambda _, tensor: tensor)
    assert sorted(same) == sorted(before)
    assert (folder / "same.safetensors").read_bytes() == (folder / "before.safetensors").read_bytes()


@settings(deadline=None)
@given(st.integers(0, 199))
def test_a_file_cut_short_is_refused(tmp_path_factory, length) -> None:
    folder = tmp_path_factory.mktemp("cut")
    save_file({"a": torch.ones(8, 4), "b": torch.ones(3)}, folder / "whole.safetensors")
    (folder / "cut.safetensors").write_bytes((folder / "whole.safetensors").read_bytes()[:length])
    with pytest.raises(ArtifactError, match=r"cut\.safetensors does not read as safetensors"):
        rewrite(folder / "cut.safetensors", folder / "out.safetensors", {"b"}, lambda _, tensor: tensor)
    with pytest.raises(ArtifactError, match=r"cut\.safetensors does not read as safetensors"):
        Tensors(folder / "cut.safetensors").read("b")


@pytest.mark.parametrize("text", [b"", b"a page about weights", b"\1" + 7 * b"\0" + b"7", b"\2" + 7 * b"\0" + b"[]"])
def test_what_is_no_file_of_weights_is_refused(text, tmp_path: Path) -> None:
    (tmp_path / "other.safetensors").write_bytes(text)
    with pytest.raises(ArtifactError, match=r"other\.safetensors does not read as safetensors"):
        Tensors(tmp_path / "other.safetensors")
