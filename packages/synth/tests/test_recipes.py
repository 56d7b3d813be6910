"""The recipes that teachers write, each against a real server that writes the same reply to the same request."""

from collections import Counter
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Config, Dialogues, Draft, Report, load, stage
from bunbuku_synth import GenerateConfig, GenerateRun, generate, read_items
from bunbuku_synth.answers import same_answer
from bunbuku_synth.language import normalized
from bunbuku_synth.sources import Library
from bunbuku_synth.tasks import (
    Chained,
    Debate,
    Facts,
    Instruct,
    Rephrase,
    SelfReward,
    Solve,
    Textbook,
    Transcript,
)
from bunbuku_synth.tasks.instruct import MANNERS
from bunbuku_synth.tasks.rephrase import STYLES, copied_share
from bunbuku_synth.tasks.textbook import Goal, read_curriculum


def _scribe() -> Any:
    spec = spec_from_file_location("scribe", Path(__file__).with_name("scribe.py"))
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIBE = _scribe()


@pytest.fixture
def server() -> Iterator[Any]:
    with SCRIBE.Scribe() as server:
        yield server


@pytest.fixture
def run(tmp_path: Path, corpus: Any, server: Any) -> Any:
    """Make a task; its items, and the reasons of what was dropped."""

    def make(task: Any, **inputs: Any) -> tuple[list[Any], Counter[str]]:
        config = GenerateConfig(tasks=(task,), teacher="writer", seed=4)
        made = generate(tmp_path / task.type, config, corpus, run=GenerateRun(engine=server.engine("writer")), **inputs)
        files = made.files("dropped") if "dropped" in made.manifest.parts else ()
        rows = [row for file in files for row in pq.read_table(made.path(file)).to_pylist()]
        return list(read_items(made)), Counter(row["reason"] for row in rows)

    return make


def test_a_solution_is_kept_only_if_it_ends_in_the_exact_answer(run: Any, server: Any):
    task = Solve(count=12, attempts=3)
    starts = list(task.starts(Library(None), seed=4))  # pyright: ignore[reportArgumentType]
    server.answers = {
        start.words["question"]: f"式を立てて考えます。\n答え: {start.words['right']}" for start in starts
    }
    items, reasons = run(task)
    assert len(items) + reasons["none_right"] == 12 and len(items) > 6
    right = {start.words["question"]: start.words["right"] for start in starts}
    assert all(item.said.endswith(f"答え: {right[item.prompt[0].content]}") for item in items)
    assert max(Counter(body["messages"][-1]["content"] for body in server.seen).values()) <= 3


def test_a_program_is_kept_only_if_it_passes_its_tests(run: Any, server: Any):
    task = Solve(count=6, attempts=2, problems="code")
    starts = list(task.starts(Library(None), seed=4))  # pyright: ignore[reportArgumentType]
    for n, start in enumerate(starts):
        challenge = task._challenge(n, 4)
        source = challenge.source if n % 3 else f"def {challenge.function}(x):\n    return 'wrong'\n"
        server.answers[start.words["question"]] = f"順に処理します。\n```python\n{source}```"
    items, reasons = run(task)
    kept = {item.prompt[0].content for item in items}
    assert kept and kept <= {start.words["question"] for n, start in enumerate(starts) if n % 3}
    assert len(items) + reasons["none_right"] == 6


def test_a_problem_that_a_teacher_poses_is_kept_if_solutions_agree(run: Any):
    items, reasons = run(Solve(count=12, problems="posed", attempts=4, agree=3))
    assert len(items) + reasons["no_agreement"] + reasons["repetitive"] == 12
    assert items and reasons["no_agreement"]
    assert all("\n答え: " in item.said for item in items)


def test_a_textbook_has_its_chapters_and_exercises_and_names_its_goal(run: Any):
    goals = (
        Goal(subject="算数", id="ratio", says="割合が分かる"),
        Goal(subject="理科", id="ions", says="イオンが分かる"),
    )
    items, reasons = run(Textbook(count=4, goals=goals, max_chapters=3))
    assert items and len(items) + reasons.total() == 4
    for item in items:
        assert item.source in ("goal:算数/ratio", "goal:理科/ions")
        assert item.said.count("\n## ") == 3 and "## 練習問題\n\n問1. " in item.said and "解答: " in item.said


def test_every_goal_gets_its_first_book_before_any_gets_its_second():
    task = Textbook(count=50)
    goals = [start.source for start in task.starts(Library(None), seed=0)]  # pyright: ignore[reportArgumentType]
    assert len(set(goals[: len(task.goals)])) == len(task.goals) and goals[len(task.goals)] == goals[0]


def test_a_curriculum_is_a_table_a_subject(tmp_path: Path):
    (tmp_path / "mine.toml").write_text('["音楽"]\nrhythm = "拍子が分かる"\n')
    assert read_curriculum(tmp_path / "mine.toml") == (Goal(subject="音楽", id="rhythm", says="拍子が分かる"),)


def test_a_debate_goes_from_cases_to_a_winner(run: Any):
    items, reasons = run(Debate(count=6))
    assert items and len(items) + reasons.total() == 6
    for item in items:
        assert len(item.messages) == 12 and item.said.rsplit("\n", 1)[1].startswith("勝者: ")
        assert item.messages[0].content.startswith("論題「")
    assert len({item.messages[0].content for item in items}) == len(items)


class Rows(Config):
    exposures: tuple[int, ...]


@stage("test.coverage")
def coverage(draft: Draft, config: Rows) -> Report:
    """Publish what an audit of facts would."""
    rows = [
        {"id": f"f{n}", "subject": f"第{n}の山", "relation": "県", "object": f"第{n}の県", "exposures": seen}
        for n, seen in enumerate(config.exposures)
    ]
    pq.write_table(pa.Table.from_pylist(rows), draft.dir / "facts.parquet")
    return Report(title="Facts")


def test_rare_facts_are_said_again_until_they_are_said_enough(tmp_path: Path, run: Any):
    audit: Artifact[Report] = coverage(tmp_path / "audit", Rows(exposures=(0, 9, 2, 1)))
    task = Facts(count=40, enough=4, per_fact=3)
    made = Counter(start.source for start in task.starts(Library(None, None, audit), seed=1))  # pyright: ignore[reportArgumentType]
    assert made == {"fact:f0": 3, "fact:f3": 3, "fact:f2": 2}
    items, reasons = run(task, coverage=audit)
    assert items and len(items) + reasons.total() == 8 and reasons["fact_not_named"]
    for item in items:
        number = item.source[-1]
        assert f"第{number}の山" in item.said and f"第{number}の県" in item.said


def test_facts_ask_for_an_audit(run: Any):
    with pytest.raises(BunbukuError, match="no audit of them was given"):
        run(Facts(count=3))


def test_a_style_is_kept_or_the_talk_is_not(run: Any):
    items, reasons = run(
        Instruct(count=16, manners=tuple(one for one in MANNERS if one.name in ("schoolmate", "polite")))
    )
    assert items and len(items) + reasons.total() == 16
    assert reasons["manner_not_kept"] > 4  # that teacher is polite, always
    assert not any("タメ口" in item.messages[0].content for item in items)


def test_talks_about_passages_begin_with_them(run: Any):
    task = Instruct(count=6, begin="passages", min_chars=40, max_chars=140, manners=MANNERS[:1], max_turns=2)
    items, _ = run(task)
    assert items
    for item in items:
        assert item.source and "#" in item.source
        assert len(item.messages) == 4 and len(item.messages[0].content.split("\n\n")) == 2


def test_what_a_rephrasing_copies_is_measured():
    text = "".join(chr(ord("一") + n) for n in range(90))
    assert copied_share(text, text) == 1 and copied_share(text, text[::-1]) == 0
    assert 0.45 < copied_share(text, text[:45] + text[:45][::-1]) <= 0.51


def test_every_style_has_its_own_name_and_an_unknown_one_is_refused():
    assert len({style.name for style in STYLES}) == len(STYLES) == 8
    with pytest.raises(ValueError, match="`only` names 'poem'"):
        Rephrase(count=1, only=("poem",))


def test_talks_from_keywords_name_them_all_at_once(run: Any):
    items, reasons = run(Instruct(count=14, begin="keywords", together=2, manners=MANNERS[:1], max_turns=2))
    assert items and reasons["keyword_missing"] and len(items) + reasons.total() == 14
    for item in items:
        document, _, words = item.source.partition("#")
        assert document.startswith("toy:") and not words


def test_one_s_own_keywords_are_put_together_without_repeating_any_set(tmp_path: Path, run: Any):
    task = Instruct(count=40, begin="keywords", keywords=("駅", "海", "本", "馬", "橋"), together=2)
    drawn = [start.words["words"] for start in task.starts(Library(None), seed=3)]  # pyright: ignore[reportArgumentType]
    assert len(drawn) == len({frozenset(words.split("・")) for words in drawn}) == 10
    with pytest.raises(ValueError, match="`together` 3 is more than there are `keywords`, 2"):
        Instruct(count=1, begin="keywords", keywords=("駅", "海"))


def test_problems_grow_harder_while_their_solutions_agree(run: Any, server: Any, tmp_path: Path):
    task = SelfReward(count=12, rounds=3, attempts=4, agree=3, judge="teacher")
    items, reasons = run(task)
    seen = [body["messages"][-1]["content"] for body in server.seen]
    solved = Counter(asked.partition("\n\n順を追って")[0] for asked in seen if "順を追って考え" in asked)
    harder = [asked for asked in seen if "より難しい問題を一つ" in asked]
    assert items and reasons["no_agreement"]
    # A harder one is asked for after each that was kept, but the last, and what it follows is shown.
    assert set(solved.values()) == {4}
    kept = {item.prompt[0].content for item in items}
    assert all(any(question in asked for question in kept) for asked in harder) and 0 < len(harder) <= len(items)
    assert len(items) > len({item.template for item in items})
    for item in items:
        answers = [body for body in server.seen if item.prompt[0].content in body["messages"][-1]["content"]]
        assert len(answers) >= 4 and "\n答え: " in item.said
    metrics = load(tmp_path / "self_reward", Dialogues).manifest.metrics
    orders = [metrics.get(f"noted.self_reward.{name}", 0) for name in ("orders_agree", "orders_disagree", "unparsed")]
    compared = sum("答えA:\n" in asked for asked in seen)
    assert sum(orders) == compared / 2 > 0 and orders[2] > 0
    assert metrics["rounds.self_reward.most"] > metrics["rounds.self_reward.least"] == 0


def test_the_best_solution_is_the_one_that_beats_the_others_in_both_orders():
    task = SelfReward(count=1, rounds=1, attempts=3, agree=2)
    words = {f"solve1_{n}.answer": answer for n, answer in ((1, "12"), (2, "十二"), (3, "13"))}
    assert same_answer("12", "12円") and task.kept(words, 1) == "solve1_1"
    assert task.kept({**words, "there1_2": "B", "back1_2": "A"}, 1) == "solve1_2"
    assert (
        task.kept({**words, "there1_2": "B", "back1_2": "B"}, 1) == "solve1_1"
    )  # the second place, whatever stands there
    assert task.kept({**words, "there1_3": "B", "back1_3": "A"}, 1) is None  # nobody comes to its answer
    with pytest.raises(ValueError, match="`agree` 5 is more than `attempts` 4"):
        SelfReward(count=1, agree=5)


def test_a_rival_lost_only_if_it_was_compared_with_the_kept_solution_and_lost_both_ways():
    task = SelfReward(count=1, rounds=1, attempts=4, agree=2)
    answers = {"solve1_1": "12", "solve1_2": "12", "solve1_3": "13", "solve1_4": "14"}
    words = {name: f"答え: {answer}" for name, answer in answers.items()}
    words |= {f"{name}.answer": answer for name, answer in answers.items()}
    lost = {"there1_3": "A", "back1_3": "B", "there1_4": "A", "back1_4": "A"}
    assert task.rivals(words | lost, 1, "solve1_1") == {"solve1_3": "judge", "solve1_4": "agreement"}
    # Whoever was beaten on the way is not beaten by the one that came after.
    later = {"there1_2": "A", "back1_2": "B", "there1_3": "B", "back1_3": "A", "there1_4": "B", "back1_4": "A"}
    assert task.rivals(words | later | {"solve1_4": "答え: 12", "solve1_4.answer": "12"}, 1, "solve1_4") == {
        "solve1_3": "judge"
    }
    unread = {"solve1_3.answer": "", "solve1_4": "答え: 分からない", "solve1_4.answer": "分からない"}
    assert task.rivals(words | lost | unread, 1, "solve1_1") == {}


def test_a_transcript_becomes_arguments_whose_quotations_stand_in_it(run: Any, tmp_path: Path):
    items, reasons = run(Transcript(count=12, min_chars=60, max_chars=140))
    assert items and reasons["one_sided"] and len(items) + reasons.total() == 12
    for item in items:
        asked, listed, rebutting, _, judging, judged = (turn.content for turn in item.messages)
        record = asked.partition("\n\n")[2]
        quoted = [line.rpartition("(「")[2].removesuffix("」)") for line in listed.split("\n") if "(「" in line]
        assert quoted and all(normalized(quote) in normalized(record) for quote in quoted)
        assert "どこにもない" not in listed and "【賛成側の" in listed and "【反対側の" in listed
        assert rebutting.rpartition(": ")[2] in listed and "判定" in judging
        assert judged.rsplit("\n", 1)[1].startswith("勝者: ")
    metrics = load(tmp_path / "transcript", Dialogues).manifest.metrics
    assert metrics["noted.transcript.quote_not_found"] >= len(items)


ENGLISH_FIRST: dict[str, Any] = {
    "name": "english_first",
    "count": 8,
    "begin": "things",
    "things": ["潮の満ち引き", "虹", "火山", "雷", "霧", "地震", "台風", "日食"],
    "links": [
        {
            "name": "japanese",
            "teacher": "translator",
            "of": "english",
            "min_ratio": 0.1,
            "wordings": [{"name": "translate", "ask": "次の英文を日本語に訳してください。\n\n{{ english }}"}],
        },
        {
            "name": "english",
            "language": "en",
            "wordings": [{"name": "write", "ask": "{{ thing }}について英語で書いて。"}],
        },
    ],
    "judge": {"at_least": 3, "wordings": [{"name": "faithful", "ask": "{{ english }}\n{{ japanese }}"}]},
    "dialogue": [
        {"role": "user", "content": "{{ thing }}について教えてください。"},
        {"role": "assistant", "content": "{{ japanese }}"},
    ],
}


def test_a_chain_in_the_config_alone_goes_from_teacher_to_teacher(tmp_path: Path, corpus: Any, server: Any):
    task = Chained.model_validate(ENGLISH_FIRST)
    teachers = {"translator": "translator", "judge": "judge"}
    config = GenerateConfig(tasks=(task,), teacher="writer", teachers=teachers)
    engines = {name: server.engine(name) for name in teachers}
    made = generate(tmp_path / "out", config, corpus, run=GenerateRun(engine=server.engine("writer"), engines=engines))
    items, metrics = list(read_items(made)), made.manifest.metrics
    assert items and len(items) == metrics["items.english_first"]
    assert metrics["length_ratio.japanese.english_first.least"] > 0.1
    for item in items:
        assert (item.task, item.teacher, item.template) == (
            "english_first",
            "writer+translator+judge",
            "write@1+translate@1+faithful@1",
        )
    order = [body["model"] for body in server.seen]
    assert order == sorted(order, key=["writer", "translator", "judge"].index) and len(set(order)) == 3


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"judge": {}}, "`judge` has no `wordings`"),
        ({"things": []}, "`things` names none"),
        (
            {"dialogue": [*ENGLISH_FIRST["dialogue"], {"role": "user", "content": "?"}]},
            "the user's, not the assistant's",
        ),
        ({"begin": "pairs"}, "names 'thing': there are only"),
        ({"links": [*ENGLISH_FIRST["links"], ENGLISH_FIRST["links"][1]]}, "the same name"),
    ],
)
def test_a_chain_that_cannot_be_is_refused(changes: dict[str, Any], problem: str):
    with pytest.raises(ValueError, match=problem):
        Chained.model_validate({**ENGLISH_FIRST, **changes})


RIDDLE = """
from typing import Literal
from bunbuku_synth.item import dialogue
from bunbuku_synth.sources import Library
from bunbuku_synth.tasks.chain import ChainTask, Finished, Start, Step, Wording


class Riddle(ChainTask):
    type: Literal["riddle"] = "riddle"
    how: str = "短く"

    @property
    def steps(self):
        return (Step(name="riddle", wordings=(Wording(name="riddle", ask=self.how + "なぞなぞを。{{ thing }}"),)),)

    def starts(self, library: Library, *, seed: int):
        return [Start(str(n), {"thing": f"{n}番"}, None, "CC0-1.0") for n in range(self.count)]

    def finish(self, work):
        return Finished(dialogue("なぞなぞを出して。", work.words["riddle"] + work.words["thing"]))

    asks_again = True
"""


def test_another_package_offers_a_recipe_by_an_entry_point(
    tmp_path: Path, corpus: Any, server: Any, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "site/riddles-1.dist-info").mkdir(parents=True)
    (tmp_path / "site/riddles.py").write_text(RIDDLE)
    (tmp_path / "site/riddles-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: riddles\nVersion: 1\n")
    (tmp_path / "site/riddles-1.dist-info/entry_points.txt").write_text(
        "[bunbuku.recipes]\nriddle = riddles:Riddle\nbroken = riddles:RIDDLES\nno_task = pathlib:Path\n"
    )
    with pytest.raises(ValueError, match="there is no task 'riddle'; there are translate, "):
        GenerateConfig.model_validate({"tasks": [{"type": "riddle", "count": 3}]})
    monkeypatch.syspath_prepend(tmp_path / "site")
    config = GenerateConfig.model_validate(
        {"tasks": [{"type": "riddle", "count": 3, "how": "長く"}], "teacher": "writer"}
    )
    made = generate(tmp_path / "out", config, corpus, run=GenerateRun(engine=server.engine("writer")))
    assert [item.task for item in read_items(made)] == ["riddle"] * 3
    recorded: Any = made.manifest.recipe.config
    assert recorded["tasks"][0]["how"] == "長く"
    assert all("長くなぞなぞを" in body["messages"][-1]["content"] for body in server.seen)
    with pytest.raises(ValueError, match="no subclass of `Task`"):
        GenerateConfig.model_validate({"tasks": [{"type": "no_task", "count": 3}]})
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        GenerateConfig.model_validate({"tasks": [{"type": "riddle", "count": 3, "hwo": "長く"}]})
