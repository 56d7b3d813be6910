"""Several checkpoints made into one: formulas on numbers that can be worked out, files and names left as they were."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from bunbuku_align import CombineConfig, Dare, Linear, ModelStock, Slerp, TaskArithmetic, Ties, combine
from bunbuku_align.combining import combined
from bunbuku_contracts import ArtifactError, ConfigError
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

PEER = os.environ.get("BUNBUKU_MERGEKIT")
METHODS = [
    Linear(weights={"one": 0.7, "two": 0.3}),
    Slerp(t=0.3),
    TaskArithmetic(weights={"one": 0.6, "two": 0.5}, scale=0.9),
    Ties(density=0.4, scale=0.8, weights={"one": 0.6, "two": 0.7}),
    Dare(density=1.0, elect_signs=True),
    ModelStock(),
]


def of(method, *rows: list[float], base: list[float] | None = None) -> list[float]:
    given = [torch.tensor(row, dtype=torch.float64) for row in rows]
    start = None if base is None else torch.tensor(base, dtype=torch.float64)
    names = ["甲", "乙", "丙"][: len(rows)]
    return combined(method, "a", names, given, start).tolist()


def test_linear_is_the_mean_by_weight() -> None:
    assert of(Linear(), [1, 2], [3, 6]) == [2, 4]
    assert of(Linear(weights={"甲": 3, "乙": 1}), [1, 2], [5, 6]) == [2, 3]


def test_slerp_stays_on_the_circle() -> None:
    half = 2**-0.5
    assert of(Slerp(t=0.5), [1, 0], [0, 1]) == pytest.approx([half, half])
    assert of(Slerp(t=1 / 3), [1, 0], [0, 1]) == pytest.approx([3**0.5 / 2, 1 / 2])
    assert of(Slerp(t=0), [1, 2], [3, -4]) == pytest.approx([1, 2])
    assert of(Slerp(t=1), [1, 2], [3, -4]) == pytest.approx([3, -4])
    assert of(Slerp(t=0.5), [1, 2], [2, 4]) == pytest.approx([1.5, 3])
    assert of(Slerp(t=0.5), [0, 0], [2, 4]) == pytest.approx([1, 2])


def test_task_arithmetic_adds_what_each_model_learnt() -> None:
    assert of(TaskArithmetic(), [2, 1], [1, 4], base=[1, 1]) == [2, 4]
    assert of(TaskArithmetic(weights={"甲": 2, "乙": -1}, scale=0.5), [2, 1], [1, 4], base=[1, 1]) == [2, -0.5]


def test_ties_trims_elects_and_means_those_that_agree() -> None:
    # Half of each delta stays: [4, 0, -2, 0], [-1, 0, -6, 0], [3, 0, 0, 1]; signs +, any, -, +.
    rows = [4, 1, -2, 0.5], [-1, 0.1, -6, 0.2], [3, 0, -0.5, 1]
    assert of(Ties(density=0.5), *rows, base=[0, 0, 0, 0]) == [3.5, 0, -4, 1]
    raised = [[value + 1 for value in row] for row in rows]
    assert of(Ties(density=0.5, scale=2), *raised, base=[1, 1, 1, 1]) == pytest.approx([8, 1, -7, 3])
    assert of(Ties(density=1), [1, -1], [1, 3], base=[0, 0]) == [1, 3]


def test_model_stock_goes_as_far_from_the_base_as_the_models_agree() -> None:
    assert of(ModelStock(), [2, 0], [2, 0], base=[0, 0]) == pytest.approx([2, 0])
    assert of(ModelStock(), [1, 0], [0, 1], base=[0, 0]) == pytest.approx([0, 0])
    cosine = 0.5  # of [1, 0] and [1/2, √3/2]
    t = 2 * cosine / (1 + cosine)
    assert of(ModelStock(), [1, 0], [0.5, 3**0.5 / 2], base=[0, 0]) == pytest.approx([t * 0.75, t * 3**0.5 / 4])
    assert of(ModelStock(), [6, 5], [4, 5], base=[5, 5]) == pytest.approx([5, 5])


def test_dare_drops_a_share_and_makes_up_for_it() -> None:
    ones = [1.0] * 10_000
    found = torch.tensor(of(Dare(density=0.25), ones, base=[0.0] * 10_000))
    assert set(found.unique().tolist()) == {0, 4}
    assert found.mean().item() == pytest.approx(1, abs=0.08)
    assert found.tolist() == of(Dare(density=0.25), ones, base=[0.0] * 10_000)
    assert found.tolist() != of(Dare(density=0.25, seed=1), ones, base=[0.0] * 10_000)
    assert of(Dare(density=1), [2, 1], [1, 4], base=[1, 1]) == of(TaskArithmetic(), [2, 1], [1, 4], base=[1, 1])


VALUES = st.lists(st.floats(-8, 8, allow_subnormal=False).map(lambda value: round(value, 3)), min_size=4, max_size=4)


@given(row=VALUES, base=VALUES, density=st.floats(0.1, 1))
def test_a_model_combined_with_itself_is_itself(row, base, density) -> None:
    assert of(Linear(), row, row) == pytest.approx(row)
    assert of(Slerp(), row, row) == pytest.approx(row)
    assert of(Ties(density=1), row, row, base=base) == pytest.approx(row, abs=1e-9)
    assert of(ModelStock(), row, row, base=base) == pytest.approx(row, abs=1e-4)
    kept = of(Ties(density=density), row, base=base)
    moved = [abs(a - b) > 1e-9 for a, b in zip(kept, base, strict=True)]
    assert sum(moved) <= max(1, int(density * 4))


@pytest.fixture(scope="module", params=["llama", "mixtral"])
def models(request, make):
    return [make.model(request.param, seed=seed, shard="20KB") for seed in range(3)]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.type)
def test_a_file_at_a_time_is_the_same_as_all_in_memory(method, models, tmp_path: Path) -> None:
    base, one, two = models
    based = method.type not in ("linear", "slerp")
    made = combine(tmp_path / "out", CombineConfig(method=method), {"one": one, "two": two}, base if based else None)
    first = base if based else one
    loaded = [
        {name: tensor for path in model.dir.glob("*.safetensors") for name, tensor in load_file(path).items()}
        for model in (one, two, base, made)
    ]
    for name, found in loaded[3].items():
        given = [tensors[name].clone() for tensors in loaded[:2]]
        expected = combined(method, name, ["one", "two"], given, loaded[2][name].clone() if based else None)
        assert torch.equal(found, expected), name
    assert [file.path for file in made.files()] == [file.path for file in first.files()]
    for file in first.files():
        if not file.path.endswith(".safetensors"):
            assert first.path(file).read_bytes() == made.path(file).read_bytes()
    AutoModelForCausalLM.from_pretrained(made.dir)
    assert (
        made.content
        == combine(
            tmp_path / "again", CombineConfig(method=method), {"two": two, "one": one}, base if based else None
        ).content
    )


def test_what_cannot_be_combined_is_refused_in_a_sentence(make, tmp_path: Path) -> None:
    one, two, other = make.model(), make.model(seed=1), make.model("mixtral")
    out = tmp_path / "out"
    cases = [
        (Slerp(), {"a": one}, None, ConfigError, "'slerp' takes two models, but 1 are given"),
        (Ties(), {"a": one, "b": two}, None, ConfigError, "'ties' needs the base"),
        (Linear(), {"a": one, "b": two}, one, ConfigError, "'linear' takes no base"),
        (Linear(weights={"a": 1}), {"a": one, "b": two}, None, ConfigError, r"names \['a'\], but the models are"),
        (Linear(), {"a": one, "b": other}, None, ArtifactError, "has another architecture than"),
    ]
    for method, some, base, kind, words in cases:
        with pytest.raises(kind, match=words):
            combine(out, CombineConfig(method=method), some, base)
    with pytest.raises(ValueError, match="sum to nothing"):
        Linear(weights={"a": 1, "b": -1})
    folder = tmp_path / "lacking"
    shutil.copytree(two.dir, folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole.replace(b"model.norm.weight", b"model.mean.weight"))
    with pytest.raises(ArtifactError, match=r"'model\.mean\.weight' is in one of"):
        combine(out, CombineConfig(method=Linear()), {"a": one, "b": type(two)(folder, two.manifest)}, None)
    assert not out.exists()


@pytest.mark.peer
@pytest.mark.skipif(not PEER, reason="BUNBUKU_MERGEKIT names no mergekit-yaml command")
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.type)
def test_mergekit_makes_the_same_weights(method, models, tmp_path: Path) -> None:
    base, one, two = models
    based = method.type not in ("linear", "slerp")
    made = combine(tmp_path / "out", CombineConfig(method=method), {"one": one, "two": two}, base if based else None)
    recipe = peer_recipe(method, {"one": one.dir, "two": two.dir}, base.dir)
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    command = [str(PEER), str(tmp_path / "recipe.yaml"), str(tmp_path / "peer"), "--copy-tokenizer"]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    ours = {name: tensor for path in made.dir.glob("*.safetensors") for name, tensor in load_file(path).items()}
    theirs = {
        name: tensor for path in (tmp_path / "peer").glob("*.safetensors") for name, tensor in load_file(path).items()
    }
    assert ours.keys() == theirs.keys()
    assert max((ours[name] - theirs[name]).abs().max().item() for name in ours) <= 1e-6


def peer_recipe(method, models: dict[str, Path], base: Path) -> dict[str, object]:
    """mergekit 0.1.5's own words for a method."""
    weights = getattr(method, "weights", None) or dict.fromkeys(models, 1.0)
    name = "dare_ties" if method.type == "dare" else method.type
    entries: list[dict[str, object]] = []
    for model, folder in models.items():
        parameters = {"weight": weights[model]}
        if method.type in ("ties", "dare"):
            parameters["density"] = method.density
        entries.append({"model": str(folder), "parameters": parameters})
    recipe: dict[str, object] = {"merge_method": name, "models": entries, "dtype": "float32"}
    if method.type == "slerp":
        recipe |= {"base_model": str(models["one"]), "parameters": {"t": method.t}}
    if method.type in ("task_arithmetic", "ties", "dare"):
        normalize = method.type == "ties"
        recipe["parameters"] = {"lambda": method.scale, "normalize": normalize, "rescale": method.type == "dare"}
    if method.type not in ("linear", "slerp"):
        recipe["base_model"] = str(base)
    return recipe
