"""Ratings beside FastChat's own code: `BUNBUKU_FASTCHAT=…/fastchat/serve/monitor/rating_systems.py pytest -m peer`."""

import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from bunbuku_eval import Votes, rate
from scipy.optimize import minimize

PLACE = os.environ.get("BUNBUKU_FASTCHAT", "")
pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(not Path(PLACE).is_file(), reason="needs FastChat's rating_systems.py"),
]


@pytest.fixture(scope="module")
def fastchat():
    spec = spec_from_file_location("rating_systems", PLACE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["rating_systems"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", range(5))
def test_strengths_are_fastchats_where_its_optimiser_goes_to_the_end(fastchat, seed) -> None:
    pandas = pytest.importorskip("pandas")
    random = np.random.default_rng(seed)
    true = random.normal(0, 1, 12)
    a = random.integers(0, 12, 5000)
    b = (a + random.integers(1, 12, 5000)) % 12
    drawn = random.random(5000)
    chance = 1 / (1 + np.exp(true[b] - true[a]))
    outcome = np.where(drawn < 0.15, 0.5, (random.random(5000) < chance).astype(float))
    names = [f"m{n:02}" for n in range(12)]
    frame = pandas.DataFrame(
        {
            "model_a": [names[one] for one in a],
            "model_b": [names[one] for one in b],
            "winner": [{1.0: "model_a", 0.0: "model_b", 0.5: "tie"}[one] for one in outcome],
        }
    )
    ours = {
        row.model: row.strength
        for row in rate(Votes.of(frame["model_a"], frame["model_b"], list(outcome)), rounds=0).rows
    }
    matchups, outcomes, models, weights = fastchat.preprocess_for_bt(frame)
    returned = fastchat.fit_bt(matchups, outcomes, weights, len(models), np.log(10.0)) * np.log(10.0)
    # What it returns lies where its loss hardly changes any more, which is some 1e-5 before the end.
    ending = {"maxiter": 10_000, "ftol": 1e-16, "gtol": 1e-12}
    args = (matchups, outcomes, weights / weights.sum(), 1.0)
    ended = minimize(fastchat.bt_loss_and_grad, returned, args, jac=True, method="L-BFGS-B", options=ending).x
    assert [ours[name] for name in models] == pytest.approx(ended - ended.mean(), abs=1e-6)
    assert [ours[name] for name in models] == pytest.approx(returned - returned.mean(), abs=1e-2)
