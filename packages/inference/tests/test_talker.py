"""Many who ask one model: together, each their own, and nobody left waiting."""

import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue

import pytest
from bunbuku_inference import (
    Answer,
    Failure,
    Message,
    OpenAIEngine,
    Request,
    Sampling,
    Talker,
    TransformersEngine,
    open_model,
)

LOCAL = TransformersEngine(device="cpu", threads=1)


def question(text: str, *, tokens: int = 8, seed: int = 0) -> Request:
    return Request(
        prompt=(Message(role="user", content=text),), sampling=Sampling(max_tokens=tokens, temperature=1.0), seed=seed
    )


@pytest.fixture
def talker(checkpoint: Path) -> Iterator[Talker]:
    with Talker("tiny", open_model(LOCAL, checkpoint)) as talker:
        yield talker


def test_each_is_told_its_own_answer_as_it_grows(talker: Talker, checkpoint: Path) -> None:
    questions = [question(text, seed=seed) for seed, text in enumerate(["狸", "茶釜", "和尚", "山", "川"])]
    with open_model(LOCAL, checkpoint) as model:
        expected = model.generate(questions)
    found: dict[int, list[str]] = {}

    def listen(number: int) -> None:
        found[number] = [piece.text for piece in talker.ask(questions[number])]

    listeners = [threading.Thread(target=listen, args=(number,)) for number in range(len(questions))]
    for listener in listeners:
        listener.start()
    for listener in listeners:
        listener.join()
    for number, answer in enumerate(expected):
        assert found[number][-1] == answer.text
        assert all(longer.startswith(text) for text, longer in pairwise(found[number]))


def test_an_answer_that_nobody_waits_for_is_broken_off(talker: Talker) -> None:
    pieces = talker.ask(question("狸", tokens=80, seed=1))
    next(pieces)
    pieces.close()
    assert [piece.finish for piece in talker.ask(question("茶釜"))][-1] in ("stop", "length")
    assert talker.meter.reasons == {"dropped": 1}
    assert talker.meter.completion_tokens <= 8, "what was dropped is counted nowhere"


def test_what_is_dropped_while_it_waits_is_never_begun(talker: Talker) -> None:
    outcomes: SimpleQueue[Answer | Failure] = SimpleQueue()
    first = talker.ask(question("狸", tokens=40, seed=1))
    next(first)
    waiting = talker.begin(
        question("茶釜"), told=lambda _: outcomes.put(Failure(reason="exhausted", detail="told")), done=outcomes.put
    )
    waiting.drop()
    assert list(first)[-1].finish is not None
    outcome = outcomes.get()
    assert isinstance(outcome, Failure) and outcome.reason == "dropped"
    assert talker.meter.requests == 1


def test_one_whose_listener_breaks_takes_nobody_along(talker: Talker, caplog: pytest.LogCaptureFixture) -> None:
    outcomes: SimpleQueue[tuple[str, Answer | Failure]] = SimpleQueue()

    def breaks(_: object) -> None:
        raise KeyError("the listener's own fault")

    first = talker.ask(question("狸", tokens=40, seed=1))
    next(first)  # what follows waits together
    talker.begin(question("山"), told=breaks, done=lambda outcome: outcomes.put(("breaks", outcome)))
    talker.begin(question("川"), told=lambda _: None, done=breaks)
    talker.begin(question("茶釜"), told=lambda _: None, done=lambda outcome: outcomes.put(("listens", outcome)))
    list(first)
    found = dict(outcomes.get() for _ in range(2))
    assert isinstance(found["listens"], Answer)
    assert isinstance(broken := found["breaks"], Failure)
    assert broken.detail == "'tiny' broke off: KeyError: \"the listener's own fault\""
    assert list(talker.ask(question("山")))[-1].finish in ("stop", "length"), "the thread goes on"
    assert "could not be given back" in caplog.text


def test_a_server_that_is_not_there_is_said_in_a_sentence_with_a_remedy() -> None:
    engine = OpenAIEngine(base_url="http://127.0.0.1:9/v1", served_model="tiny", attempts=1)
    with Talker("tiny", open_model(engine, None)) as talker:
        [piece] = talker.ask(question("狸"))
    assert piece.finish == "error" and piece.reason == "exhausted"
    assert "cannot be reached" in piece.text and "is the server running" in piece.text


def test_after_its_end_nobody_waits(checkpoint: Path) -> None:
    talker = Talker("tiny", open_model(LOCAL, checkpoint))
    talker.close()
    talker.close()
    [piece] = talker.ask(question("狸"))
    assert piece.finish == "error" and "being closed" in piece.text
