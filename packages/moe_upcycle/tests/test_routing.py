"""Which experts take which tokens."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Corpus, read_sections, register_hf_models
from bunbuku_moe_upcycle import Noise, RoutingConfig, UpcycleConfig, routing, upcycle
from bunbuku_moe_upcycle.routing import Routing, class_of, information, shares
from hypothesis import given
from hypothesis import strategies as st

type Make = Callable[..., Artifact[Checkpoint]]
type MakeCorpus = Callable[..., Artifact[Corpus]]


@given(st.lists(st.sampled_from(["kana", "kanji"]), min_size=1, max_size=30), st.integers(0, 99))
def test_every_choice_is_counted_once_under_its_domain_and_its_kind(classes: list[str], seed: int):
    random = np.random.default_rng(seed)
    found = Routing(layers=(0, 1), experts=5, active=2)
    for domain in ("a", "b", "a"):
        found.add(domain, classes, [random.standard_normal((len(classes), 5)).astype(np.float32) for _ in range(2)])
    for counts in (found.domains, found.classes):
        assert sum(count.sum() for count in counts.values()) == 2 * 2 * 3 * len(classes)
    assert found.domains["a"].sum() == 2 * found.domains["b"].sum()
    np.testing.assert_allclose(found.load_LE.mean(axis=1), 1)


def test_figures_of_gates_that_are_known():
    found = Routing(layers=(0,), experts=4, active=2)
    logits = np.log(np.array([[0.5, 0.25, 0.125, 0.125], [0.125, 0.125, 0.25, 0.5]], np.float32))
    found.add("a", ["kana", "code"], [logits])
    assert found.ratio_L[0] == pytest.approx(2.0)
    assert found.entropy_L[0] == pytest.approx(1.75 * np.log(2))
    assert found.load_LE[0].tolist() == [1, 1, 1, 1]
    assert shares(found.classes)["kana"][0].tolist() == [2, 2, 0, 0]
    assert information(found.classes.values())[0] == 1.0
    found.add("a", ["kana"] * 999, [np.tile(np.array([9, 8, 0, 0], np.float32), (999, 1))])
    assert found.dead_L.tolist() == [2]


def test_a_group_that_is_everywhere_tells_nothing():
    assert information([np.full((3, 8), 5.0)] * 4).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("piece", "kind"),
    [
        ("カタカナー", "kana"),
        ("々", "kanji"),
        ("é", "latin"),
        ("==", "code"),
        ("١", "digits"),
        ("、", "other"),
        (" \n", "other"),
    ],
)
def test_pieces_have_kinds(piece: str, kind: str):
    assert class_of(piece) == kind


class TestStage:
    @pytest.fixture
    def made(self, dense: Make, tmp_path: Path) -> Artifact[Checkpoint]:
        pytest.importorskip("transformers")
        return upcycle(tmp_path / "moe", UpcycleConfig(strategy=Noise(scale=0.3)), dense())

    @pytest.fixture
    def corpora(self, corpus: MakeCorpus) -> dict[str, Artifact[Corpus]]:
        return {
            "japanese": corpus("japanese", ("tales", "分福茶釜の狸はあいうえお"), ("poems", "山川寺かきく")),
            "code": corpus("code", ("git", "a={b};c={d}01"), ("git", "0123")),
        }

    def test_what_is_counted_is_what_the_routers_chose(self, made: Any, corpora: Any, tmp_path: Path):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        report = routing(tmp_path / "report", RoutingConfig(), {"moe": made}, corpora)
        register_hf_models()
        model, tokenizer = AutoModelForCausalLM.from_pretrained(made.dir), AutoTokenizer.from_pretrained(made.dir)
        counts, ratios = np.zeros((3, 8)), []
        for text in ("分福茶釜の狸はあいうえお", "山川寺かきく", "a={b};c={d}01", "0123"):
            with torch.no_grad():
                inside = model(torch.tensor([tokenizer(text)["input_ids"]]), output_router_logits=True)
            for layer, logits in enumerate(inside.router_logits):
                top = logits.topk(2, dim=-1)
                np.add.at(counts[layer], top.indices.numpy().ravel(), 1)
                ratios.append((top.values[:, 0] - top.values[:, 1]).numpy())
        metrics = report.manifest.metrics
        load = counts / counts.mean(axis=1, keepdims=True)
        assert metrics["routing.moe.most_load"] == pytest.approx(load.max())
        assert metrics["routing.moe.least_load"] == pytest.approx(load.min())
        by_layer = [np.exp(np.concatenate(ratios[layer::3]).mean()) for layer in range(3)]
        assert metrics["routing.moe.max1_max2"] == pytest.approx(np.mean(by_layer), rel=1e-4)
        assert 0 < metrics["routing.moe.information.domains"] <= 1

    def test_the_page_shows_domains_and_kinds(self, made: Any, corpora: Any, tmp_path: Path):
        report = routing(tmp_path / "report", RoutingConfig(domains="source"), {"moe": made}, corpora)
        first, second = read_sections(report)
        assert first.tables[0].rows[0][:2] == ("moe", 35)
        assert len(first.tables[1].rows) == 3
        assert [picture.path for picture in second.pictures] == ["domains-01.png", "kinds-01.png"]
        for section in (first, second):
            for picture in section.pictures:
                assert (report.dir / picture.path).read_bytes().startswith(b"\x89PNG")
        again = routing(tmp_path / "again", RoutingConfig(domains="source"), {"moe": made}, corpora)
        assert again.content == report.content

    def test_no_more_is_read_than_was_asked_for_and_from_all_over(self, made: Any, corpus: MakeCorpus, tmp_path: Path):
        texts = corpus("many", *[(f"source{number // 50}", "あいうえお") for number in range(100)])
        config = RoutingConfig(tokens=23, domains="source")
        report = routing(tmp_path / "report", config, {"moe": made}, {"many": texts})
        assert read_sections(report)[0].tables[0].rows[0][1] == 23
        assert report.manifest.metrics["routing.moe.information.domains"] >= 0

    @pytest.mark.parametrize(
        ("config", "given", "sentence"),
        [
            (RoutingConfig(), "dense", "'it' .* is dense: it has no experts"),
            (
                RoutingConfig(map_layers=(3,)),
                "moe",
                r"`map_layers` \(3,\) does not fit 'it', which has experts in layers 0, 1, 2",
            ),
            (RoutingConfig(map_layers=()), "moe", r"`map_layers` \(\) does not fit"),
        ],
    )
    def test_what_cannot_be_is_refused(
        self, made: Any, dense: Make, corpora: Any, tmp_path: Path, config: RoutingConfig, given: str, sentence: str
    ):
        with pytest.raises(BunbukuError, match=sentence):
            routing(tmp_path / "report", config, {"it": dense() if given == "dense" else made}, corpora)
        assert not (tmp_path / "report").exists()

    def test_nothing_given_is_refused(self, made: Any, corpus: MakeCorpus, tmp_path: Path):
        with pytest.raises(BunbukuError, match="no checkpoint or no corpus"):
            routing(tmp_path / "report", RoutingConfig(), {"moe": made}, {})
        with pytest.raises(BunbukuError, match="no text in empty"):
            routing(tmp_path / "report", RoutingConfig(), {"moe": made}, {"empty": corpus("empty", ("a", ""))})
