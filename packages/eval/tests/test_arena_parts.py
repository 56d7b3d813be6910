"""The parts of the arena by themselves: links, limits, suspects, the leaderboard, moderation, imports."""

import csv
from itertools import pairwise, product
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import BunbukuError
from bunbuku_eval.arena.board import Board, View
from bunbuku_eval.arena.imports import import_votes
from bunbuku_eval.arena.limits import Limit
from bunbuku_eval.arena.links import voter_of
from bunbuku_eval.arena.moderation import moderate
from bunbuku_eval.arena.store import Store
from bunbuku_eval.arena.suspects import suspicions
from bunbuku_eval.arena.tables import Duel, Pool, Turn, Vote
from bunbuku_eval.judging import Shown
from bunbuku_eval.stages.arena import (
    ArenaConfig,
    ArenaRun,
    AuditConfig,
    BallotsConfig,
    ImportConfig,
    InviteConfig,
    ModerateConfig,
    arena,
    audit,
    ballots,
    import_ballots,
    invite,
    moderate_arena,
)

SECRET = "a secret that only this test knows"
NOTHING = Pool({})
MIXED = "abbaababbbaababaabbb"


def pool(questions: int = 30, models: str = "abc") -> Pool:
    return Pool(
        {
            f"q{n}": {
                one: Shown(one, f"q{n}", "odd" if n % 2 else "even", f"質問{n}", "- 項目\n" * (n + 1), ())
                for one in models
            }
            for n in range(questions)
        }
    )


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "arena.sqlite")
    yield made
    made.close()


def drawn(store: Store, voter: str, questions: Pool) -> Duel:
    duel = store.duel(voter, questions)
    assert duel is not None
    return duel


def a_vote(
    voter: str, number: int, winner: str, *, seconds: float = 60.0, kind: str = "stored", question: str = ""
) -> Vote:
    at = 1000.0 * number
    return Vote(
        f"{voter}{number}", voter, kind, question or f"q{number}", "", "a", "b", winner, "", at, at, at + seconds
    )


def honest(voter: str, count: int = 60, *, seed: int = 0) -> list[Vote]:
    draws = np.random.default_rng(seed).choice(["a", "b", "tie", "both_bad"], count, p=[0.42, 0.42, 0.1, 0.06])
    return [a_vote(voter, n, str(one)) for n, one in enumerate(draws)]


def test_links_are_written_for_those_who_are_invited(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("BUNBUKU_ARENA_SECRET", SECRET)
    invite(InviteConfig(voters=("猫田", "inu@example.org")), run=ArenaRun(links=tmp_path / "links.csv"))
    rows = list(csv.DictReader((tmp_path / "links.csv").read_text(encoding="utf-8").splitlines()))
    assert [voter_of(row["link"].rpartition("/")[2], secret=SECRET) for row in rows] == ["猫田", "inu@example.org"]
    with pytest.raises(BunbukuError, match="a voter's name is"):
        invite(InviteConfig(voters=("a b",)), run=ArenaRun(links=tmp_path / "links.csv"))


def test_a_short_secret_is_refused(monkeypatch) -> None:
    monkeypatch.setenv("BUNBUKU_ARENA_SECRET", "short")
    with pytest.raises(BunbukuError, match="has 5 characters, and needs 16"):
        invite(InviteConfig(voters=("a",)))


def test_an_arena_with_nothing_to_compare_does_not_open() -> None:
    with pytest.raises(BunbukuError, match="nothing to compare"):
        arena(ArenaConfig(), {}, {})


def test_a_bucket_fills_again() -> None:
    now = [0.0]
    limit = Limit(per_second=2.0, burst=1, clock=lambda: now[0])
    assert [limit.allows("a"), limit.allows("a")] == [True, False]
    now[0] = 0.5
    assert limit.allows("a")


def test_buckets_of_many_strangers_do_not_fill_the_memory() -> None:
    now = [0.0]
    limit = Limit(per_second=1.0, burst=1, clock=lambda: now[0])
    for n in range(25_000):
        now[0] += 0.001
        assert limit.allows(f"10.0.{n // 250}.{n % 250}")
    assert len(limit._left) <= 10_001
    assert not limit.allows(f"10.0.{24_999 // 250}.{24_999 % 250}")


@pytest.mark.parametrize("text", ["", "~~", "a~1~é", "YQ~4000000000~" + "0" * 64])
def test_a_token_that_was_not_signed_is_nobodys(text) -> None:
    assert voter_of(text, secret=SECRET) is None


def test_there_is_nothing_to_take_home_before_the_first_vote(tmp_path, store) -> None:
    with pytest.raises(BunbukuError, match="is not there"):
        ballots(BallotsConfig(), {}, run=ArenaRun(database=Path(tmp_path / "none.sqlite")))
    with pytest.raises(BunbukuError, match="has no votes yet"):
        ballots(BallotsConfig(), {}, run=ArenaRun(database=tmp_path / "arena.sqlite"))


def test_a_file_of_other_tables_is_refused(tmp_path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "old.sqlite") as old:
        old.execute("CREATE TABLE duels (id TEXT)")
    with pytest.raises(BunbukuError, match="tables of version 0"):
        Store(tmp_path / "old.sqlite")


def test_sides_are_balanced_for_each_voter_and_cannot_be_foretold(store) -> None:
    questions = pool(120, "ab")
    sides = []
    for _ in range(120):
        duel = drawn(store, "cat", questions)
        sides.append(duel.left == "a")
        store.vote("cat", duel.id, "tie", [])
    leans = np.cumsum(np.where(sides, 1, -1))
    assert (
        np.abs(leans).max() <= 12
    )  # a fair coin goes past 12 in half of all such series, this one in one of thousands
    runs = sum(one != other for one, other in pairwise(sides))
    assert 50 <= runs <= 110  # neither blocks nor strict turns


# What detection finds, and that it leaves people alone.


def test_honest_voters_are_not_suspected() -> None:
    votes = [vote for n in range(30) for vote in honest(f"v{n}", seed=n)]
    assert suspicions(votes, NOTHING) == []


@pytest.mark.parametrize(
    ("why", "choices"),
    [
        ("one_sided", ["a"] * 30),
        ("pattern", ["a", "b"] * 20),
        ("pattern", ["a", "b", "tie"] * 14),
        ("ties", ["tie", "both_bad", "tie", "tie", "both_bad"] * 8),
    ],
)
def test_who_votes_without_reading_is_found(why, choices) -> None:
    votes = [vote for n in range(9) for vote in honest(f"v{n}", seed=n)]
    bot = [a_vote("bot", n, one) for n, one in enumerate(choices)]
    found = suspicions([*votes, *bot], NOTHING)
    assert {one.voter for one in found} == {"bot"}
    assert why in {one.why for one in found}


def test_votes_faster_than_reading_are_found_by_the_length_of_what_was_to_be_read() -> None:
    quick = [a_vote("cat", n, MIXED[n], seconds=2.0) for n in range(20)]
    assert suspicions(quick, NOTHING) == []  # nothing is known of lengths
    long = Pool({f"q{n}": {m: Shown(m, f"q{n}", "", "", "長" * 600, ()) for m in "ab"} for n in range(20)})
    assert [(one.voter, one.why) for one in suspicions(quick, long)] == [("cat", "fast")]


def test_prompts_that_come_again_are_found() -> None:
    again = [a_vote("cat", n, MIXED[n], kind="live", question=f"live/{n % 2}") for n in range(8)]
    own = [a_vote("dog", n, MIXED[n], kind="live", question=f"live/own{n}") for n in range(8)]
    assert [(one.voter, one.why) for one in suspicions([*again, *own], NOTHING)] == [("cat", "prompts")]


def test_imported_votes_without_a_name_are_nobodys() -> None:
    assert suspicions([a_vote("", n, "a", kind="imported") for n in range(50)], NOTHING) == []


# The leaderboard.


def shown_by(board: Board, **view: Any) -> dict[str, Any]:
    shown = board.show(View(**view))
    assert shown is not None
    return shown


def filled(store: Store, questions: Pool, *, voters: int = 4, each: int = 20) -> None:
    for n, _ in product(range(voters), range(each)):
        duel = drawn(store, f"v{n}", questions)
        better = "left" if duel.left < duel.right else "right"
        store.vote(f"v{n}", duel.id, better if crc32(f"{n}{duel.question}".encode()) % 4 else "tie", [])


def test_the_leaderboard_is_fitted_again_when_votes_came_and_time_passed(store) -> None:
    questions, now = pool(), [0.0]
    filled(store, questions)
    board = Board(store, questions, min_votes=10, refit_seconds=5.0, leave_out=(), clock=lambda: now[0])
    first = shown_by(board)
    assert (first["votes"], first["categories"]) == (80, ["even", "odd"])
    filled(store, questions, each=1)
    assert board.show(View()) is first
    now[0] = 6.0
    second = shown_by(board)
    assert second["votes"] == 84
    now[0] = 12.0
    assert board.show(View()) is second  # no vote has come since


def test_the_leaderboard_has_categories_style_and_ties(store) -> None:
    questions = pool()
    filled(store, questions)
    board = Board(store, questions, min_votes=10, refit_seconds=0.0, leave_out=())
    odd, even = shown_by(board, category="odd"), shown_by(board, category="even")
    assert odd["votes"] + even["votes"] == 80
    davidson, styled = {"ties": "davidson"}, {"style": True}
    for view in (styled, davidson, styled | davidson, styled | {"category": "odd"}):
        shown = shown_by(board, **view)
        assert {row["model"] for row in shown["rows"]} == set("abc")
    assert board.show(View("nowhere")) is None


def test_suspects_do_not_move_the_leaderboard(store) -> None:
    questions = pool(200)
    filled(store, questions)
    before = shown_by(Board(store, questions, min_votes=10, refit_seconds=0.0, leave_out=("one_sided",)))
    for _ in range(150):
        duel = drawn(store, "bot", questions)
        store.vote("bot", duel.id, "left", [])
    after = shown_by(Board(store, questions, min_votes=10, refit_seconds=0.0, leave_out=("one_sided",)))
    assert after["rows"] == before["rows"]
    with_bot = shown_by(Board(store, questions, min_votes=10, refit_seconds=0.0, leave_out=()))
    assert with_bot["votes"] == before["votes"] + 150


# Moderation.


def test_a_moderator_hides_voids_and_takes_it_back_and_all_of_it_is_written_down(store, tmp_path, capsys) -> None:
    questions = pool(3, "ab")
    for _ in range(3):
        duel = drawn(store, "cat", questions)
        store.vote("cat", duel.id, "left", [])
    run = ArenaRun(database=tmp_path / "arena.sqlite")
    one = next(iter(store.votes()))

    def act(what: str, on: str) -> int:
        moderate_arena(ModerateConfig(act=what, what=on, why="理由"), run=run)  # pyright: ignore[reportArgumentType]
        return len(list(store.votes()))

    assert [act("void", one.id), act("restore", one.id)] == [2, 3]
    assert [act("hide", one.question), act("unhide", one.question)] == [2, 3]
    assert [act("block", "cat"), act("unblock", "cat")] == [0, 3]
    for what, on in (("void", "nothing"), ("unblock", "nobody"), ("unhide", "q9"), ("restore", one.id)):
        with pytest.raises(BunbukuError, match="there is nothing to"):
            act(what, on)
    acts = [detail for _, _, what, detail in store.events() if what == "moderated"]
    assert [detail.split()[0] for detail in acts] == ["void", "restore", "hide", "unhide", "block", "unblock"]
    audit(AuditConfig(), {}, run=run)
    assert "block cat 理由" in capsys.readouterr().out


def test_a_hidden_question_is_not_asked_again(store) -> None:
    questions = pool(2, "ab")
    duel = drawn(store, "cat", questions)
    moderate(store, "hide", duel.question, "names a person")
    assert store.vote("cat", duel.id, "left", []) is None
    other = None
    for _ in range(3):
        other = store.duel("dog", questions)
        if other is None:
            break
        assert other.question != duel.question
        store.vote("dog", other.id, "tie", [])
    assert other is None


# Imports.


def test_votes_of_a_spreadsheet_are_taken_once(store, tmp_path) -> None:
    from openpyxl import Workbook

    head = ["model_a", "model_b", "winner", "voter", "category", "prompt", "answer_a", "answer_b"]
    rows = [
        ["甲", "乙", ("a", "両方悪い", "tie")[n % 3], f"v{n % 4}", "雑談", f"質問{n}", "長い" * n, "短い"]
        for n in range(30)
    ]
    book = Workbook()
    for row in [head, *rows]:
        book.active.append(row)  # pyright: ignore[reportOptionalMemberAccess]
    book.save(tmp_path / "votes.xlsx")
    with (tmp_path / "votes.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    assert import_votes(store, tmp_path / "votes.xlsx") == (30, 0)
    assert import_votes(store, tmp_path / "votes.csv") == (0, 30)
    votes = list(store.votes())
    assert [sum(vote.winner == one for vote in votes) for one in ("a", "b", "tie", "both_bad")] == [10, 0, 10, 10]
    assert Turn("質問3", "長い" * 3, "短い") in {vote.turns[0] for vote in votes}
    run = ArenaRun(database=tmp_path / "arena.sqlite", answers=tmp_path / "out.parquet")
    ballots(BallotsConfig(), {}, run=run)
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 30
    shown = Board(store, NOTHING, min_votes=10, refit_seconds=0.0, leave_out=()).show(View("雑談", style=True))
    assert shown is not None
    assert shown["votes"] == 30


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("甲,甲,a", "against itself"),
        ("甲,,a", "has no 'model_b'"),
        ("甲,乙,maybe", "has the winner 'maybe'"),
    ],
)
def test_a_row_that_is_no_vote_stops_the_import_whole(store, tmp_path, row, said) -> None:
    (tmp_path / "votes.csv").write_text(f"model_a,model_b,winner\n甲,乙,a\n{row}\n", encoding="utf-8")
    with pytest.raises(BunbukuError, match=f"row 2 of .*{said}"):
        import_ballots(ImportConfig(), tmp_path / "votes.csv", run=ArenaRun(database=tmp_path / "arena.sqlite"))
    assert list(store.votes()) == []


def test_what_is_no_workbook_is_said_to_be_none(store, tmp_path) -> None:
    (tmp_path / "votes.xlsx").write_text("model_a,model_b\n")
    with pytest.raises(BunbukuError, match="is no Excel workbook"):
        import_votes(store, tmp_path / "votes.xlsx")
