"""Ratings: those of an independent optimiser, with intervals that hold what they promise, and voters who look at sides."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import BunbukuError, read_sections
from bunbuku_eval import RateConfig, Votes, bradley_terry, one_sided, rate, rate_votes, read_votes
from bunbuku_eval.ratings import elo
from bunbuku_eval.votes import without
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit

MODELS = 10
VOTERS = 50
TRUE = np.linspace(-1.2, 1.2, MODELS)


def simulated(seed: int, *, votes: int = 1500, left_only: int = 0, ties: float = 0.15) -> Votes:
    """Votes by the model itself; the first voters always choose the left."""
    random = np.random.default_rng(seed)
    a = random.integers(0, MODELS, votes)
    b = (a + 1 + random.integers(0, MODELS - 1, votes)) % MODELS
    chance = expit(TRUE[a] - TRUE[b])
    # A tie takes as much from both sides, so that its half wins leave the strengths as they are.
    tie = ties * 4 * chance * (1 - chance)
    drawn = random.random(votes)
    outcome = np.where(drawn < chance - tie / 2, 1.0, np.where(drawn < chance + tie / 2, 0.5, 0.0))
    voter = random.integers(0, VOTERS, votes)
    outcome[voter < left_only] = 1.0
    names = tuple(f"model {n}" for n in range(MODELS))
    return Votes(names, a, b, outcome, tuple(f"voter {n}" for n in range(VOTERS)), voter)


def strengths(found) -> dict[str, float]:
    return {row.model: row.strength for row in found.rows}


def coverage(seeds: range, *, left_only: int = 0, rounds: int = 200) -> tuple[float, float]:
    """How often sandwich and bootstrap intervals hold the truth."""
    inside = np.zeros(2)
    for seed in seeds:
        votes = simulated(seed, left_only=left_only)
        kept = without(votes, [one.voter for one in one_sided(votes)])
        for row in rate(kept, rounds=rounds, seed=seed).rows:
            truth = TRUE[int(row.model.split()[1])]
            inside += [low <= truth <= high for low, high in (row.sandwich, row.bootstrap)]
    sandwich, bootstrap = inside / (len(seeds) * MODELS)
    return float(sandwich), float(bootstrap)


def test_strengths_are_those_of_another_optimiser() -> None:
    votes = simulated(1)

    def loss(values):
        margin = values[votes.a] - values[votes.b]
        chance = expit(margin)
        gradient = np.zeros(MODELS)
        np.add.at(gradient, votes.a, chance - votes.outcome)
        np.add.at(gradient, votes.b, votes.outcome - chance)
        return np.logaddexp(0, margin).sum() - votes.outcome @ margin, gradient

    ending = {"ftol": 1e-16, "gtol": 1e-12, "maxiter": 10_000}
    theirs = minimize(loss, np.zeros(MODELS), jac=True, method="L-BFGS-B", options=ending).x
    ours = strengths(rate(votes, rounds=0))
    assert [ours[name] for name in votes.models] == pytest.approx(theirs - theirs.mean(), abs=1e-6)


def test_the_order_of_votes_and_the_sides_change_nothing() -> None:
    votes = simulated(2)
    shuffled = votes.where(np.arange(len(votes)) >= 0)
    order = np.random.default_rng(0).permutation(len(votes))
    shuffled = Votes.of(
        [votes.models[at] for at in votes.a[order]],
        [votes.models[at] for at in votes.b[order]],
        votes.outcome[order].tolist(),
    )
    first = strengths(rate(votes, rounds=0))
    for other in (shuffled, votes.swapped()):
        assert strengths(rate(other, rounds=0)) == pytest.approx(first, abs=1e-9)
    one, two = (strengths(rate(v, rounds=0, ties="davidson")) for v in (votes, votes.swapped()))
    assert one == pytest.approx(two, abs=1e-8)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=60)
)
def test_any_votes_get_finite_ratings_that_sum_to_nought(raw) -> None:
    names = [(f"m{a}", f"m{(a + step) % 5}", outcome) for a, step, outcome in raw]
    votes = Votes.of(*map(list, zip(*names, strict=True)))
    found = rate(votes, rounds=5)
    assert all(np.isfinite(row.strength) for row in found.rows)
    assert sum(row.strength for row in found.rows) == pytest.approx(0, abs=1e-6)
    assert {row.model for row in found.rows} == {name for one in names for name in one[:2]}


def test_who_never_lost_is_told_to_be_unbounded() -> None:
    votes = Votes.of(["a", "b", "c", "a"], ["b", "c", "b", "c"], [1, 1, 1, 1])
    assert {row.model: row.bounded for row in rate(votes, rounds=0).rows} == {"a": False, "b": True, "c": True}
    assert not any(row.bounded for row in rate(Votes.of(["a"], ["b"], [1]), rounds=0).rows)


def test_many_draws_are_fitted_at_once_as_each_would_be_alone() -> None:
    random = np.random.default_rng(0)
    wins = random.integers(1, 9, (7, 4, 4)).astype(float) * (1 - np.eye(4))
    together = bradley_terry(wins)
    for one, alone in zip(wins, together, strict=True):
        assert bradley_terry(one) == pytest.approx(alone, abs=1e-8)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    for share in coverage(range(60)):
        assert 0.925 <= share <= 0.975


def test_voters_who_always_choose_the_left_are_found_and_nobody_else() -> None:
    votes = simulated(5, left_only=8)
    assert {one.voter for one in one_sided(votes)} == {f"voter {n}" for n in range(8)}
    wrong = sum(len(one_sided(simulated(seed))) for seed in range(40))
    assert wrong <= 2  # at the level of 1 % a set of votes


def test_after_detection_intervals_hold_the_truth_as_before() -> None:
    for share in coverage(range(100, 140), left_only=8):
        assert 0.92 <= share <= 0.98


@pytest.mark.long
def test_coverage_over_five_hundred_simulations() -> None:
    for left_only in (0, 8):
        shares = coverage(range(500), left_only=left_only, rounds=400)
        assert all(0.93 <= share <= 0.97 for share in shares)


def test_style_is_taken_out_of_the_ratings() -> None:
    random = np.random.default_rng(0)
    count = 4000
    a, b = random.integers(0, 2, count), np.empty(count, int)
    b = 1 - a
    # Both models are equally good; the first writes longer, and length is what voters like.
    length = np.where(a == 0, 0.4, -0.4) + random.normal(0, 0.3, count)
    outcome = (random.random(count) < expit(2.0 * length)).astype(float)
    zeros = np.zeros((count, 3))
    votes = Votes(("long", "short"), a, b, outcome, style=np.column_stack([length, zeros]))
    plain, controlled = rate(votes, rounds=0), rate(votes, rounds=20, style=True)
    assert strengths(plain)["long"] > 0.2
    row = next(row for row in controlled.rows if row.model == "long")
    assert row.sandwich[0] < 0 < row.sandwich[1]
    value, low, _ = controlled.effects["length"]
    assert value == pytest.approx(2.0 * np.sqrt((length**2).mean()), rel=0.15)
    assert low > 0


def test_the_worth_of_the_left_side_is_found() -> None:
    votes = simulated(3, votes=6000, ties=0.0)
    random = np.random.default_rng(1)
    chance = expit(TRUE[votes.a] - TRUE[votes.b] + 0.4)
    moved = Votes(votes.models, votes.a, votes.b, (random.random(len(votes)) < chance).astype(float))
    _, low, high = rate(moved, rounds=0, side=True).effects["left side"]
    assert low < 0.4 < high


def test_davidson_finds_how_often_equals_tie() -> None:
    random = np.random.default_rng(2)
    count = 9000
    a = random.integers(0, 3, count)
    b = (a + 1 + random.integers(0, 2, count)) % 3
    true = np.array([-0.8, 0.1, 0.7])
    logits = np.stack([(true[a] - true[b]) / 2, np.full(count, -0.3), (true[b] - true[a]) / 2])
    chances = np.exp(logits) / np.exp(logits).sum(axis=0)
    drawn = random.random(count)
    outcome = np.where(drawn < chances[0], 1.0, np.where(drawn < chances[0] + chances[1], 0.5, 0.0))
    found = rate(Votes(("x", "y", "z"), a, b, outcome), ties="davidson", rounds=0)
    assert [strengths(found)[name] for name in "xyz"] == pytest.approx(true, abs=0.12)
    assert found.effects["tie"][0] == pytest.approx(-0.3, abs=0.08)


def write(folder: Path, text: str, name: str = "votes.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model_a,model_b\nx,y\n", "has no column 'winner'"),
        ("model_a,model_b,winner\nx,y,left of it\n", "row 1 of .* has the winner 'left of it'"),
        ("model_a,model_b,winner\nx,y,a\nx,x,a\n", "row 2 of .* sets 'x' against itself"),
        ("model_a,model_b,winner\n", "has no votes"),
        ("model_a,model_b,winner\nx,y\n", "line 2 of .* has 2 columns where 3 were expected"),
    ],
)
def test_a_bad_file_of_votes_is_one_sentence(tmp_path, text, said) -> None:
    with pytest.raises(BunbukuError, match=said):
        read_votes(write(tmp_path, text))


def test_a_spreadsheet_and_parquet_give_the_same(place, tmp_path) -> None:
    votes = simulated(4, left_only=2)
    columns = {
        "model_a": [votes.models[at] for at in votes.a],
        "model_b": [votes.models[at] for at in votes.b],
        "winner": [{1.0: "model_a", 0.5: "tie (bothbad)", 0.0: "model_b"}[value] for value in votes.outcome],
        "voter": [f"voter {n}" for n in votes.voter] if votes.voter is not None else [],
        "category": ["算数" if n % 2 else "作文" for n in range(len(votes))],
        "answer_a": ["長い答え" * int(n % 5 + 1) for n in votes.a],
        "answer_b": ["長い答え" * int(n % 5 + 1) for n in votes.b],
    }
    pq.write_table(pa.table(columns), tmp_path / "votes.parquet")
    lines = [",".join(columns), *(",".join(row) for row in zip(*columns.values(), strict=True))]
    csv = write(tmp_path, "\ufeff" + "\r\n".join(lines))
    config = RateConfig(style=True, bootstrap_rounds=20)
    one = rate_votes(place("rate"), config, tmp_path / "votes.parquet")
    two = rate_votes(place("rate"), config, csv)
    assert one.manifest.metrics == two.manifest.metrics
    titles = [section.title for section in read_sections(one)]
    assert titles == ["Ratings", "What else moves votes", "By category", "Voters who take one side"]
    assert one.manifest.metrics["one_sided"] == 2
    table = read_sections(one)[0].tables[0]
    assert table.rows[0][0] == 1
    assert len(table.rows) == MODELS


def test_ratings_stand_on_the_scale_of_chess() -> None:
    assert elo(np.log(10)) - elo(0) == pytest.approx(400)


@pytest.mark.skipif("BUNBUKU_BATTLES" not in os.environ, reason="needs BUNBUKU_BATTLES, a file of many votes")
def test_real_battles_are_rated_where_the_likelihood_is_flat() -> None:
    votes = read_votes(Path(os.environ["BUNBUKU_BATTLES"]))
    found = strengths(rate(votes, rounds=0))
    values = np.array([found[name] for name in votes.models])
    residual = votes.outcome - expit(values[votes.a] - values[votes.b])
    gradient = np.bincount(votes.a, residual, len(values)) - np.bincount(votes.b, residual, len(values))
    assert np.abs(gradient).max() < 1e-6
