"""The server engine against a real HTTP server, in good times and bad."""

import math
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from bunbuku_inference import (
    Answer,
    EngineError,
    Failure,
    Message,
    OpenAIEngine,
    Request,
    RequestsFailed,
    Sampling,
    Score,
    ScoreRequest,
    open_model,
)


def _peer() -> Any:
    spec = spec_from_file_location("peer", Path(__file__).with_name("peer.py"))
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PEER = _peer()


@pytest.fixture
def peer() -> Iterator[Any]:
    with PEER.Peer() as peer:
        yield peer


def engine(peer: Any, **changes: object) -> OpenAIEngine:
    quick = {"base_url": peer.url, "served_model": "tiny", "first_wait_seconds": 0.01, "timeout_seconds": 5}
    return OpenAIEngine.model_validate(quick | changes)


def ask(*prompts: str, **sampling: object) -> list[Request]:
    return [Request(prompt=prompt, sampling=Sampling.model_validate(sampling)) for prompt in prompts]


def test_text_and_chat_come_back_in_order(peer: Any) -> None:
    chat = (Message(role="system", content="い"), Message(role="user", content="ろは"))
    plain = ask(*[f"{at:03}" for at in range(50)], max_tokens=2)
    with open_model(engine(peer), None) as model:
        answers = model.generate([*plain, Request(prompt=chat)])
    assert [answer.text for answer in answers] == [*(f"{at:03}"[::-1][:2] for at in range(50)), "はろい"]
    assert answers[0] == Answer(text="00", prompt_tokens=4, completion_tokens=2, finish="length")
    assert answers[-1].finish == "stop"
    assert model.meter.prompt_tokens == sum(answer.prompt_tokens for answer in answers)
    assert model.meter.completion_tokens == sum(answer.completion_tokens for answer in answers)
    assert (model.meter.requests, model.meter.retries, model.name, model.digest) == (51, 0, "tiny", None)


def test_what_was_asked_is_what_the_server_hears(peer: Any) -> None:
    sampling = Sampling(temperature=0.7, top_p=0.9, max_tokens=5, stop=("は",))
    with open_model(engine(peer), None) as model:
        assert model.generate([Request(prompt="いろは", sampling=sampling, seed=11)])[0].text == ""
    path, body = peer.seen[0]
    heard = {
        "model": "tiny",
        "prompt": "いろは",
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 5,
        "stop": ["は"],
        "seed": 11,
    }
    assert (path, body) == ("/v1/completions", heard)


def test_no_more_requests_are_under_way_than_allowed(peer: Any) -> None:
    peer.delay_seconds = 0.02
    with open_model(engine(peer, concurrency=3), None) as model:
        model.generate(ask(*[str(at) for at in range(30)]))
    assert peer.most_under_way == 3


@pytest.mark.parametrize(
    "fault",
    [
        (429, {"error": {"message": "slow down"}}, {"retry-after": "0.01"}),
        (429, {"error": {"message": "slow down"}}, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}),
        (500, b"<html>oh no</html>", {"content-type": "text/html"}),
        (503, {"error": {"message": "loading", "code": 503}}),
        (200, b'{"choices": [{"text": "cut o'),
        (200, {"choices": [], "usage": {"prompt_tokens": 1}}),
        (200, b"<html>a proxy says hello</html>", {"content-type": "text/html"}),
        0.0,
    ],
    ids=["busy", "busy-with-a-date", "broken", "loading", "cut-off", "empty", "not-json", "hung-up"],
)
def test_a_passing_fault_is_waited_out(peer: Any, fault: object) -> None:
    peer.faults.extend([fault, fault])
    with open_model(engine(peer), None) as model:
        assert model.generate(ask("いろ"))[0].text == "ろい"
    assert (model.meter.retries, model.meter.failed, len(peer.seen)) == (2, 0, 3)


def test_a_slow_attempt_is_given_up_and_made_again(peer: Any) -> None:
    peer.faults.append(3)
    with open_model(engine(peer, timeout_seconds=0.2), None) as model:
        started = time.perf_counter()
        assert model.generate(ask("いろ"))[0].text == "ろい"
    assert (model.meter.retries, time.perf_counter() - started < 2) == (1, True)


def test_the_server_s_own_pause_is_kept(peer: Any) -> None:
    peer.faults.append((429, {}, {"retry-after": "0.5"}))
    with open_model(engine(peer), None) as model:
        started = time.perf_counter()
        model.generate(ask("a"))
    assert time.perf_counter() - started >= 0.5


@pytest.mark.parametrize(
    ("fault", "reason", "detail"),
    [
        ((500, {"error": {"message": "out of order"}}), "exhausted", "out of order"),
        ((200, b"[]"), "malformed", "/completions"),
    ],
)
def test_patience_ends_after_the_attempts_allowed(peer: Any, fault: object, reason: str, detail: str) -> None:
    peer.faults.extend([fault] * 3)
    with open_model(engine(peer, attempts=3), None) as model:
        outcome = model.try_generate(ask("a"))[0]
        assert isinstance(outcome, Failure)
        assert (outcome.reason, detail in outcome.detail, len(peer.seen)) == (reason, True, 3)
        assert (model.meter.failed, model.meter.retries) == (1, 2)
        assert model.generate(ask("ab"))[0].text == "ba"


def test_what_is_refused_is_not_asked_again(peer: Any) -> None:
    peer.faults.append((400, {"error": {"message": "top_p must be lower"}}))
    with open_model(engine(peer, concurrency=1), None) as model:
        rejected, long, good = model.try_generate(ask("a", "b" * 60, "c"))
        assert isinstance(rejected, Failure) and isinstance(long, Failure) and isinstance(good, Answer)
        assert (rejected.reason, long.reason, good.text) == ("rejected", "too_long", "c")
        assert (len(peer.seen), model.meter.retries) == (3, 0)
        with pytest.raises(RequestsFailed, match="1 of 1 requests to 'tiny' failed, the first as 'too_long'"):
            model.generate(ask("b" * 60))


def test_a_filtered_answer_is_no_answer(peer: Any) -> None:
    choice = {"text": "", "finish_reason": "content_filter"}
    peer.faults.append((200, {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 0}}))
    with open_model(engine(peer), None) as model:
        outcome = model.try_generate(ask("a"))[0]
    assert isinstance(outcome, Failure)
    assert (outcome.reason, "content_filter" in outcome.detail) == ("rejected", True)


def test_a_wrong_name_key_or_address_ends_the_call(peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_model(engine(peer, served_model="huge"), None) as model, pytest.raises(EngineError, match="'huge'"):
        model.generate(ask("a", "b"))
    peer.key = "sesame"
    with open_model(engine(peer), None) as model, pytest.raises(EngineError, match="401"):
        model.generate(ask("a"))
    monkeypatch.setenv("TEAHOUSE_KEY", "sesame")
    with open_model(engine(peer, api_key_variable="TEAHOUSE_KEY"), None) as model:
        assert model.generate(ask("ab"))[0].text == "ba"
    peer.faults.append((429, {"error": {"message": "pay first", "code": "insufficient_quota"}}))
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    with open_model(engine(peer), None) as model, pytest.raises(EngineError, match="pay first"):
        model.generate(ask("a"))


def test_a_server_that_is_not_there_is_named() -> None:
    away = OpenAIEngine(
        base_url="http://127.0.0.1:9/v1", served_model="tiny", attempts=2, first_wait_seconds=0.01, timeout_seconds=2
    )
    with (
        open_model(away, None) as model,
        pytest.raises(EngineError, match=r"'http://127.0.0.1:9/v1' cannot be reached"),
    ):
        model.generate(ask("a"))


def test_finished_answers_are_kept_when_a_later_request_ends_the_call(peer: Any, tmp_path: Path) -> None:
    cache = tmp_path / "answers.sqlite"
    with open_model(engine(peer, concurrency=1), None, cache=cache) as model:
        model.generate(ask("a", "b"))
        peer.faults.append((403, {"error": {"message": "closed"}}))
        with pytest.raises(EngineError, match="closed"):
            model.generate(ask("a", "b", "c"))
        peer.faults.append((500, {}))
        model.generate(ask("d"))
    asked = len(peer.seen)
    with open_model(engine(peer), None, cache=cache) as model:
        model.generate(ask("a", "b", "c"))
    assert (model.meter.cached, len(peer.seen) - asked) == (2, 1)


@pytest.mark.parametrize("tokenizes", [True, False], ids=["vllm", "echo"])
def test_a_score_is_the_sum_over_the_completion(tokenizes: bool) -> None:
    with PEER.Peer(tokenizes=tokenizes) as peer, open_model(engine(peer), None) as model:
        scores = model.score(
            [ScoreRequest(prompt="いろは", completion="にほ"), ScoreRequest(prompt="い", completion="")]
        )
        # vLLM's way counts the begin-of-sequence token as a place, the echo of this server does not show it.
        first = 4 if tokenizes else 3
        assert scores[0].logprob == pytest.approx(PEER.logprob(first) + PEER.logprob(first + 1))
        assert (scores[0].tokens, scores[1]) == (2, Score(logprob=0.0, tokens=0))
        assert model.meter.scored_tokens == 2


def test_a_whole_text_is_scored_after_the_begin_of_sequence(peer: Any) -> None:
    with open_model(engine(peer), None) as model:
        score = model.score([ScoreRequest(completion="いろは")])[0]
    assert (score.tokens, score.logprob) == (3, pytest.approx(-0.6))
    with (
        PEER.Peer(tokenizes=False) as old,
        open_model(engine(old), None) as model,
        pytest.raises(EngineError, match="first token"),
    ):
        model.score([ScoreRequest(completion="いろは")])


def test_a_chat_is_scored_where_the_server_can(peer: Any) -> None:
    chat = (Message(role="user", content="い"),)
    place = len(PEER.tokens("<user>い<assistant>"))
    with open_model(engine(peer), None) as model:
        score = model.score([ScoreRequest(prompt=chat, completion="ろは")])[0]
    assert (score.tokens, score.logprob) == (2, pytest.approx(PEER.logprob(place) + PEER.logprob(place + 1)))
    with (
        PEER.Peer(tokenizes=False) as old,
        open_model(engine(old), None) as model,
        pytest.raises(EngineError, match="log-probabilities of a chat"),
    ):
        model.score([ScoreRequest(prompt=chat, completion="ろは")])


def test_a_long_text_is_scored_whole_in_windows(peer: Any) -> None:
    length, context = 131, PEER.MAX_MODEL_LEN - 1
    places = list(range(1, context))
    while len(places) < length - 1:
        fresh = min(context // 2, length - 1 - len(places))
        places += range(context - fresh, context)
    with open_model(engine(peer), None) as model:
        score = model.score([ScoreRequest(completion="茶" * (length - 1))])[0]
    assert score.tokens == length - 1
    assert score.logprob == pytest.approx(math.fsum(PEER.logprob(at) for at in places))


def test_a_server_that_cannot_score_says_so() -> None:
    with (
        PEER.Peer(tokenizes=False, echoes=False) as peer,
        open_model(engine(peer), None) as model,
        pytest.raises(EngineError, match=r"does not give log-probabilities of a prompt \(`echo`\)"),
    ):
        model.score([ScoreRequest(prompt="い", completion="ろ")])


def told_of(peer: Any, *requests: Request) -> tuple[Any, list[list[str]], Any]:
    told: list[list[str]] = [[] for _ in requests]
    with open_model(engine(peer), None) as model:
        outcomes = model.stream(requests, lambda index, text: told[index].append(text))
    return outcomes, told, model.meter


def test_text_is_told_while_a_server_writes_it(peer: Any) -> None:
    chat = Request(prompt=(Message(role="user", content="いろはに"),))
    raw = Request(prompt="ほへと", sampling=Sampling(max_tokens=2))
    outcomes, told, meter = told_of(peer, chat, raw)
    assert told[0] == ["に", "には", "にはろ", "にはろい", "にはろい"] and told[1] == ["と", "とへ", "とへ"]
    with open_model(engine(peer), None) as model:
        assert outcomes == model.generate([chat, raw])
    assert (meter.completion_tokens, meter.prompt_tokens, meter.requests) == (6, 22 + 4, 2)


def test_a_streamed_text_is_told_as_it_comes_and_not_at_its_end(peer: Any) -> None:
    peer.delay_seconds = 0.1
    times: list[float] = []
    with open_model(engine(peer), None) as model:
        model.stream(ask("いろはにほ"), lambda index, text: times.append(time.perf_counter()))
    assert times[-1] - times[0] > 0.3


def test_a_stream_that_breaks_off_is_told_anew_and_a_refusal_is_one(peer: Any) -> None:
    peer.breaks = True
    [answer], [told], meter = told_of(peer, *ask("いろはに"))
    assert answer.text == "にはろい" and told[:3] == ["に", "には", "に"] and meter.retries == 1
    peer.faults.append((400, {"error": {"message": "no"}}))
    [refused], [told], _ = told_of(peer, *ask("a"))
    assert (refused.reason, told) == ("rejected", [])
    peer.faults.append((403, {"error": {"message": "closed"}}))
    with pytest.raises(EngineError, match="closed"):
        told_of(peer, *ask("a", "b"))


def test_a_server_that_does_not_stream_tells_all_at_once(peer: Any) -> None:
    peer.streams = False
    [answer], [told], _ = told_of(peer, *ask("いろ"))
    assert answer.text == "ろい" and told == ["ろい"]


def test_a_proxy_of_the_environment_is_asked_unless_it_is_to_be_left_out(
    peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", peer.url.removesuffix("/v1"))
    away = OpenAIEngine(base_url="http://teahouse.example/v1", served_model="tiny", attempts=1)
    with open_model(away, None) as model, pytest.raises(EngineError, match="Not Found"):
        model.generate(ask("ab"))
    assert peer.seen[-1][0].startswith("http://teahouse.example/")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with open_model(engine(peer), None) as model:
        assert model.generate(ask("ab"))[0].text == "ba"


CLIENT = """
import sys
from pathlib import Path
from bunbuku_inference import OpenAIEngine, Request, open_model
engine = OpenAIEngine(base_url=sys.argv[1], served_model="tiny", concurrency=4)
with open_model(engine, None, cache=Path(sys.argv[2])) as model:
    answers = model.generate([Request(prompt=f"{at:03}") for at in range(120)], progress=lambda n: print(n, flush=True))
    print(*[answer.text for answer in answers], model.meter.cached)
"""


def test_a_killed_run_asks_again_only_what_was_under_way(peer: Any, tmp_path: Path) -> None:
    peer.delay_seconds = 0.01
    command = [sys.executable, "-c", CLIENT, peer.url, str(tmp_path / "answers.sqlite")]
    finished = 0
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout
            finished = 0
            while finished < 40:
                finished += int(client.stdout.readline())
            client.kill()
    last = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()[-1]
    *texts, cached = last.split()
    assert texts == [f"{at:03}"[::-1] for at in range(120)]
    assert int(cached) >= finished
    # Each kill can cost what was sent or waiting to be stored, and no more.
    assert len(peer.seen) <= 120 + 2 * 12
