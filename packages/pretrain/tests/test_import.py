"""Models of Hugging Face into Megatron's format, and back to the same bytes."""

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bunbuku_contracts import Artifact, ArtifactError, Checkpoint, ConfigError, Tokenizer
from bunbuku_pretrain import ExportConfig, ImportConfig, export, import_, logits
from bunbuku_pretrain.foreign import read_architecture
from bunbuku_pretrain.hugging_face import write_weights
from bunbuku_pretrain.layout import names
from safetensors.torch import load_file

QUICK = ImportConfig(logits_tolerance=None)
QUICKLY = ExportConfig(logits_tolerance=None)


@pytest.mark.parametrize("experts", ["none", "plain", "normalized", "partly"])
def test_there_and_back_gives_the_same_bytes(
    tmp_path: Path, tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace, experts: str
) -> None:
    wanted = {"none": None, "plain": tiny.normalized.model_copy(update={"normalization": None}), "partly": tiny.partly}
    architecture = tiny.small(tokenizer.spec.vocab_size, wanted.get(experts, tiny.normalized))
    start = tiny.make_model(tmp_path / "start", tiny.model_config(architecture=architecture), tokenizer)
    there = import_(tmp_path / "there", QUICK, tokenizer, start)
    assert (there.spec.format, there.spec.step, there.spec.tokens_seen) == ("megatron", 10, 1000)
    assert there.spec.architecture.vocab_size == 256
    back = export(tmp_path / "back", QUICKLY, there, tokenizer)
    assert back.spec.architecture == architecture
    assert (back.dir / "model.safetensors").read_bytes() == (start.dir / "model.safetensors").read_bytes()
    config = json.loads((back.dir / "config.json").read_text())
    config.pop("auto_map", None)  # where bunbuku-moe-upcycle is installed
    assert config == json.loads((start.dir / "config.json").read_text())
    again = import_(tmp_path / "again", QUICK, tokenizer, back)  # with the generation settings that the start had not
    assert (again.dir / "__0_0.distcp").read_bytes() == (there.dir / "__0_0.distcp").read_bytes()
    back_again = export(tmp_path / "back-again", QUICKLY, again, tokenizer)
    assert back_again.content == back.content
    assert import_(tmp_path / "third", QUICK, tokenizer, back_again).content == again.content


def test_a_model_from_elsewhere_comes_back_as_it_was(
    tmp_path: Path, tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace
) -> None:
    folder = tmp_path / "elsewhere"
    foreign(folder, tokenizer, tiny, torch.bfloat16)
    config = ImportConfig(licence="Apache-2.0", tokens_seen=5, chat=True, logits_tolerance=None)
    there = import_(tmp_path / "there", config, tokenizer, model=folder)
    assert (there.spec.licences, there.spec.tokens_seen, there.spec.chat) == (("Apache-2.0",), 5, True)
    back = export(tmp_path / "back", ExportConfig(logits_tolerance=None, shard_bytes=15_000), there, tokenizer)
    files = sorted(folder.glob("model*"))
    assert len(files) > 3
    assert [path.read_bytes() for path in files] == [(back.dir / path.name).read_bytes() for path in files]
    assert (back.dir / "generation_config.json").read_text() == '{"temperature": 0.7}'
    assert json.loads((back.dir / "config.json").read_text())["dtype"] == "bfloat16"


def foreign(folder: Path, tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace, dtype: torch.dtype) -> None:
    """A sharded model with tokenizer and generation settings, as from a hub."""
    (folder / "whole").mkdir(parents=True)
    tiny.write_random_model(folder / "whole", tiny.small(tokenizer.spec.vocab_size), tokenizer.spec, seed=0)
    shutil.copyfile(folder / "whole" / "config.json", folder / "config.json")
    shutil.copyfile(tokenizer.dir / "tokenizer.json", folder / "tokenizer.json")
    (folder / "generation_config.json").write_text('{"temperature": 0.7}')
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(folder / "whole" / "model.safetensors").items()}
    write_weights(folder, ((name, tensors[name]) for name in names(tiny.small(tokenizer.spec.vocab_size))), 15_000)
    shutil.rmtree(folder / "whole")


@pytest.mark.slow
def test_the_logits_of_both_are_compared_inside_both_stages(
    tmp_path: Path, tokenizer: Artifact[Tokenizer], dense: Artifact[Checkpoint], tiny: SimpleNamespace
) -> None:
    out = export(tmp_path / "out", ExportConfig(), dense, tokenizer)
    assert 0 < out.manifest.metrics["logits.largest_difference"] < 1e-5
    again = import_(tmp_path / "again", ImportConfig(), tokenizer, out)
    assert 0 < again.manifest.metrics["logits.largest_difference"] < 1e-5
    with pytest.raises(
        ArtifactError, match=r"logits and transformers' differ by .*e-0., .* `logits_tolerance` is 1.00e-12"
    ):
        import_(tmp_path / "refused", ImportConfig(logits_tolerance=1e-12), tokenizer, out)
    assert not (tmp_path / "refused").exists()


def test_what_is_too_far_apart_grows_with_the_logits() -> None:
    noted: Any = SimpleNamespace(metrics={})  # as much of a draft as is used
    logits.check(noted, logits.Difference(absolute=1.1e-5, largest=12.0), 1e-5)
    assert noted.metrics == {"logits.largest_difference": 1.1e-5, "logits.largest": 12.0}
    for found in (logits.Difference(1.1e-5, 0.4), logits.Difference(1.3e-4, 12.0), logits.Difference(math.nan, 1.0)):
        with pytest.raises(ArtifactError, match="the largest is"):
            logits.check(noted, found, 1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "qwen2"}, r"says `model_type` 'qwen2'"),
        ({"tie_word_embeddings": True}, r"says `tie_word_embeddings` True, which must be False"),
        ({"attention_bias": True}, r"says `attention_bias` True, which must be False"),
        ({"hidden_act": "gelu"}, r"says `hidden_act` 'gelu', which must be 'silu'"),
        ({"head_dim": 64}, r"says `head_dim` 64, which must be .* 8"),
        ({"rope_parameters": {"rope_type": "yarn"}}, r"says `rope_parameters.rope_type` 'yarn'"),
        ({"vocab_size": 100}, r"has 100 rows, .* has 150 ids"),
        ({"num_hidden_layers": 3}, r"lacks the tensor 'model\.layers\.2\.input_layernorm\.weight' and 8 more"),
    ],
)
def test_what_is_not_trained_here_is_refused_with_a_sentence(
    tmp_path: Path, tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace, change: dict[str, Any], said: str
) -> None:
    folder = tmp_path / "elsewhere"
    foreign(folder, tokenizer, tiny, torch.float32)
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match=said):
        import_(tmp_path / "out", ImportConfig(licence="MIT", logits_tolerance=None), tokenizer, model=folder)


def test_a_model_from_elsewhere_needs_a_licence_and_the_same_ids(
    tmp_path: Path, tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace
) -> None:
    folder = tmp_path / "elsewhere"
    foreign(folder, tokenizer, tiny, torch.float32)
    with pytest.raises(ConfigError, match="`licence` is missing"):
        import_(tmp_path / "out", QUICK, tokenizer, model=folder)
    with pytest.raises(ConfigError, match="neither a checkpoint nor a model"):
        import_(tmp_path / "out", QUICK, tokenizer)
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"<s>"', '"<bos>"'))
    with pytest.raises(ArtifactError, match=r"tokenizer\.json and .* differ in 'model'"):
        import_(tmp_path / "out", ImportConfig(licence="MIT", logits_tolerance=None), tokenizer, model=folder)
    path.unlink()
    with pytest.raises(ArtifactError, match=r"has no tokenizer\.json"):
        import_(tmp_path / "out", ImportConfig(licence="MIT", logits_tolerance=None), tokenizer, model=folder)


def test_both_generations_of_transformers_say_the_same_base_of_rotary_angles(tmp_path: Path) -> None:
    shape = {"num_hidden_layers": 1, "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2}
    rest = {"vocab_size": 9, "max_position_embeddings": 4, "rms_norm_eps": 1e-6, "model_type": "llama"}
    for fields in ({"rope_theta": 5e5}, {"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}):
        (tmp_path / "config.json").write_text(json.dumps({**shape, **rest, **fields}))
        assert read_architecture(tmp_path).rope_theta == 5e5
    assert read_architecture(tmp_path).kv_heads == 2
