from types import SimpleNamespace

import pytest
import torch
from bunbuku_contracts import Experts
from bunbuku_pretrain.layout import names, pieces
from bunbuku_pretrain.sources import RandomWeights


@pytest.mark.parametrize("experts", [None, Experts(count=4, active=2)], ids=["dense", "mixture"])
def test_going_to_megatron_and_back_gives_the_same_numbers(tiny: SimpleNamespace, experts: Experts | None) -> None:
    architecture = tiny.small(256, experts)
    a, kv = architecture, architecture.kv_heads * architecture.head_size
    rows = {"q_proj": a.hidden_size, "k_proj": kv, "v_proj": kv}
    for piece in pieces(architecture):
        for place in piece.places(architecture):
            parts = [torch.randn(rows.get(name.split(".")[-2], 256), 32) for name in piece.named(*place)]
            joined = piece.join(architecture, parts)
            assert all(map(torch.equal, piece.split(architecture, joined), parts))


def test_queries_keys_and_values_are_joined_group_by_group(tiny: SimpleNamespace) -> None:
    architecture = tiny.small(256)  # 4 heads in 2 groups of size 8
    (qkv,) = [piece for piece in pieces(architecture) if len(piece.names) == 3]
    marked = [torch.full((rows, 32), float(mark)) for mark, rows in ((1, 32), (2, 16), (3, 16))]
    joined = qkv.join(architecture, marked)[:, 0]
    assert joined.tolist() == [1.0] * 16 + [2.0] * 8 + [3.0] * 8 + [1.0] * 16 + [2.0] * 8 + [3.0] * 8


def test_a_mixture_has_the_older_names_of_mixtral(tiny: SimpleNamespace) -> None:
    found = names(tiny.small(256, Experts(count=4, active=2)))
    assert "model.layers.1.block_sparse_moe.experts.3.w2.weight" in found
    assert "model.layers.0.block_sparse_moe.gate.weight" in found
    assert len(found) == 3 + 2 * (2 + 4 + 1 + 3 * 4)


def test_new_weights_depend_on_their_name_and_the_seed_alone(tiny: SimpleNamespace) -> None:
    first, again, other = (RandomWeights(tiny.small(256), vocabulary=200, std=0.02, seed=seed) for seed in (1, 1, 2))
    name = "model.layers.0.mlp.gate_proj.weight"
    assert torch.equal(first.tensor(name), again.tensor(name))
    assert not torch.equal(first.tensor(name), other.tensor(name))
    assert not torch.equal(first.tensor(name), first.tensor(name.replace("0", "1")))
    assert first.tensor("model.embed_tokens.weight").shape == (200, 32)


def test_projections_into_the_residual_stream_begin_smaller(tiny: SimpleNamespace) -> None:
    weights = RandomWeights(tiny.small(256), vocabulary=200, std=0.02, seed=1)
    gate, down = (weights.tensor(f"model.layers.0.mlp.{name}_proj.weight").std().item() for name in ("gate", "down"))
    assert gate == pytest.approx(0.02, rel=0.1)
    assert down == pytest.approx(0.02 / 2, rel=0.1)  # sqrt(2 * 2 layers)
    assert torch.equal(weights.tensor("model.norm.weight"), torch.ones(32))
