"""The leaderboard's page: all measures with their intervals, scores over tokens seen, perplexity by stage."""

import re

import pytest
from bunbuku_contracts import (
    Architecture,
    Artifact,
    BunbukuError,
    Checkpoint,
    Config,
    Draft,
    Experts,
    Report,
    read_sections,
    stage,
)
from bunbuku_eval import LeaderboardConfig, RateConfig, leaderboard, rate_votes
from bunbuku_eval.standings import columns, estimates


class Made(Config):
    tokens_seen: int
    experts: int = 0


class Measured(Config):
    metrics: dict[str, float]


@stage("pretrain.export")
def checkpoint(draft: Draft, config: Made) -> Checkpoint:
    """What a training leaves, without the weights, which nobody asks here."""
    (draft.dir / "config.json").write_text("{}")
    experts = Experts(count=config.experts, active=2) if config.experts else None
    shape = Architecture(layers=1, hidden_size=8, ffn_size=16, heads=2, kv_heads=1, vocab_size=32, experts=experts)
    return Checkpoint(architecture=shape, format="hf", step=1, tokens_seen=config.tokens_seen, tokenizer="0" * 64)


@stage("eval.score")
def measured(draft: Draft, config: Measured, checkpoints: dict[str, Artifact[Checkpoint]]) -> Report:
    """A report with these metrics."""
    draft.metrics |= config.metrics
    return Report(title="Scores")


def of(name: str, value: float, half: float = 0.05) -> dict[str, float]:
    return {name: value, f"{name}.low": value - half, f"{name}.high": value + half}


@pytest.fixture(scope="module")
def reports(place):
    made = {f"dense@{n}": checkpoint(place("c"), Made(tokens_seen=n * 1000)) for n in (1, 2, 3)}
    made |= {f"moe.{n}": checkpoint(place("c"), Made(tokens_seen=n * 1000, experts=4)) for n in (4, 5)}
    metrics: dict[str, float] = {"answers.dense@1": 12.0}
    for at, name in enumerate(made):
        metrics |= of(f"strict.{name}.jnli.generation.chat", 0.3 + at / 10) | of(
            f"lenient.{name}.jnli.generation.chat", 0.5
        )
        bits = of(f"bits_per_byte.{name}", 2.0 - at / 10, 0.01)
        metrics |= {f"bits_per_byte.{name}.total": bits.pop(f"bits_per_byte.{name}")} | bits
        metrics[f"bits_per_byte.{name}.source.wiki"] = 1.0
    votes = place("votes").with_suffix(".csv")
    rows = (
        ["model_a,model_b,winner"]
        + ["dense@3,moe.5,b"] * 30
        + ["moe.5,dense@3,b"] * 12
        + ["dense@3,猫,a"] * 9
        + ["猫,dense@3,a"] * 5
    )
    votes.write_text("\n".join(rows), encoding="utf-8")
    return {
        "tasks": measured(place("score"), Measured(metrics=metrics), made),
        "people": rate_votes(place("rate"), RateConfig(bootstrap_rounds=10), votes),
    }


def test_every_estimate_is_a_cell_with_its_interval(reports) -> None:
    found = columns(estimates(reports))
    assert [(one.report, one.measure, one.condition) for one in found] == [
        ("tasks", "strict", "jnli.generation.chat"),
        ("tasks", "lenient", "jnli.generation.chat"),
        ("people", "rating", ""),
        ("tasks", "bits_per_byte", ""),
    ]
    strict, _, rating, bits = found
    assert strict.cells["moe.5"].value == pytest.approx(0.7)
    assert strict.best == {"moe.5", "moe.4"}  # their intervals touch
    assert bits.best == {"moe.5"}
    assert set(rating.cells) == {"dense@3", "moe.5", "猫"}


def test_the_page_has_tables_curves_and_stages_and_asks_for_nothing(reports, place) -> None:
    made = leaderboard(place("leaderboard"), LeaderboardConfig(title="順位<表>", notes=("覚え書き",)), reports)
    html = (made.dir / str(made.spec.page)).read_text(encoding="utf-8")
    assert not re.search(r'(?:src|href)="(?:https?:)?//', html)
    assert "順位&lt;表&gt;" in html
    assert "<表>" not in html
    for told in ("0.700", "0.650–0.750", "bits per byte", "MoE 2 of 4", "猫", "覚え書き"):
        assert told in html
    # A line for the dense model's three milestones, one for the mixture's two, and a dot for every model.
    lines = re.findall(r'<polyline class="line c\d" data-name="([^"]+)" points="([^"]+)"', html)
    assert {(name, len(points.split())) for name, points in lines} == {("dense", 3), ("MoE 2 of 4", 2)}
    assert html.count('<circle class="dot') == 5
    (section,) = read_sections(made)
    assert section.tables[0].rows[0][0] == "dense@1"
    assert made.manifest.metrics["columns"] == 4


def test_models_that_saw_as_many_tokens_are_all_drawn(place) -> None:
    made = {
        name: checkpoint(place("c"), Made(tokens_seen=seen)) for name, seen in (("a", 1000), ("b", 2000), ("c", 2000))
    }
    metrics = of("strict.a.jnli", 0.1) | of("strict.b.jnli", 0.2) | of("strict.c.jnli", 0.4)
    report = measured(place("score"), Measured(metrics=metrics), made)
    (section,) = read_sections(leaderboard(place("leaderboard"), LeaderboardConfig(), {"tasks": report}))
    assert [curve.points for curve in section.curves] == [((1000, 0.1), (2000, 0.2), (2000, 0.4))]


def test_who_won_or_lost_every_vote_is_said_to_have_no_bounded_rating(reports, place) -> None:
    votes = place("votes").with_suffix(".csv")
    rows = ["model_a,model_b,winner", *["猫,犬,a"] * 8, *["犬,猫,b"] * 8, *["犬,鳥,a"] * 6, *["鳥,犬,a"] * 5]
    votes.write_text("\n".join(rows), encoding="utf-8")
    rated = rate_votes(place("rate"), RateConfig(bootstrap_rounds=10), votes)
    assert {name for name in rated.manifest.metrics if name.startswith("unbounded.")} == {"unbounded.猫"}
    made = leaderboard(place("leaderboard"), LeaderboardConfig(), {"people": rated})
    assert "No bounded rating: 猫." in (made.dir / str(made.spec.page)).read_text(encoding="utf-8")
    bounded = leaderboard(place("leaderboard"), LeaderboardConfig(), reports)
    assert "No bounded rating" not in (bounded.dir / str(bounded.spec.page)).read_text(encoding="utf-8")


def test_reports_without_estimates_are_refused(place) -> None:
    bare = measured(place("score"), Measured(metrics={"items": 3.0}), {})
    with pytest.raises(BunbukuError, match="no report has a score with an interval"):
        leaderboard(place("leaderboard"), LeaderboardConfig(), {"bare": bare})
    with pytest.raises(BunbukuError, match="nothing to show"):
        leaderboard(place("leaderboard"), LeaderboardConfig(), {})
