"""The configs of Tanuki's trainings read, and have its published values, each size its own."""

import tomllib
from pathlib import Path

import pytest
from bunbuku_align import AlignRun, Cdpo, Dpo, DpoConfig, Fsdp, Full, SftConfig

RUNS = Path(__file__).parents[3] / "runs" / "tanuki"
needs_runs = pytest.mark.skipif(not RUNS.exists(), reason="the package is alone here")


def read[C: (SftConfig, DpoConfig)](kind: type[C], name: str) -> C:
    return kind.model_validate(tomllib.loads((RUNS / f"{name}.toml").read_text(encoding="utf-8")))


@needs_runs
@pytest.mark.parametrize(("size", "rate", "batch", "tokens"), [("8b", 5e-6, 5 * 16, 2048), ("8x8b", 5e-7, 2 * 4, 4096)])
def test_fine_tuning_has_the_published_values_of_its_size(size, rate, batch, tokens) -> None:
    config = read(SftConfig, f"sft-{size}")
    assert (config.learning_rate, config.batch_examples, config.max_tokens) == (rate, batch, tokens)
    assert (config.epochs, config.schedule, config.warmup_share) == (1, "cosine", 0.1)
    assert (config.precision, config.adapter) == ("bfloat16", Full())


@needs_runs
@pytest.mark.parametrize(
    ("size", "rate", "batch", "objective"),
    [("8b", 5e-7, 512, Dpo(beta=0.1)), ("8x8b", 1e-6, 1024, Cdpo(beta=0.5, label_smoothing=0.01))],
)
def test_preferences_have_the_published_values_of_their_size(size, rate, batch, objective) -> None:
    config = read(DpoConfig, f"dpo-{size}")
    assert (config.learning_rate, config.batch_examples, config.max_tokens) == (rate, batch, 2048)
    assert (config.epochs, config.objective, config.adapter) == (1, objective, Full())


@needs_runs
@pytest.mark.parametrize(("kind", "name"), [(SftConfig, "sft-8b"), (DpoConfig, "dpo-8b"), (DpoConfig, "dpo-8x8b")])
def test_two_nodes_share_the_batches_of_the_presets(kind, name) -> None:
    settings = tomllib.loads((RUNS.parent / "slurm" / "align.toml").read_text(encoding="utf-8"))
    run = AlignRun.model_validate(settings)
    assert run.sharding == Fsdp()
    config = read(kind, name)
    assert run.accumulation(config.batch_examples) * run.ranks == config.batch_examples
