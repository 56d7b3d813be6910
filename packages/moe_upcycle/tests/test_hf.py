import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bunbuku_contracts import Artifact, Checkpoint, RouterNormalization, register_hf_models
from bunbuku_moe_upcycle import Copy, Granular, Noise, UpcycleConfig, upcycle

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from bunbuku_moe_upcycle.hf import (  # noqa: E402
    BunbukuMoeConfig,
    BunbukuMoeForCausalLM,
    Router,
    load_balancing_loss,
    normalize_logits,
    rule_of,
)

type Make = Callable[..., Artifact[Checkpoint]]

IDS = torch.from_numpy(np.random.default_rng(3).integers(0, 32, (2, 19)))


def open_model(checkpoint: Artifact[Checkpoint] | Path) -> Any:
    register_hf_models()
    folder = checkpoint if isinstance(checkpoint, Path) else checkpoint.dir
    model, found = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(found[field] for field in ("missing_keys", "unexpected_keys", "mismatched_keys")), found
    return model


def logits(model: Any, ids: Any = IDS, **options: Any) -> Any:
    with torch.no_grad():
        return model(ids, **options).logits


@pytest.mark.parametrize("normalization", ["none", RouterNormalization(), RouterNormalization(scale=3, ddof=0)])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("active", [1, 2, 8])
def test_copies_compute_what_the_dense_model_does(dense: Make, tmp_path: Path, normalization, tied: bool, active: int):
    parent = dense(tied=tied)
    config = UpcycleConfig(strategy=Copy(), normalization=normalization, active=active)
    made = upcycle(tmp_path / "moe", config, parent)
    before, after = logits(open_model(parent)), logits(open_model(made))
    assert (after - before).abs().max() <= 1e-6 * before.abs().max()


OWN_FORMS = {
    "some layers": {"layers": (0, 2)},
    "every second": {"every": 2},
    "shared": {"shared": True},
    "some layers, shared and finer": {"layers": (1,), "shared": True, "strategy": Granular()},
    "some layers, finer and plain": {"every": 2, "strategy": Granular(), "normalization": "none"},
    "shared and plain": {"shared": True, "normalization": "none"},
    "all active, softmax first": {"active": 8, "gate_order": "softmax_first", "normalization": "none"},
}


@pytest.mark.parametrize("name", OWN_FORMS)
@pytest.mark.parametrize("tied", [False, True])
def test_copies_in_some_layers_or_beside_a_shared_network_do_so_too(dense: Make, tmp_path: Path, name: str, tied: bool):
    parent = dense(tied=tied)
    made = upcycle(tmp_path / "moe", UpcycleConfig(**{"strategy": Copy(), "exact": True} | OWN_FORMS[name]), parent)
    before, after = logits(open_model(parent)), logits(open_model(made))
    assert type(open_model(made)) is BunbukuMoeForCausalLM
    assert (after - before).abs().max() <= 1e-6 * before.abs().max()


@pytest.mark.parametrize("fields", [{"every": 2}, {"shared": True}, {"gate_order": "softmax_first"}])
def test_saved_such_a_model_has_the_names_and_bytes_it_had(dense: Make, tmp_path: Path, fields: dict[str, Any]):
    from safetensors.torch import load_file

    made = upcycle(tmp_path / "moe", UpcycleConfig(strategy=Noise(scale=0.5), **fields), dense())
    model = open_model(made)
    model.save_pretrained(tmp_path / "saved")
    before, after = (load_file(folder / "model.safetensors") for folder in (made.dir, tmp_path / "saved"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(logits(open_model(tmp_path / "saved")), logits(model))


def test_balance_is_of_the_layers_that_have_experts(dense: Make, tmp_path: Path):
    made = upcycle(tmp_path / "moe", UpcycleConfig(layers=(1,), aux_loss_coefficient=0.5), dense())
    model = open_model(made).train()
    trained = model(IDS, labels=IDS)
    assert len(trained.router_logits) == 1
    assert 0.9 < trained.aux_loss.item() < 3
    trained.loss.backward()
    assert model.model.layers[1].mlp.gate.weight.grad.abs().max() > 0


@pytest.mark.parametrize("normalization", [None, RouterNormalization()])
def test_softmax_first_gates_are_what_the_chosen_have_of_all(normalization: RouterNormalization | None):
    rule = normalization and normalization.model_dump()
    config = BunbukuMoeConfig(
        hidden_size=16, num_local_experts=8, router_normalization=rule, gate_order="softmax_first"
    )
    router = Router(config)
    torch.nn.init.normal_(router.weight, generator=torch.Generator().manual_seed(0))
    hidden = torch.randn(50, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        _, gates, chosen = router(hidden)
    z = hidden.double() @ router.weight.detach().double().T
    if normalization is not None:
        z = (z - z.mean(dim=1, keepdim=True)) / (z.std(dim=1, keepdim=True) + normalization.eps)
    share = z.exp() / z.exp().sum(dim=1, keepdim=True)
    torch.testing.assert_close(gates.double(), share.sort(descending=True).values[:, :2], rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(share.gather(1, chosen).float(), gates, rtol=1e-5, atol=1e-7)
    assert gates.sum(dim=1).max() < 1


def test_what_a_config_leaves_out_of_the_normalisation_is_what_the_architecture_has():
    assert rule_of(BunbukuMoeConfig(router_normalization={})) == RouterNormalization().model_dump()
    assert rule_of(BunbukuMoeConfig(router_normalization={"ddof": 0})) == RouterNormalization(ddof=0).model_dump()
    assert rule_of(BunbukuMoeConfig()) is None


def reference_router(hidden, weight, normalization: RouterNormalization, active: int):
    """The formula, for one token at a time, in float64."""
    weights = torch.zeros(len(hidden), len(weight), dtype=torch.float64)
    for row, token in zip(weights, hidden.double(), strict=True):
        z = weight.detach().double() @ token
        deviation = ((z - z.mean()) ** 2).sum().div(len(z) - normalization.ddof).sqrt()
        z = normalization.scale * (z - z.mean()) / (deviation + normalization.eps)
        chosen = z.argsort(descending=True)[:active]
        row[chosen] = z[chosen].exp() / z[chosen].exp().sum()
    return weights


@pytest.mark.parametrize("normalization", [RouterNormalization(), RouterNormalization(scale=2, ddof=0, eps=1e-2)])
def test_the_router_follows_the_formula(normalization: RouterNormalization):
    config = BunbukuMoeConfig(hidden_size=16, num_local_experts=8, router_normalization=normalization.model_dump())
    router = Router(config)
    torch.nn.init.normal_(router.weight, generator=torch.Generator().manual_seed(0))
    hidden = torch.randn(50, 16, generator=torch.Generator().manual_seed(1))
    raw = hidden @ router.weight.T
    with torch.no_grad():
        normalised, scores, chosen = router(hidden)
    dense_scores = torch.zeros(50, 8).scatter(1, chosen, scores)
    torch.testing.assert_close(
        dense_scores.double(), reference_router(hidden, router.weight, normalization, 2), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(normalised.mean(dim=-1), torch.zeros(50), rtol=0, atol=1e-5)
    deviation = raw.std(dim=-1, correction=normalization.ddof)
    wanted = normalization.scale * deviation / (deviation + normalization.eps)
    torch.testing.assert_close(normalised.std(dim=-1, correction=normalization.ddof), wanted)
    assert torch.equal(chosen.sort().values, raw.topk(2).indices.sort().values)


def test_normalising_has_the_gradient_of_finite_differences():
    logits_TE = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: normalize_logits(z, scale=1.5, ddof=1, eps=1e-6), (logits_TE,))


def test_equal_logits_are_finite_and_so_is_their_gradient():
    logits_TE = torch.full((2, 8), 3.0, requires_grad=True)
    normalised = normalize_logits(logits_TE, scale=1.0, ddof=1, eps=1e-6)
    (normalised * torch.arange(8.0)).sum().backward()
    assert torch.equal(normalised, torch.zeros(2, 8))
    assert logits_TE.grad is not None
    assert logits_TE.grad.isfinite().all()


def test_half_precision_models_route_in_single_precision(dense: Make, tmp_path: Path):
    model = open_model(upcycle(tmp_path / "moe", UpcycleConfig(), dense())).to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(IDS, output_router_logits=True)
    assert {layer.dtype for layer in out.router_logits} == {torch.float32}
    assert out.logits.dtype == torch.bfloat16


def test_saved_and_opened_again_it_is_the_same(dense: Make, tmp_path: Path):
    model = open_model(upcycle(tmp_path / "moe", UpcycleConfig(), dense()))
    model.save_pretrained(tmp_path / "saved")
    again = open_model(tmp_path / "saved")
    assert torch.equal(logits(again), logits(model))
    assert again.config.router_normalization == {"scale": 1.0, "ddof": 1, "eps": 1e-6}
    assert json.loads((tmp_path / "saved" / "config.json").read_bytes())["model_type"] == "bunbuku_moe"


@pytest.mark.parametrize("normalization", ["none", RouterNormalization()])
def test_saved_it_has_the_names_and_the_bytes_it_had(dense: Make, tmp_path: Path, normalization):
    from safetensors.torch import load_file

    made = upcycle(tmp_path / "moe", UpcycleConfig(normalization=normalization), dense())
    open_model(made).save_pretrained(tmp_path / "saved")
    before, after = (load_file(folder / "model.safetensors") for folder in (made.dir, tmp_path / "saved"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_cache_changes_nothing_while_generating(dense: Make, tmp_path: Path):
    model = open_model(upcycle(tmp_path / "moe", UpcycleConfig(strategy=Noise(scale=0.5)), dense()))
    options = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    cached = model.generate(IDS, use_cache=True, **options)
    assert torch.equal(cached, model.generate(IDS, use_cache=False, **options))
    assert cached.shape == (2, 31)


@pytest.mark.parametrize("implementation", ["eager", "grouped_mm"])
def test_every_way_of_running_the_experts_agrees(dense: Make, tmp_path: Path, implementation: str):
    model = open_model(upcycle(tmp_path / "moe", UpcycleConfig(strategy=Noise(scale=0.5)), dense()))
    default = logits(model)
    model.set_experts_implementation(implementation)
    torch.testing.assert_close(logits(model), default, rtol=1e-5, atol=1e-6)


def test_training_adds_the_load_balancing_loss_and_evaluation_does_not(dense: Make, tmp_path: Path):
    model = open_model(upcycle(tmp_path / "moe", UpcycleConfig(aux_loss_coefficient=0.5), dense()))
    evaluated = model.eval()(IDS, labels=IDS)
    assert evaluated.aux_loss is None
    trained = model.train()(IDS, labels=IDS)
    torch.testing.assert_close(trained.loss, evaluated.loss + 0.5 * trained.aux_loss)
    trained.loss.backward()
    router = model.model.layers[0].mlp.gate.weight
    assert router.grad is not None
    assert router.grad.abs().max() > 0
    assert model(IDS, labels=IDS, output_router_logits=False).aux_loss is None


def test_the_load_balancing_loss_is_one_a_layer_when_even_and_grows_when_not():
    even = torch.eye(8).repeat(4, 1) + torch.eye(8).roll(1, dims=1).repeat(4, 1)
    uneven = torch.tensor([9.0, 9.0, 0, 0, 0, 0, 0, 0]).repeat(32, 1)
    assert load_balancing_loss((even, even), 2).item() == pytest.approx(2.0)
    assert load_balancing_loss((uneven,), 2).item() == pytest.approx(4.0, rel=1e-2)
    # Pooled over layers these two would look even.
    assert load_balancing_loss((uneven, uneven.roll(4, dims=1)), 2).item() == pytest.approx(8.0, rel=1e-2)


def test_padding_carries_no_load():
    tokens = torch.randn(2, 10, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 10, dtype=torch.long)
    mask[0, 6:] = 0
    padded = load_balancing_loss((tokens.reshape(20, 8),), 2, mask)
    cut = load_balancing_loss((tokens.reshape(20, 8)[mask.reshape(-1).bool()],), 2)
    torch.testing.assert_close(padded, cut)
    assert padded != load_balancing_loss((tokens.reshape(20, 8),), 2)


def test_adapters_train_merge_and_reload_on_the_attention(dense: Make, tmp_path: Path):
    peft = pytest.importorskip("peft")
    made = upcycle(tmp_path / "moe", UpcycleConfig(), dense())
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"], task_type="CAUSAL_LM")
    model = peft.get_peft_model(open_model(made), config).train()
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained
    assert all(".self_attn." in name for name in trained)
    optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], lr=1.0)
    for _ in range(2):
        model(IDS, labels=IDS).loss.backward()
        optimizer.step()
    model.eval()
    adapted = logits(model)
    assert (adapted - logits(open_model(made))).abs().max() > 1e-4
    model.save_pretrained(tmp_path / "adapter")
    reloaded = peft.PeftModel.from_pretrained(open_model(made), tmp_path / "adapter").eval()
    torch.testing.assert_close(logits(reloaded), adapted)
    merged = model.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(open_model(tmp_path / "merged")), adapted, rtol=1e-4, atol=1e-5)


def test_the_class_is_registered_for_whoever_asks(dense: Make, tmp_path: Path):
    assert isinstance(open_model(upcycle(tmp_path / "moe", UpcycleConfig(), dense())), BunbukuMoeForCausalLM)
    plain = open_model(upcycle(tmp_path / "plain", UpcycleConfig(normalization="none"), dense()))
    assert type(plain) is transformers.MixtralForCausalLM


@pytest.mark.parametrize("model_class", ["AutoModel", "AutoModelForCausalLM"])
def test_a_model_can_begin_at_random(model_class: str):
    register_hf_models()
    config = BunbukuMoeConfig(
        vocab_size=32,
        hidden_size=64,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = getattr(transformers, model_class).from_config(config)
    routers = [module for module in model.modules() if isinstance(module, Router)]
    assert len(routers) == 2
    assert all(0.01 < router.weight.std() < 0.03 for router in routers)
    assert model(IDS)[0].isfinite().all()


def test_the_decoder_alone_opens_too(dense: Make, tmp_path: Path):
    made = upcycle(tmp_path / "moe", UpcycleConfig(), dense())
    whole = open_model(made)
    decoder = transformers.AutoModel.from_pretrained(made.dir)
    with torch.no_grad():
        hidden = decoder(IDS).last_hidden_state
        torch.testing.assert_close(whole.lm_head(hidden), logits(whole))


def test_padding_on_the_left_changes_no_answer(dense: Make, tmp_path: Path):
    model = open_model(upcycle(tmp_path / "moe", UpcycleConfig(strategy=Noise(scale=0.5)), dense()))
    padded = torch.cat([torch.zeros(2, 5, dtype=torch.long), IDS], dim=1)
    mask = (torch.arange(24) >= 5).long().repeat(2, 1)
    position_ids = (mask.cumsum(dim=1) - 1).clamp(min=0)
    shifted = logits(model, padded, attention_mask=mask, position_ids=position_ids)[:, 5:]
    torch.testing.assert_close(shifted, logits(model), rtol=1e-4, atol=1e-5)
