"""The live arena: two models answer while a voter watches, and nothing is known of them until the vote."""

import json
from itertools import pairwise

import pyarrow.parquet as pq
import pytest
from bunbuku_eval.arena.store import FAILED, Store
from bunbuku_eval.stages.arena import ArenaRun, BallotsConfig, ballots


def says(name: str, prompt: str) -> str | int:
    """What a model called `name` answers."""
    if prompt == "壊れろ":
        return 500
    return f"{prompt}への答え{'よい' * len(name)}。"


NAMES = ("aka", "midori", "murasaki")


@pytest.fixture(scope="module")
def arena(arenas, talk, tmp_path_factory):
    """A live arena of three models behind servers."""
    engines = {name: talk(lambda prompt, seed, name=name: says(name, prompt)).engine for name in NAMES}
    served = arenas.Served(tmp_path_factory.mktemp("live"), run=arenas.servers(engines), most_turns=2)
    served.start()
    yield served
    served.stop()


def streamed(voter, duel: str) -> list[dict]:
    status, text = voter.get(f"/api/stream/{duel}")
    assert status == 200
    return [json.loads(line) for line in text.splitlines()]


def test_a_prompt_is_answered_by_two_hidden_models_and_voted_on_over_two_turns(arena, tmp_path) -> None:
    cat, dog = arena.voter("cat"), arena.voter("dog")
    assert cat.get("/api/about")[1] == {"stored": False, "live": True, "most_turns": 2, "most_prompt_chars": 2000}
    status, duel = cat.post("/api/prompt", {"prompt": "猫とは？"})
    assert status == 200
    lines = streamed(cat, duel["id"])
    assert lines[-1] == {"ready": True}
    last = {line["side"]: line["text"] for line in lines[:-1]}
    assert all(text.startswith("猫とは？への答え") for text in last.values())
    assert last["left"] != last["right"]
    # Every later line of a side holds at least what an earlier one did; nothing names a model.
    for side in ("left", "right"):
        texts = [line["text"] for line in lines[:-1] if line["side"] == side]
        assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert not any(model in json.dumps([duel, lines]) for model in NAMES)
    # Nobody else sees, continues or decides it; another window of the voter has the same.
    assert dog.get(f"/api/stream/{duel['id']}")[0] == 404
    assert dog.post("/api/prompt", {"prompt": "犬", "duel": duel["id"]})[0] == 409
    assert dog.vote(duel["id"], "left")[0] == 409
    assert cat.post("/api/prompt", {"prompt": "もう一つ"})[0] == 409
    assert cat.get("/api/open")[1]["id"] == duel["id"]
    # One more turn, and no third.
    assert cat.post("/api/prompt", {"prompt": "では犬は？", "duel": duel["id"]})[0] == 200
    assert streamed(cat, duel["id"])[-1] == {"ready": True}
    assert cat.post("/api/prompt", {"prompt": "鳥は？", "duel": duel["id"]})[0] == 409
    turns = cat.get("/api/open")[1]["turns"]
    assert [turn["prompt"] for turn in turns] == ["猫とは？", "では犬は？"]
    longer = "left" if turns[0]["left"].count("よい") > turns[0]["right"].count("よい") else "right"
    status, names = cat.vote(duel["id"], longer)
    assert (
        status,
        NAMES.index(names[longer]) > NAMES.index(names["left" if longer == "right" else "right"]),
    ) == (200, True)
    run = ArenaRun(database=arena.database, answers=tmp_path / "out.parquet")
    ballots(BallotsConfig(leave_out=()), {}, run=run)
    (row,) = [one for one in pq.read_table(tmp_path / "out.parquet").to_pylist() if one["voter"] == "cat"]
    assert (row["kind"], row["turns"], row["prompt"]) == ("live", 2, "猫とは？\n\nでは犬は？")
    assert row["answer_a"] == "\n\n".join(turn["left"] for turn in turns)


def test_a_voter_gets_other_pairs_on_the_same_words_and_then_none(arena) -> None:
    cat, pairs = arena.voter("again"), set()
    for prompt in ("ＡＢＣ とは", "abc　とは", " ABC とは "):
        _, duel = cat.post("/api/prompt", {"prompt": prompt})
        streamed(cat, duel["id"])  # to its end, since a vote counts only when both answers are there
        status, names = cat.vote(duel["id"], "tie")
        assert status == 200
        pairs.add(frozenset(names.values()))
    assert len(pairs) == 3
    assert cat.post("/api/prompt", {"prompt": "abc とは"})[0] == 409
    assert cat.post("/api/prompt", {"prompt": "   "})[0] == 422
    assert cat.post("/api/prompt", {"prompt": "長" * 2001})[0] == 422


def test_a_model_that_fails_closes_the_duel_and_is_not_named(arena) -> None:
    cat = arena.voter("unlucky")
    _, duel = cat.post("/api/prompt", {"prompt": "壊れろ"})
    status, text = cat.get(f"/api/stream/{duel['id']}")
    assert status in (200, 404)
    assert not any(model in text for model in NAMES) if status == 200 else True
    assert cat.get("/api/open")[1] == {"done": True}
    assert cat.vote(duel["id"], "left")[0] == 409
    _, again = cat.post("/api/prompt", {"prompt": "猫"})
    assert streamed(cat, again["id"])[-1] == {"ready": True}
    store = Store(arena.database)
    with store.transaction() as database:
        assert database.execute("SELECT voided FROM duels WHERE id = ?", (duel["id"],)).fetchone() == (FAILED,)
    assert "failed" in [what for _, _, what, _ in store.events()]
    store.close()


def test_answers_lost_with_a_server_that_died_close_their_duel(arena) -> None:
    # What a server that was killed while models wrote leaves behind.
    store = Store(arena.database)
    assert store.begin("lonely", NAMES, "猫は？") is not None
    store.close()
    voter = arena.voter("lonely")
    assert voter.get("/api/open")[1] == {"done": True}
    _, duel = voter.post("/api/prompt", {"prompt": "犬は？"})
    assert streamed(voter, duel["id"])[-1] == {"ready": True}


@pytest.mark.timeout(240)
def test_two_checkpoints_answer_while_one_watches(arenas, models, tmp_path) -> None:
    arena = arenas.Served(
        tmp_path,
        checkpoints=models,
        run='engine = {type = "transformers", device = "cpu", threads = 1}\n',
        **{"sampling.max_tokens": 60, "sampling.temperature": 1.0},
    )
    try:
        arena.start()
        cat = arena.voter("cat")
        _, duel = cat.post("/api/prompt", {"prompt": "猫は水が"})
        lines = streamed(cat, duel["id"])
        assert lines[-1] == {"ready": True}
        assert {line["side"] for line in lines[:-1]} == {"left", "right"}
        assert cat.vote(duel["id"], "tie")[0] == 200
    finally:
        arena.stop()
