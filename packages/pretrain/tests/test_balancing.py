from pathlib import Path
from types import SimpleNamespace

import pytest
from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Experts, Tokenizer, Tokens
from bunbuku_pretrain import train
from bunbuku_pretrain.balancing import AdaptiveBalance
from bunbuku_pretrain.job import StepRecord, parse_history
from hypothesis import given
from hypothesis import strategies as st

LOADS = st.lists(st.floats(0, 8), min_size=2, max_size=8).filter(lambda load: sum(load) > 0)


@given(LOADS, st.floats(0, 0.01), st.floats(0, 0.99))
def test_a_coefficient_stays_between_nothing_and_the_largest(load: list[float], coefficient: float, smoothing: float):
    rule = AdaptiveBalance(smoothing=smoothing)
    even = [one * len(load) / sum(load) for one in load]
    assert 0 <= rule.dropped(even) < 1
    assert 0 <= rule.after(coefficient, even) <= 0.01 + 1e-12
    assert rule.after(coefficient, [1.0] * len(load)) <= coefficient


def test_where_more_is_dropped_the_coefficient_ends_higher():
    rule = AdaptiveBalance(sensitivity=0.01)
    found = []
    for load in ([1.0, 1.0, 1.0, 1.0], [1.5, 0.5, 1.0, 1.0], [4.0, 0.0, 0.0, 0.0]):
        coefficient = 0.005
        for _ in range(2000):
            coefficient = rule.after(coefficient, load)
        found.append(coefficient)
    assert found == pytest.approx([0.0, 0.01 * 0.125, 0.01 * 0.75], rel=1e-6, abs=1e-9)


def records(artifact: Artifact[Checkpoint]) -> list[StepRecord]:
    (path,) = artifact.dir.rglob("history.jsonl")
    return list(parse_history(path.read_text().splitlines()))


@pytest.mark.slow
def test_each_layer_is_pressed_as_it_needs_and_a_stopped_run_goes_on_so(
    tmp_path: Path,
    tokens: Artifact[Tokens],
    tokenizer: Artifact[Tokenizer],
    mixture: Artifact[Checkpoint],
    mixture_start: Artifact[Checkpoint],
    tiny: SimpleNamespace,
) -> None:
    config = tiny.mixture.model_copy(
        update={"adaptive_balance": AdaptiveBalance(smoothing=0.5, largest=0.2, sensitivity=2)}
    )
    inputs = (tokens, tokenizer, mixture_start)
    whole = train(tmp_path / "whole", config, *inputs, run=tiny.laptop)
    rule, steps = config.adaptive_balance, [record for record in records(whole) if record.mixture]
    expected = [mixture_start.spec.architecture.experts.aux_loss_coefficient] * 2  # type: ignore[union-attr]
    for record in steps:
        assert record.mixture is not None
        loads = [layer.load for layer in record.mixture.layers]
        expected = [rule.after(one, load) for one, load in zip(expected, loads, strict=True)]
        assert [layer.coefficient for layer in record.mixture.layers] == pytest.approx(expected, abs=1e-4)
    assert expected[0] != expected[1]
    assert whole.content != mixture.content
    with pytest.raises(BunbukuError, match="after step 1 of 6"):
        train(tmp_path / "again", config, *inputs, run=tiny.laptop.model_copy(update={"time_limit_seconds": 0.01}))
    assert train(tmp_path / "again", config, *inputs, run=tiny.laptop).content == whole.content


def test_a_model_without_a_balance_to_adapt_is_refused(
    tmp_path: Path, tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace
) -> None:
    config = tiny.dense.model_copy(update={"adaptive_balance": AdaptiveBalance()})
    with pytest.raises(BunbukuError, match="`adaptive_balance` is given, and the model has no experts"):
        train(tmp_path / "out", config, tokens, tokenizer, run=tiny.laptop)


def test_a_router_that_could_not_learn_is_refused(
    tmp_path: Path, tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace
) -> None:
    """Megatron would say so after the ranks have started, as a ValueError that names a flag."""
    architecture = tiny.small(tokenizer.spec.vocab_size, Experts(count=4, active=1))
    start = tiny.make_model(tmp_path / "start", tiny.model_config(architecture=architecture), tokenizer)
    with pytest.raises(BunbukuError, match="sends a token to 1 expert and takes the softmax over it alone") as refused:
        train(tmp_path / "out", tiny.mixture, tokens, tokenizer, start, run=tiny.laptop)
    assert "softmax_first" in str(refused.value.hint)


def test_tied_embeddings_are_refused_as_a_start(
    tmp_path: Path, tokens: Artifact[Tokens], tokenizer: Artifact[Tokenizer], tiny: SimpleNamespace
) -> None:
    architecture = tiny.small(tokenizer.spec.vocab_size).model_copy(update={"tied_embeddings": True})
    start = tiny.make_model(tmp_path / "start", tiny.model_config(architecture=architecture), tokenizer)
    with pytest.raises(BunbukuError, match="has tied embeddings, and only a model with an output layer of its own"):
        train(tmp_path / "out", tiny.mixture, tokens, tokenizer, start, run=tiny.laptop)
