"""Three measures of how alike experts are, and the curves of a run."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bunbuku_contracts import Artifact, Checkpoint, Corpus, read_sections
from bunbuku_moe_upcycle import Copy, Drop, Noise, SimilarityConfig, UpcycleConfig, similarity, upcycle
from bunbuku_moe_upcycle.function import heard_by
from bunbuku_moe_upcycle.layout import Place, Weight, open_weights
from bunbuku_moe_upcycle.similarity import alikeness
from bunbuku_moe_upcycle.tensors import TensorFolder
from safetensors.numpy import save_file

type Make = Callable[..., Artifact[Checkpoint]]
MEASURES = ("similarity", "answers", "units")


def written(path: Path, experts: list[dict[Weight, np.ndarray]]) -> TensorFolder:
    tensors = {
        Place(0, number, weight).name: np.ascontiguousarray(matrix, np.float32)
        for number, expert in enumerate(experts)
        for weight, matrix in expert.items()
    }
    save_file(tensors, path)
    return TensorFolder([path])


def network(seed: int, hidden: int = 24, ffn: int = 64) -> dict[Weight, np.ndarray]:
    random = np.random.default_rng(seed)
    shapes: dict[Weight, tuple[int, int]] = {"gate": (ffn, hidden), "up": (ffn, hidden), "down": (hidden, ffn)}
    return {weight: random.standard_normal(shape) * shape[1] ** -0.5 for weight, shape in shapes.items()}


def test_units_in_another_order_are_the_same_network_to_all_but_the_weights(tmp_path: Path):
    first, order = network(0), np.random.default_rng(9).permutation(64)
    shuffled: dict[Weight, np.ndarray] = {
        "gate": first["gate"][order], "up": first["up"][order], "down": first["down"][:, order]
    }  # fmt: skip
    weights = written(tmp_path / "x.safetensors", [first, shuffled, network(1)])
    found = alikeness(weights, 0, 3, heard_by(0, np.ones(24, np.float32), 200))
    assert (found.answers[0, 1], found.units[0, 1]) == (1.0, 1.0)
    assert found.weights[0, 1] < 0.1
    assert abs(found.weights[0, 2]) < 0.05
    assert abs(found.answers[0, 2]) < 0.1
    assert 0.1 < found.units[0, 2] < 0.9


def test_cka_is_that_of_the_paper(tmp_path: Path):
    """Kornblith et al. eq. 3 with linear kernels, by features instead of by inputs."""
    nets = [network(seed, 10, 12) for seed in (0, 1)]
    weights = written(tmp_path / "x.safetensors", nets)
    inputs = heard_by(0, np.ones(10, np.float32), 30)
    inner = []
    for net in nets:
        gate = inputs @ net["gate"].astype(np.float32).T
        values = gate / (1 + np.exp(-gate)) * (inputs @ net["up"].astype(np.float32).T)
        inner.append(values - values.mean(axis=0))
    x, y = inner
    wanted = np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    assert alikeness(weights, 0, 2, inputs).units[0, 1] == pytest.approx(wanted, abs=1e-6)


def test_copies_are_the_same_by_all_measures_and_noise_sets_them_apart(dense: Make, tmp_path: Path):
    made = {
        name: upcycle(tmp_path / name, UpcycleConfig(strategy=strategy), dense())
        for name, strategy in {"copy": Copy(), "noise": Noise(scale=0.3), "drop": Drop(ratio=1.0)}.items()
    }
    metrics = similarity(tmp_path / "report", SimilarityConfig(), made).manifest.metrics
    for measure in MEASURES:
        copy, noise, drop = (metrics[f"{measure}.{name}.mean"] for name in ("copy", "noise", "drop"))
        assert copy == 1.0 > noise > drop
        assert metrics[f"{measure}.noise.layer.001"] < 1
    assert abs(metrics["similarity.drop.mean"]) < 0.03


@pytest.mark.slow
def test_a_run_gives_curves_and_several_runs_are_told_apart(dense: Make, tmp_path: Path):
    names = {"a@1": (0.1, 1), "a@2": (0.3, 2), "b@1": (0.2, 1), "b@2": (0.5, 2), "lone": (0.1, 1)}
    made = {
        name: upcycle(
            tmp_path / name, UpcycleConfig(strategy=Noise(scale=scale)), dense(f"dense{step}", step=step, seed=0)
        )
        for name, (scale, step) in names.items()
    }
    (section,) = read_sections(similarity(tmp_path / "report", SimilarityConfig(), made))
    weights = {curve.name: curve.points for curve in section.curves if "weights" in curve.name}
    assert set(weights) == {"a: cosine of the weights", "b: cosine of the weights"}
    assert [x for x, _ in weights["a: cosine of the weights"]] == [100.0, 200.0]
    (first, second) = (y for _, y in weights["a: cosine of the weights"])
    assert first > second
    assert "training.png" in [picture.path for picture in section.pictures]
    made["a@3"] = upcycle(tmp_path / "a@3", UpcycleConfig(), dense("dense3", step=3, seed=0))
    for drawn, wanted in (("ends", {*made} - {"a@2"}), ("all", {*made})):
        config = SimilarityConfig.model_validate({"drawn": drawn})
        (section,) = read_sections(similarity(tmp_path / drawn, config, made))
        captions = [picture.caption.partition(":")[0] for picture in section.pictures if "experts-" in picture.path]
        assert set(captions) == wanted
        assert {row[0] for row in section.tables[0].rows} == set(made)
    (alone,) = read_sections(
        similarity(tmp_path / "alone", SimilarityConfig(), {"now": made["a@1"], "then": made["a@2"]})
    )
    assert len(alone.curves) == 3


def test_what_the_layers_hear_of_a_corpus_can_be_the_inputs(
    dense: Make, tmp_path: Path, corpus: Callable[..., Artifact[Corpus]]
):
    pytest.importorskip("transformers")
    made = {"moe": upcycle(tmp_path / "moe", UpcycleConfig(strategy=Noise(scale=0.3)), dense())}
    texts = corpus("texts", *[("a", "あいうえお分福茶釜狸"), ("b", "0123abcd{};=")] * 3)
    heard = similarity(tmp_path / "heard", SimilarityConfig(), made, texts).manifest
    random = similarity(tmp_path / "random", SimilarityConfig(), made).manifest
    assert heard.metrics["similarity.moe.mean"] == random.metrics["similarity.moe.mean"]
    assert heard.metrics["answers.moe.mean"] != random.metrics["answers.moe.mean"]
    assert 0.5 < heard.metrics["answers.moe.mean"] < 1
    assert "corpus" in heard.recipe.inputs


def test_the_inputs_are_as_a_norm_hands_them_over(dense: Make):
    parent = dense()
    gain = open_weights(parent).read("model.layers.1.post_attention_layernorm.weight")
    inputs = heard_by(1, gain, 500)
    np.testing.assert_allclose((inputs / gain).std(axis=1), 1, atol=0.5)
    np.testing.assert_allclose(((inputs / gain) ** 2).mean(axis=1), 1, rtol=1e-9)
