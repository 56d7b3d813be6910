"""A server that misbehaves in every way there is: nothing is lost, nothing is paid for twice, and the meters add up."""

import io
import random
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from bunbuku_contracts.errors import Unfinished
from bunbuku_inference import (
    Account,
    Answer,
    Budget,
    EngineError,
    Failure,
    OpenAIEngine,
    Price,
    Request,
    Sampling,
    open_model,
)
from bunbuku_inference.view import note, panel
from rich.console import Console


def _peer() -> Any:
    spec = spec_from_file_location("peer", Path(__file__).with_name("peer.py"))
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PEER = _peer()
FAULTS = [
    (429, {"error": {"message": "slow down"}}, {"retry-after": "0.01"}),
    (500, b"oh no"),
    (503, {"error": {"message": "loading"}}),
    (200, b'{"choices": [{"text": "cut o'),
    (200, b"<html>a proxy</html>", {"content-type": "text/html"}),
    "half",
    0.0,
]
REQUESTS = [Request(prompt=f"{n:04}", sampling=Sampling(max_tokens=4), seed=n) for n in range(200)]


@pytest.fixture
def peer() -> Iterator[Any]:
    with PEER.Peer() as peer:
        yield peer


def engine(peer: Any, **changes: object) -> OpenAIEngine:
    quick = {"base_url": peer.url, "served_model": "tiny", "first_wait_seconds": 0.005, "timeout_seconds": 3}
    return OpenAIEngine.model_validate(quick | {"attempts": 30, "concurrency": 8} | changes)


def test_a_storm_of_faults_loses_nothing_and_every_token_is_counted_once(peer: Any, tmp_path: Path) -> None:
    draw = random.Random(3)
    peer.faults.extend(draw.choice([*[None] * 7, *FAULTS]) for _ in range(120))
    peer.faults.extend([6.0, 6.0])  # longer than an attempt may take
    with open_model(engine(peer), None, cache=tmp_path / "store.sqlite") as model:
        answers = model.generate(REQUESTS)
    assert [answer.text for answer in answers] == [str(request.prompt)[::-1] for request in REQUESTS]
    assert model.meter.completion_tokens == sum(answer.completion_tokens for answer in answers) == 4 * len(REQUESTS)
    assert model.meter.prompt_tokens == sum(used["prompt_tokens"] for used in peer.answered) == 5 * len(REQUESTS)
    assert len(peer.answered) == len(REQUESTS)
    assert model.meter.retries == len(peer.seen) - len(REQUESTS) > 30
    assert model.meter.failed == 0


def test_failures_are_counted_by_reason_never_kept_and_asked_again(peer: Any, tmp_path: Path) -> None:
    peer.faults.extend([(500, b"no")] * 6 + [(200, b"{")] * 6)
    patient = engine(peer, attempts=2, concurrency=1)
    with open_model(patient, None, cache=tmp_path / "store.sqlite") as model:
        outcomes = model.try_generate(REQUESTS[:20])
    failures = [one.reason for one in outcomes if isinstance(one, Failure)]
    assert failures == ["exhausted"] * 3 + ["malformed"] * 3
    assert model.meter.reasons == {"exhausted": 3, "malformed": 3} and model.meter.failed == 6
    assert model.meter.metrics("m")["m.failed.malformed"] == 3
    with open_model(patient, None, cache=tmp_path / "store.sqlite") as model:
        assert all(isinstance(one, Answer) for one in model.try_generate(REQUESTS[:20]))
    assert (model.meter.cached, len(peer.answered)) == (14, 20)


def test_what_a_server_answered_before_it_was_killed_is_kept(tmp_path: Path) -> None:
    store = tmp_path / "store.sqlite"
    with PEER.Peer() as first:
        port = first.server_address[1]
        first.faults.extend([None] * 60 + ["dies"] * 500)
        first.delay_seconds = 0.002
        here = engine(first, attempts=2)
        handler = first.RequestHandlerClass.reply

        def dying(self: Any, *reply: Any) -> None:
            if len(first.answered) >= 60:
                first.socket.close()
                self.close_connection = True
                raise ConnectionResetError
            handler(self, *reply)

        first.RequestHandlerClass = type("Dying", (first.RequestHandlerClass,), {"reply": dying})
        first.faults.clear()
        with pytest.raises(EngineError, match="cannot be reached"), open_model(here, None, cache=store) as model:
            model.generate(REQUESTS)
        kept = model.meter.completion_tokens // 4
        assert 50 <= kept < 60
    with PEER.Peer(port=port) as second, open_model(here, None, cache=store) as model:
        answers = model.generate(REQUESTS)
        assert (model.meter.cached, len(second.answered)) == (kept, len(REQUESTS) - kept)
    assert [answer.text for answer in answers] == [str(request.prompt)[::-1] for request in REQUESTS]


def test_a_budget_stops_in_good_order_and_is_one_for_all_restarts(peer: Any, tmp_path: Path) -> None:
    def ask(most: float) -> tuple[Account, Any]:
        account = Account(Budget(max_cost=most), label="run")
        price = Price(per_million_completion_tokens=1e6)  # one a token: four an answer
        model = open_model(
            engine(peer, concurrency=2), None, cache=tmp_path / "store.sqlite", purse=account.purse("teacher", price)
        )
        return account, model

    account, model = ask(100)
    with model, pytest.raises(Unfinished, match=r"max_cost` of the budget is 100.0, and 1\d\d was spent") as stopped:
        model.generate(REQUESTS)
    assert stopped.value.status == 75
    answered = len(peer.answered)
    assert 25 <= answered <= 25 + 2 * 2  # what was under way is finished
    account, model = ask(100)
    with model, pytest.raises(Unfinished):
        model.generate(REQUESTS)
    assert account.cost == 4 * answered and len(peer.answered) == answered  # nothing was asked
    account, model = ask(10_000)
    with model:
        model.generate(REQUESTS)
    assert len(peer.answered) == len(REQUESTS) and account.cost == 4 * len(REQUESTS)
    assert account.total.requests == len(REQUESTS)


def test_people_see_tokens_and_cost_while_a_model_is_asked(peer: Any) -> None:
    account = Account(Budget(max_cost=500))
    purse = account.purse("teacher", Price(per_million_prompt_tokens=1e6))
    with open_model(engine(peer), None, purse=purse) as model:
        model.generate(REQUESTS[:10])
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(panel({"teacher": model.meter}, account))
    shown = console.export_text()
    assert "spent 50 of 500, 10 requests" in shown and "teacher" in shown and " 40 " in shown
    assert note({"teacher": model.meter}, account) == "40 tokens written, 0 failed, spent 50 of 500, 10 requests"


def test_a_schema_goes_to_the_server_and_makes_another_key(peer: Any, tmp_path: Path) -> None:
    plain = Request(prompt="いろ")
    guided = plain.model_copy(update={"reply_schema": '{"type":"object"}'})
    with open_model(engine(peer), None, cache=tmp_path / "store.sqlite") as model:
        model.generate([plain, guided])
    bodies = [body.get("response_format") for _, body in peer.seen]
    held = {"type": "json_schema", "json_schema": {"name": "reply", "schema": {"type": "object"}, "strict": True}}
    assert sorted(map(str, bodies)) == sorted(map(str, [None, held]))
    with open_model(engine(peer, guided=False), None) as model:
        model.generate([guided])
    assert "response_format" not in peer.seen[-1][1]
