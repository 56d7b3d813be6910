"""What the strategies make of a whole checkpoint, and how exact it is."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Corpus, Experts, RouterNormalization
from bunbuku_moe_upcycle import (
    Branches,
    Copy,
    Drop,
    Granular,
    HiddenRouter,
    Noise,
    NormalRouter,
    UniformRouter,
    UpcycleConfig,
    upcycle,
)
from bunbuku_moe_upcycle.tensors import TensorFolder
from pydantic import ValidationError

type Make = Callable[..., Artifact[Checkpoint]]
type MakeCorpus = Callable[..., Artifact[Corpus]]


def weights(checkpoint: Artifact[Checkpoint]) -> dict[str, np.ndarray]:
    folder = TensorFolder(sorted(checkpoint.dir.glob("*.safetensors")))
    return {name: folder.read(name) for name in folder.stored}


def error(made: Artifact[Checkpoint]) -> float:
    return made.manifest.metrics["function.error"]


NORMALIZATIONS = ["none", RouterNormalization(), RouterNormalization(scale=3, ddof=0)]


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize(
    ("strategy", "active"),
    [
        (Copy(), 1),
        (Copy(), 2),
        (Noise(scale=0), 2),
        (Drop(ratio=0), 2),
        (Granular(parts=2), 2),
        (Granular(parts=2), 4),
        (Granular(parts=2, scaling="down"), 2),
        (Granular(parts=4), 4),
    ],
)
def test_where_the_function_is_kept_it_is_kept_to_a_millionth(
    dense: Make, tmp_path: Path, strategy: Any, active: int, normalization: Any
):
    config = UpcycleConfig(strategy=strategy, active=active, normalization=normalization, exact=True)
    assert error(upcycle(tmp_path / "moe", config, dense())) <= 1e-6


@pytest.mark.parametrize(
    ("strategy", "active", "least", "why"),
    [
        (Noise(scale=0.01), 2, 1e-3, "noise of `scale` 0.01 changes every weight"),
        (Drop(ratio=0.5), 2, 0.1, "`ratio` 0.5 of the inner units is drawn anew"),
        (Granular(parts=4), 2, 0.1, "`active` 2 is no multiple of `parts` 4"),
        (Granular(scaling="megatron"), 2, 1e-3, "`scaling` 'megatron' does not make up"),
        (Granular(scaling="none"), 2, 0.4, "`scaling` 'none' does not make up"),
        (Granular(change=Noise(scale=0.01)), 2, 1e-3, "noise of `scale` 0.01 changes every weight"),
    ],
)
def test_where_it_is_changed_the_change_is_measured_and_exact_refuses_it(
    dense: Make, tmp_path: Path, strategy: Any, active: int, least: float, why: str
):
    assert error(upcycle(tmp_path / "moe", UpcycleConfig(strategy=strategy, active=active), dense())) > least
    with pytest.raises(ValidationError, match=f"`exact` cannot be: {why}"):
        UpcycleConfig(strategy=strategy, active=active, exact=True)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize(("strategy", "active", "least"), [(Copy(), 2, 0.1), (Copy(), 1, 0.1), (Granular(), 2, 0.1)])
def test_softmax_before_the_choice_is_measured_and_exact_refuses_it(
    dense: Make, tmp_path: Path, strategy: Any, active: int, least: float, normalization: Any
):
    fields = {"strategy": strategy, "active": active, "normalization": normalization, "gate_order": "softmax_first"}
    assert error(upcycle(tmp_path / "moe", UpcycleConfig.model_validate(fields), dense())) > least
    with pytest.raises(
        ValidationError, match="`exact` cannot be: `gate_order` 'softmax_first' leaves gates that do not"
    ):
        UpcycleConfig(**fields, exact=True)


@pytest.mark.parametrize("strategy", [Copy(), Granular(), Granular(parts=4, scaling="down")])
def test_a_shared_network_and_experts_have_half_of_the_answer_each(dense: Make, tmp_path: Path, strategy: Any):
    for dtype in ("float32", "bfloat16"):
        parent = dense(dtype, dtype=dtype)
        config = UpcycleConfig(strategy=strategy, active=4, shared=True, exact=dtype == "float32" or strategy == Copy())
        made = upcycle(tmp_path / f"moe-{dtype}", config, parent)
        before, after = weights(parent), weights(made)
        at = "model.layers.1.block_sparse_moe.shared_expert"
        np.testing.assert_array_equal(after[f"{at}.up_proj.weight"], before["model.layers.1.mlp.up_proj.weight"])
        np.testing.assert_array_equal(
            after[f"{at}.down_proj.weight"], before["model.layers.1.mlp.down_proj.weight"] / 2
        )
        assert made.spec.architecture.parameters == sum(tensor.size for tensor in after.values())
        if strategy == Copy():
            expert = after["model.layers.1.block_sparse_moe.experts.3.w2.weight"]
            np.testing.assert_array_equal(expert, after[f"{at}.down_proj.weight"])
            assert error(made) <= 1e-6


@pytest.mark.parametrize(
    ("fields", "layers"), [({"every": 2}, (1,)), ({"layers": (0, 2)}, (0, 2)), ({"layers": (0, 1, 2)}, None)]
)
def test_the_layers_asked_for_get_experts_and_the_others_stay(dense: Make, tmp_path: Path, fields: Any, layers: Any):
    parent = dense()
    made = upcycle(tmp_path / "moe", UpcycleConfig(strategy=Copy(), exact=True, **fields), parent)
    before, after, architecture = weights(parent), weights(made), made.spec.architecture
    assert architecture.experts is not None
    assert architecture.experts.layers == layers
    assert architecture.parameters == sum(tensor.size for tensor in after.values())
    met = sum(
        tensor.size for name, tensor in after.items() if ".experts." not in name or re.search(r"experts\.[01]\.", name)
    )
    assert architecture.active_parameters == met
    for layer in range(3):
        mixed = f"model.layers.{layer}.block_sparse_moe.gate.weight" in after
        assert mixed == (layer in architecture.mixture_layers)
        if not mixed:
            kept = after[f"model.layers.{layer}.block_sparse_moe.down_proj.weight"]
            np.testing.assert_array_equal(kept, before[f"model.layers.{layer}.mlp.down_proj.weight"])


def test_layers_that_are_not_there_are_refused(dense: Make, tmp_path: Path):
    for fields in ({"layers": (1, 3)}, {"every": 4}):
        with pytest.raises(BunbukuError, match="its layers are 0 to 2, and experts are asked for in layer 3"):
            upcycle(tmp_path / "moe", UpcycleConfig.model_validate(fields), dense())
    with pytest.raises(ValidationError, match=r"`layers` .* and `every` 2 are given"):
        UpcycleConfig(layers=(1,), every=2)
    with pytest.raises(ValidationError, match="are not one or more layers in their order"):
        UpcycleConfig(layers=(2, 1))


def test_rounding_of_half_precision_is_seen_and_refused_and_nothing_is_left(dense: Make, tmp_path: Path):
    parent = dense(dtype="bfloat16")
    rounded = upcycle(tmp_path / "rounded", UpcycleConfig(strategy=Granular()), parent)
    assert 1e-4 < error(rounded) < 0.1
    with pytest.raises(BunbukuError, match=r"layer 0 answers otherwise than the dense network, by 0\.0"):
        upcycle(tmp_path / "moe", UpcycleConfig(strategy=Granular(), exact=True), parent)
    assert not (tmp_path / "moe").exists()
    powers = UpcycleConfig(strategy=Granular(scaling="down"), exact=True)
    assert error(upcycle(tmp_path / "powers", powers, parent)) <= 1e-6


def test_slices_of_a_copy_lie_together_behind_equal_rows(dense: Make, tmp_path: Path):
    parent = dense()
    config = UpcycleConfig(experts=6, active=3, strategy=Granular(parts=3, scaling="down"))
    upcycled = upcycle(tmp_path / "moe", config, parent)
    before, made = weights(parent), weights(upcycled)
    assert upcycled.spec.architecture.ffn_size == parent.spec.architecture.ffn_size // 3
    assert upcycled.spec.architecture.parameters == sum(tensor.size for tensor in made.values())
    for layer in range(3):
        at = f"model.layers.{layer}.block_sparse_moe"
        experts = [{w: made[f"{at}.experts.{e}.{w}.weight"] for w in ("w1", "w2", "w3")} for e in range(6)]
        for first in (0, 3):
            copy = experts[first : first + 3]
            mlp = f"model.layers.{layer}.mlp"
            np.testing.assert_array_equal(
                np.concatenate([one["w1"] for one in copy]), before[f"{mlp}.gate_proj.weight"]
            )
            np.testing.assert_array_equal(np.concatenate([one["w3"] for one in copy]), before[f"{mlp}.up_proj.weight"])
            down = np.concatenate([one["w2"] for one in copy], axis=1)
            np.testing.assert_array_equal(down, 3 * before[f"{mlp}.down_proj.weight"])
        rows = made[f"{at}.gate.weight"]
        assert np.array_equal(rows[0], rows[2])
        assert np.array_equal(rows[3], rows[5])
        assert not np.array_equal(rows[2], rows[3])


def test_branches_become_experts_and_the_rest_their_mean(dense: Make, tmp_path: Path):
    parent = dense()
    branches = {"kana": dense("kana", seed=1, step=9), "code": dense("code", seed=2, step=12)}
    config = UpcycleConfig(experts=6, strategy=Branches())
    upcycled = upcycle(tmp_path / "moe", config, parent, branches)
    made = weights(upcycled)
    sources = [weights(one) for one in (parent, branches["code"], branches["kana"])]
    for expert in range(6):
        got = made[f"model.layers.1.block_sparse_moe.experts.{expert}.w3.weight"]
        np.testing.assert_array_equal(got, sources[expert % 3]["model.layers.1.mlp.up_proj.weight"])
    for name in ("model.embed_tokens.weight", "lm_head.weight", "model.layers.2.self_attn.q_proj.weight"):
        np.testing.assert_allclose(made[name], np.mean([one[name] for one in sources], axis=0), atol=1e-7)
    assert (upcycled.spec.step, upcycled.spec.tokens_seen) == (7 + 2 + 5, 100 * 14)
    assert error(upcycled) > 0.1
    assert set(upcycled.manifest.recipe.inputs) == {"checkpoint", "branches.code", "branches.kana"}


@pytest.mark.parametrize(
    ("given", "experts", "sentence"),
    [
        ({}, 8, "`strategy.type` is 'branches' and the branches are none"),
        ({"a": {}}, 7, "`experts` 7 is no multiple of the 2 networks"),
        ({"a": {"layers": 2}}, 8, "branch 'a' .* is another model than .*: `layers` 3 and 2"),
        ({"a": {"tokenizer": "8" * 64}}, 8, "branch 'a' .* was trained with tokenizer 888888888888"),
        ({"a": {"without": ("model.norm.weight",)}}, 8, r"'model\.norm\.weight' should be of shape \(16,\)"),
    ],
)
def test_branches_that_do_not_fit_are_refused(dense: Make, tmp_path: Path, given: Any, experts: int, sentence: str):
    parent = dense()
    branches = {name: dense(name, **({"seed": 1} | fields)) for name, fields in given.items()}
    with pytest.raises(BunbukuError, match=sentence) as refused:
        upcycle(tmp_path / "moe", UpcycleConfig(experts=experts, strategy=Branches()), parent, branches)
    assert refused.value.hint
    assert not (tmp_path / "moe").exists()


def test_branches_for_another_strategy_are_refused(dense: Make, tmp_path: Path):
    with pytest.raises(BunbukuError, match=r"`strategy\.type` is 'copy' and the branches are a"):
        upcycle(tmp_path / "moe", UpcycleConfig(strategy=Copy()), dense(), {"a": dense("a")})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"experts": 4, "active": 5}, "`active` 5 is more than `experts` 4"),
        (
            {"experts": 9, "strategy": Granular()},
            r"`experts` 9 is not a multiple, twice or more, of `strategy\.parts` 2",
        ),
        ({"experts": 4, "strategy": Granular(parts=4)}, "`experts` 4 is not a multiple, twice or more"),
        ({"experts": 1}, "greater than or equal to 2"),
    ],
)
def test_numbers_that_do_not_fit_are_refused_before_anything_is_read(fields: Any, sentence: str):
    with pytest.raises(ValidationError, match=sentence):
        UpcycleConfig(**fields)


def test_a_network_that_cannot_be_cut_so_is_refused(dense: Make, tmp_path: Path):
    config = UpcycleConfig(experts=10, strategy=Granular(parts=5))
    with pytest.raises(BunbukuError, match=r"has 24 inner units, no multiple of `strategy\.parts` 5"):
        upcycle(tmp_path / "moe", config, dense())


def test_number_types_that_differ_within_a_layer_are_refused(dense: Make, tmp_path: Path):
    from safetensors.numpy import load_file, save_file

    parent = dense()
    path = parent.dir / "model.safetensors"
    tensors = load_file(path)
    name = "model.layers.1.mlp.up_proj.weight"
    save_file(tensors | {name: tensors[name].astype(np.float16)}, path)
    with pytest.raises(BunbukuError, match="the matrices of layer 1 are stored as F16, F32"):
        upcycle(tmp_path / "moe", UpcycleConfig(), parent)


@pytest.mark.parametrize("router", [NormalRouter(), UniformRouter(), NormalRouter(std=0.5, zero_mean=False)])
def test_the_router_has_the_deviation_that_was_asked_for(dense: Make, tmp_path: Path, router: Any):
    made = upcycle(tmp_path / "moe", UpcycleConfig(router=router, normalization="none"), dense(head_size=64))
    rows = weights(made)["model.layers.0.block_sparse_moe.gate.weight"]
    assert rows.std() == pytest.approx(router.std, rel=0.08)


class TestHidden:
    """A router that begins with what the dense model makes of texts."""

    @pytest.fixture
    def prompts(self, corpus: MakeCorpus) -> dict[str, Artifact[Corpus]]:
        pytest.importorskip("transformers")
        return {
            "kana": corpus("kana", ("a", "あいうえおかきくいい"), ("b", "うあうあえお")),
            "code": corpus("code", ("c", "a={b};c={d}01")),
        }

    def test_each_row_hears_its_own_domain_best(self, dense: Make, tmp_path: Path, prompts: Any):
        import torch
        from bunbuku_moe_upcycle.listening import Listener, documents

        parent = dense()
        config = UpcycleConfig(experts=2, active=1, strategy=Copy(), router=HiddenRouter(std=0.02))
        made = weights(upcycle(tmp_path / "moe", config, parent, None, prompts))
        listener = Listener(parent)
        for layer in range(3):
            rows = made[f"model.layers.{layer}.block_sparse_moe.gate.weight"]
            assert rows.std(axis=1) == pytest.approx([0.02, 0.02], rel=1e-3)
            for row, name in enumerate(("code", "kana")):
                heard = listener.listen(documents(prompts[name], tokens=100), tokens=100)
                mean = np.concatenate([window.hidden_TD[layer] for window in heard]).mean(axis=0)
                assert (rows @ mean).argmax() == row
        ids = torch.tensor([[4, 5, 6, 7]])  # what is heard is what the network hears
        heard_by_hand: list[Any] = []
        listener.model.model.layers[1].mlp.register_forward_pre_hook(lambda _, given: heard_by_hand.append(given[0]))
        listener.model(ids)
        window = next(listener.listen(iter([next(documents(prompts["kana"], tokens=4))]), tokens=4))
        np.testing.assert_allclose(window.hidden_TD[1], heard_by_hand[-1][0].detach().numpy(), atol=1e-6)

    def test_the_same_texts_give_the_same_bytes(self, dense: Make, tmp_path: Path, prompts: Any):
        config = UpcycleConfig(experts=4, active=2, strategy=Granular(), router=HiddenRouter())
        made = [upcycle(tmp_path / name, config, dense(), None, prompts) for name in ("one", "two")]
        assert made[0].content == made[1].content
        assert error(made[0]) <= 1e-6

    def test_as_many_domains_as_rows_are_asked_for(self, dense: Make, tmp_path: Path, prompts: Any):
        with pytest.raises(BunbukuError, match="its rows are 8, and the prompts given are code, kana"):
            upcycle(tmp_path / "moe", UpcycleConfig(router=HiddenRouter()), dense(), None, prompts)
        with pytest.raises(BunbukuError, match=r"`router\.type` is 'normal', its rows are 8, and the prompts"):
            upcycle(tmp_path / "moe", UpcycleConfig(), dense(), None, prompts)

    def test_a_corpus_without_text_is_named(self, dense: Make, tmp_path: Path, prompts: Any, corpus: MakeCorpus):
        config = UpcycleConfig(experts=2, router=HiddenRouter())
        with pytest.raises(BunbukuError, match=r"corpus 'code' .* has no text"):
            upcycle(tmp_path / "moe", config, dense(), None, prompts | {"code": corpus("none", ("a", ""))})


def test_the_architecture_says_what_the_mixture_is(dense: Make, tmp_path: Path):
    made = upcycle(tmp_path / "moe", UpcycleConfig(strategy=Granular()), dense())
    assert made.spec.architecture.experts == Experts(count=8, active=2, normalization=RouterNormalization())
    assert made.manifest.metrics["perturbation.relative"] == 0
