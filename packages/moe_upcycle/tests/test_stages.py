import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Experts, RouterNormalization, read_sections
from bunbuku_moe_upcycle import Copy, Drop, Noise, SimilarityConfig, UpcycleConfig, similarity, upcycle
from bunbuku_moe_upcycle.cli import main
from bunbuku_moe_upcycle.strategies import AnyStrategy
from safetensors.numpy import load_file

type Make = Callable[..., Artifact[Checkpoint]]

HIDDEN, FFN = 16, 24


def weights(checkpoint: Artifact[Checkpoint]) -> dict[str, np.ndarray]:
    loaded: dict[str, np.ndarray] = {}
    for path in sorted(checkpoint.dir.glob("*.safetensors")):
        loaded |= load_file(path)
    return loaded


def test_every_tensor_is_where_mixtral_had_it(dense: Make, tmp_path: Path):
    parent = dense()
    made = weights(upcycle(tmp_path / "moe", UpcycleConfig(experts=4, strategy=Copy()), parent))
    before = weights(parent)
    for name, tensor in before.items():
        if ".mlp." not in name:
            np.testing.assert_array_equal(made.pop(name), tensor)
    for layer in range(3):
        at = f"model.layers.{layer}"
        assert made.pop(f"{at}.block_sparse_moe.gate.weight").shape == (4, HIDDEN)
        for expert in range(4):
            for letter, name in {"w1": "gate", "w3": "up", "w2": "down"}.items():
                expert_weight = made.pop(f"{at}.block_sparse_moe.experts.{expert}.{letter}.weight")
                np.testing.assert_array_equal(expert_weight, before[f"{at}.mlp.{name}_proj.weight"])
    assert not made


def test_the_manifest_carries_over_what_the_dense_one_said(dense: Make, tmp_path: Path):
    parent = dense()
    spec = upcycle(tmp_path / "moe", UpcycleConfig(experts=4, active=3, aux_loss_coefficient=0.02), parent).spec
    assert (spec.step, spec.tokens_seen, spec.tokenizer, spec.licences) == (7, 700, parent.spec.tokenizer, ("CC0-1.0",))
    wanted = Experts(count=4, active=3, normalization=RouterNormalization(), aux_loss_coefficient=0.02)
    assert spec.architecture == parent.spec.architecture.model_copy(update={"experts": wanted})


def test_the_weights_are_as_many_as_the_architecture_says(dense: Make, tmp_path: Path):
    made = upcycle(tmp_path / "moe", UpcycleConfig(), dense())
    assert sum(tensor.size for tensor in weights(made).values()) == made.spec.architecture.parameters
    assert made.manifest.metrics["parameters.total"] == made.spec.architecture.parameters


def test_the_tokenizer_goes_along_and_the_parents_page_does_not(dense: Make, tmp_path: Path):
    parent = dense()
    made = upcycle(tmp_path / "moe", UpcycleConfig(), parent)
    assert (made.dir / "tokenizer.json").read_bytes() == (parent.dir / "tokenizer.json").read_bytes()
    assert not (made.dir / "README.md").exists()


def test_without_normalisation_it_is_a_mixtral(dense: Make, tmp_path: Path):
    plain = upcycle(tmp_path / "plain", UpcycleConfig(normalization="none"), dense())
    config = json.loads((plain.dir / "config.json").read_bytes())
    assert (config["model_type"], config["architectures"]) == ("mixtral", ["MixtralForCausalLM"])
    assert "router_normalization" not in config
    assert plain.spec.architecture.experts == Experts(count=8, active=2, aux_loss_coefficient=0.01)


def test_with_normalisation_its_parameters_are_in_the_config(dense: Make, tmp_path: Path):
    asked = UpcycleConfig(normalization=RouterNormalization(scale=2, ddof=0, eps=1e-5))
    config = json.loads((upcycle(tmp_path / "moe", asked, dense()).dir / "config.json").read_bytes())
    assert (config["model_type"], config["architectures"]) == ("bunbuku_moe", ["BunbukuMoeForCausalLM"])
    assert config["router_normalization"] == {"scale": 2.0, "ddof": 0, "eps": 1e-5}


def test_what_llama_leaves_unsaid_is_said_for_mixtral(dense: Make, tmp_path: Path):
    """Mixtral's defaults differ: left out, they would turn the positions and the norm into others."""
    parent = dense(config={"rope_theta": None, "rope_parameters": {"rope_type": "default", "rope_theta": 20_000.0}})
    config = json.loads((upcycle(tmp_path / "moe", UpcycleConfig(), parent).dir / "config.json").read_bytes())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 20_000.0
    assert (config["rms_norm_eps"], config["tie_word_embeddings"]) == (1e-5, False)


@pytest.mark.parametrize("strategy", [Noise(), Drop()])
def test_the_bytes_do_not_depend_on_how_the_dense_files_are_cut(dense: Make, tmp_path: Path, strategy: AnyStrategy):
    config = UpcycleConfig(strategy=strategy)
    whole = upcycle(tmp_path / "whole", config, dense("one"))
    cut = upcycle(tmp_path / "cut", config, dense("three", files=3))
    again = upcycle(tmp_path / "again", config, dense("one"))
    assert whole.content == cut.content == again.content


def test_cut_into_files_it_holds_the_same(dense: Make, tmp_path: Path):
    parent = dense()
    whole = upcycle(tmp_path / "whole", UpcycleConfig(), parent)
    cut = upcycle(tmp_path / "cut", UpcycleConfig(target_shard_bytes=20_000), parent)
    assert not (cut.dir / "model.safetensors").exists()
    index = json.loads((cut.dir / "model.safetensors.index.json").read_bytes())
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in weights(whole).values())
    files = sorted(cut.dir.glob("*.safetensors"))
    assert len(files) > 3
    assert all(path.stat().st_size < 26_000 for path in files)
    assert {name: path.name for path in files for name in load_file(path)} == index["weight_map"]
    assert {name: tensor.tobytes() for name, tensor in weights(cut).items()} == {
        name: tensor.tobytes() for name, tensor in weights(whole).items()
    }


@pytest.mark.parametrize("mode", ["absolute", "relative"])
def test_a_thousandth_of_noise_is_of_the_kind_that_the_recipe_states(dense: Make, tmp_path: Path, mode: str):
    noise = Noise.model_validate({"scale": 0.001, "mode": mode})
    made = upcycle(tmp_path / "moe", UpcycleConfig(strategy=noise), dense(head_size=32))
    assert made.manifest.recipe.config["strategy"] == {"type": "noise", "scale": 0.001, "mode": mode}
    assert made.manifest.metrics[f"perturbation.{mode}"] == pytest.approx(0.001, rel=0.02)
    other = {"absolute": "relative", "relative": "absolute"}[mode]
    assert made.manifest.metrics[f"perturbation.{other}"] != pytest.approx(0.001, rel=0.5)


def test_the_perturbation_is_measured_as_it_was_stored(dense: Make, tmp_path: Path):
    made = upcycle(tmp_path / "moe", UpcycleConfig(strategy=Noise(scale=0.01, mode="absolute")), dense())
    assert made.manifest.metrics["perturbation.absolute"] == pytest.approx(0.01, rel=0.02)
    assert made.manifest.metrics["perturbation.relative"] == pytest.approx(0.1, rel=0.05)
    copied = upcycle(tmp_path / "copy", UpcycleConfig(strategy=Copy()), dense())
    assert copied.manifest.metrics["perturbation.relative"] == 0


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"format": "megatron"}, "is a checkpoint in 'megatron' format, upcycling reads 'hf'"),
        ({"format": "peft"}, "is a checkpoint in 'peft' format, upcycling reads 'hf'"),
        ({"experts": Experts(count=4, active=2)}, "has 4 experts already"),
        ({"config": {"model_type": "gpt2"}}, "'model_type' is 'gpt2', upcycling knows 'llama' only"),
        ({"config": {"mlp_bias": True}}, "'mlp_bias' is True, upcycling knows False only"),
        ({"config": {"hidden_act": "gelu"}}, "'hidden_act' is 'gelu', upcycling knows 'silu' only"),
        ({"extra": {"model.layers.0.mlp.up_proj.bias": (FFN,)}}, "holds 'model.layers.0.mlp.up_proj.bias'"),
        ({"without": ("model.layers.1.mlp.up_proj.weight",)}, "'model.layers.1.mlp.up_proj.weight' should be of shape"),
        (
            {"without": ("model.norm.weight",), "extra": {"model.layers.2.mlp.down_proj.weight": (FFN, HIDDEN)}},
            r"should be of shape \(16, 24\) and is \(24, 16\)",
        ),
    ],
)
def test_what_cannot_be_upcycled_is_refused_in_a_sentence(dense: Make, tmp_path: Path, fields: dict, sentence: str):
    with pytest.raises(BunbukuError, match=sentence) as error:
        upcycle(tmp_path / "moe", UpcycleConfig(), dense(**fields))
    assert error.value.hint
    assert not (tmp_path / "moe").exists()


def test_a_missing_shard_is_named(dense: Make, tmp_path: Path):
    """An export that lost a file on the way still has an index that speaks of it."""
    weight_map = {"model.norm.weight": "model.safetensors", "lm_head.weight": "model-2.safetensors"}
    parent = dense(without=("lm_head.weight",), index=weight_map)
    with pytest.raises(BunbukuError, match=r"'lm_head\.weight' should be in 'model-2\.safetensors' and is not"):
        upcycle(tmp_path / "moe", UpcycleConfig(), parent)


def test_more_active_experts_than_there_are_is_refused():
    with pytest.raises(ValueError, match="`active` 5 is more than `experts` 4"):
        UpcycleConfig(experts=4, active=5)


def test_copies_are_alike_and_strangers_are_not(dense: Make, tmp_path: Path):
    parent = dense()
    checkpoints = {
        "copy": upcycle(tmp_path / "copy", UpcycleConfig(strategy=Copy()), parent),
        "noise": upcycle(tmp_path / "noise", UpcycleConfig(strategy=Noise(scale=0.5)), parent),
        "redrawn": upcycle(tmp_path / "redrawn", UpcycleConfig(strategy=Drop(ratio=1.0)), parent),
    }
    report = similarity(tmp_path / "similarity", SimilarityConfig(), checkpoints)
    metrics = report.manifest.metrics
    assert metrics["similarity.copy.mean"] == 1.0
    assert metrics["similarity.noise.mean"] == pytest.approx(1 / (1 + 0.5**2), abs=0.02)
    assert abs(metrics["similarity.redrawn.mean"]) < 0.02
    assert {name for name in metrics if name.startswith("similarity.noise.layer.")} == {
        f"similarity.noise.layer.{layer:03d}" for layer in range(3)
    }


def test_cosines_are_those_of_the_flattened_experts(dense: Make, tmp_path: Path):
    made = upcycle(tmp_path / "moe", UpcycleConfig(experts=3, strategy=Drop()), dense())
    report = similarity(tmp_path / "similarity", SimilarityConfig(), {"moe": made})
    loaded = weights(made)
    flat = np.array(
        [
            np.concatenate(
                [loaded[f"model.layers.1.block_sparse_moe.experts.{e}.{w}.weight"].ravel() for w in ("w1", "w2", "w3")]
            )
            for e in range(3)
        ]
    )
    pairs = [
        np.dot(flat[a], flat[b]) / np.linalg.norm(flat[a]) / np.linalg.norm(flat[b])
        for a, b in [(0, 1), (0, 2), (1, 2)]
    ]
    assert report.manifest.metrics["similarity.moe.layer.001"] == pytest.approx(np.mean(pairs), abs=1e-6)


def test_the_report_shows_every_checkpoint_in_order_of_its_age(dense: Make, tmp_path: Path):
    checkpoints = {name: upcycle(tmp_path / name, UpcycleConfig(seed=seed), dense()) for seed, name in enumerate("ba")}
    report = similarity(tmp_path / "similarity", SimilarityConfig(heat_map_layers=(2,)), checkpoints)
    (section,) = read_sections(report)
    assert [row[0] for row in section.tables[0].rows] == ["a", "b"]
    assert [picture.path for picture in section.pictures] == ["layers.png", "experts-01.png", "experts-02.png"]
    for picture in section.pictures:
        assert (report.dir / picture.path).read_bytes().startswith(b"\x89PNG")


def test_a_picture_has_the_same_bytes_twice(dense: Make, tmp_path: Path):
    made = {"moe": upcycle(tmp_path / "moe", UpcycleConfig(), dense())}
    first = similarity(tmp_path / "first", SimilarityConfig(), made)
    second = similarity(tmp_path / "second", SimilarityConfig(), made)
    assert first.content == second.content


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "is dense: it has no experts to compare"),
        ({"format": "megatron"}, "is a checkpoint in 'megatron' format, similarity reads 'hf'"),
        ({"experts": Experts(count=2, active=1)}, "lacks 'model.layers.0.block_sparse_moe.experts.0.w1.weight'"),
    ],
)
def test_what_has_no_experts_to_compare_is_refused(dense: Make, tmp_path: Path, fields: dict, sentence: str):
    with pytest.raises(BunbukuError, match=sentence):
        similarity(tmp_path / "similarity", SimilarityConfig(), {"it": dense(**fields)})


def test_a_layer_that_is_not_there_cannot_be_drawn(dense: Make, tmp_path: Path):
    made = upcycle(tmp_path / "moe", UpcycleConfig(), dense())
    with pytest.raises(BunbukuError, match="which has experts in layers 0, 1, 2"):
        similarity(tmp_path / "similarity", SimilarityConfig(heat_map_layers=(3,)), {"moe": made})


def test_the_command_makes_what_the_function_makes(dense: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    config = tmp_path / "upcycle.toml"
    config.write_text(
        'experts = 4\nstrategy = { type = "noise", scale = 0.001, mode = "absolute" }\nnormalization = "none"\n'
    )
    parent = dense()
    main(["upcycle", str(config), "--checkpoint", str(parent.dir), "--out", str(tmp_path / "shell")])
    assert capsys.readouterr().out.strip() == str(tmp_path / "shell")
    strategy = Noise(scale=0.001, mode="absolute")
    here = upcycle(tmp_path / "here", UpcycleConfig(experts=4, strategy=strategy, normalization="none"), parent)
    assert upcycle(
        tmp_path / "shell", UpcycleConfig(experts=4, strategy=strategy, normalization="none"), parent
    ).content == (here.content)
