"""Open questions: turns are answered one after another, and a judge sees what came before, references and criteria."""

import json

import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import BunbukuError, read_sections
from bunbuku_eval import AgreeConfig, GenerateConfig, JudgeConfig, agree, generate, judge
from bunbuku_eval.calibration import believed, calibrate
from bunbuku_eval.tasks.open import TALKS, ElyzaTasks100, JapaneseMTBench


def lines(path, rows) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def data(tmp_path):
    lines(
        tmp_path / "japanese_mt_bench_question.jsonl",
        [
            {"question_id": 1, "category": "writing", "turns": ["春の詩を書いて。", "短くして。"]},
            {"question_id": 2, "category": "math", "turns": ["3足す4は？", "その2倍は？"]},
        ],
    )
    lines(
        tmp_path / "reference.jsonl",
        [
            {
                "question_id": 2,
                "model_id": "x",
                "choices": [{"index": 0, "turns": ["答えは七です。", "答えは十四です。"]}],
            }
        ],
    )
    lines(
        tmp_path / "elyza_tasks_100.jsonl",
        [{"instruction": "案を二つ。", "input": "", "output": "手本の案", "eval_aspect": "二つでなければ減点"}],
    )
    return tmp_path


def rows(report, name="items.parquet") -> list[dict]:
    return pq.read_table(report.dir / name).to_pylist()


@pytest.fixture
def answered(place, models, data, talk):
    def run(says, **changes):
        chosen = {
            "prompts": [],
            "tasks": [{"type": "japanese_mt_bench", "references_file": "reference.jsonl"}, "elyza_tasks_100"],
        }
        return generate(
            place("talks"),
            GenerateConfig.model_validate(chosen | changes),
            {"m": models["first"]},
            data,
            run=talk(says),
        )

    return run


def good(prompt: str, seed: int) -> str:
    return f"「{prompt}」ですね。はい、次のように考えます。"


def test_turns_are_asked_in_order_with_what_the_model_itself_said_before(answered) -> None:
    found = rows(answered(good))
    assert [(row["name"], row["turn"], row["turns"]) for row in found] == [
        ("japanese_mt_bench/1", 1, 2), ("japanese_mt_bench/1", 2, 2), ("japanese_mt_bench/2", 1, 2),
        ("japanese_mt_bench/2", 2, 2), ("elyza_tasks_100/1", 1, 1),
    ]  # fmt: skip
    second = found[1]
    assert second["history"] == [["春の詩を書いて。", good("春の詩を書いて。", 0)]]
    assert (
        second["sent"]
        == f"[user]\n春の詩を書いて。\n\n[assistant]\n{good('春の詩を書いて。', 0)}\n\n[user]\n短くして。"
    )
    assert [row["temperature"] for row in found] == [0.7, 0.7, 0.0, 0.0, 0.0]
    assert (found[3]["reference"], found[1]["reference"]) == ("答えは十四です。", "")
    assert found[4]["criteria"] == "二つでなければ減点"


def test_a_turn_that_fails_ends_its_conversation_and_no_other(answered) -> None:
    report = answered(lambda prompt, seed: 400 if prompt == "3足す4は？" else good(prompt, seed))
    found = rows(report)
    failed = [row for row in found if row["failure"]]
    assert [(row["name"], row["turn"]) for row in failed] == [("japanese_mt_bench/2", 1)]
    assert "out of order" in failed[0]["failure"]
    assert len(found) == 4
    assert report.manifest.metrics["failed.m"] == 1
    assert any(text.startswith("Incomplete: 1 of 3") for text in read_sections(report)[0].paragraphs)


def test_if_no_question_is_answered_it_is_one_sentence(answered) -> None:
    with pytest.raises(BunbukuError, match="none of 3 questions was answered, the first for this reason: rejected"):
        answered(lambda prompt, seed: 400)


def test_a_judge_sees_history_reference_and_criteria_and_another_prompt_for_a_category(place, answered, talk) -> None:
    seen: list[str] = []

    def says(prompt: str, seed: int) -> str:
        seen.append(prompt)
        return "[[9]]" if prompt.startswith("算数") else "[[5]]"

    config = JudgeConfig(
        judge="talker", prompts={"math": "算数を{low}から{high}で。{history}{question}{reference}{answer}"}
    )
    report = judge(place("judge"), config, {"m": answered(good)}, run=talk(says))
    assert report.manifest.metrics["rating.m.math"] == 9
    assert report.manifest.metrics["rating.m.writing"] == 5
    by_id = {row["id"]: row for row in rows(report, "judgements.parquet")}
    second = by_id["chat/japanese_mt_bench/2/0/turn 2"]
    assert second["prompt"].startswith("算数を1から10で。[これまでの会話]\n[利用者]\n3足す4は？")
    assert "[参考となる回答]\n答えは十四です。" in second["prompt"]
    assert "[採点の観点]\n二つでなければ減点" in by_id["chat/elyza_tasks_100/1/0"]["prompt"]
    assert "[これまでの会話]" not in by_id["chat/elyza_tasks_100/1/0"]["prompt"]
    assert len({row["template_sha256"] for row in by_id.values()}) == 2
    assert all(len(row["prompt_sha256"]) == 64 for row in by_id.values())
    assert len({row["seed"] for row in by_id.values()}) == len(by_id)
    tables = [table.caption for table in read_sections(report)[0].tables]
    assert tables[1] == "Mean rating by category, with its 95 % interval"
    assert (report.dir / str(report.spec.page)).is_file()


def test_pairs_over_turns_show_both_conversations(place, models, data, talk) -> None:
    config = GenerateConfig.model_validate({"prompts": [], "tasks": ["japanese_mt_bench"]})
    both = {
        name: generate(
            place(name),
            config,
            {name: models["first"]},
            data,
            run=talk(lambda p, s, n=name: f"私は{n}です。{p}のことですね。"),
        )
        for name in ("apple", "pear")
    }
    report = judge(place("judge"), JudgeConfig(judge="talker", kind="pair"), both, run=talk(lambda p, s: "[[A]]"))
    found = rows(report, "judgements.parquet")
    assert len(found) == 8  # two questions, two turns, two orders
    prompt = next(row["prompt"] for row in found if row["id"].endswith("/1/0/turn 2") and not row["swapped"])
    left, right = prompt.partition("[回答B]")[::2]
    assert "私はappleです。春の詩を書いて。" in left
    assert "私はpearです。春の詩を書いて。" in right


def test_at_temperature_nought_an_unread_verdict_is_asked_for_by_a_reminder(place, answered, talk) -> None:
    def says(prompt: str, seed: int) -> str:
        return "評価：[[6]]" if prompt.startswith("最後の行に「評価") else "よい回答ですが、迷います。"

    report = judge(place("judge"), JudgeConfig(judge="talker"), {"m": answered(good)}, run=talk(says))
    metrics = report.manifest.metrics
    assert (metrics["unparsed"], metrics["retried"], metrics["reminded"], metrics["rating.m"]) == (0, 5, 5, 6)
    assert all(row["reminded"] and row["attempts"] == 2 for row in rows(report, "judgements.parquet"))


def test_a_reply_that_did_not_come_is_asked_for_again_at_temperature_nought_too(place, answered, talk) -> None:
    tries: dict[str, int] = {}

    def says(prompt: str, seed: int) -> str | int:
        tries[prompt] = tries.get(prompt, 0) + 1
        return 400 if tries[prompt] == 1 else "[[7]]"

    report = judge(place("judge"), JudgeConfig(judge="talker"), {"m": answered(good)}, run=talk(says))
    assert (report.manifest.metrics["failed"], report.manifest.metrics["rating.m"]) == (0, 7)


def test_a_judge_that_is_down_leaves_a_log(place, answered, talk) -> None:
    with pytest.raises(BunbukuError) as caught:
        judge(place("judge"), JudgeConfig(judge="talker"), {"m": answered(good)}, run=talk(lambda p, s: 400))
    path = str(caught.value.hint).rpartition(" is in ")[2]
    log = pq.read_table(path).to_pylist()
    assert len(log) == 5
    assert all("out of order" in row["failure"] and row["prompt"] for row in log)


def test_a_judge_is_calibrated_against_people(place, answered, talk, tmp_path) -> None:
    said = {1: 4.0, 2: 6.0}
    report = judge(
        place("judge"), JudgeConfig(judge="talker"), {"m": answered(good, tasks=["japanese_mt_bench"])},
        run=talk(lambda p, s: "[[4]]" if "春の詩" in p else "[[6]]"),
    )  # fmt: skip
    found = rows(report, "judgements.parquet")
    people = [f"m,{row['id']},{said[1 if '/1/' in row['id'] else 2] - 2}" for row in found]
    (tmp_path / "people.csv").write_text("\n".join(["model_a,id,rating", *people]))
    settled = agree(place("agree"), AgreeConfig(), {"talker": report}, tmp_path / "people.csv")
    assert settled.manifest.metrics["bias.talker"] == 2
    assert settled.manifest.metrics["slope.talker"] == pytest.approx(1)
    assert settled.manifest.metrics["bias.talker.low"] == settled.manifest.metrics["bias.talker.high"] == 2


def test_a_calibration_covers_the_truth_as_often_as_it_says() -> None:
    import numpy as np

    random, inside = np.random.default_rng(1), 0
    for trial in range(150):
        people = random.normal(5, 2, 60)
        judge = (people - 1) / 0.5 + random.normal(0, 1.0, 60)
        found = calibrate(judge.tolist(), people.tolist(), seed=trial, rounds=200)
        truth = float((judge - people).mean())
        assert found.bias == pytest.approx(truth)
        inside += found.bias_interval.low <= float(2 * 4 - 5) <= found.bias_interval.high
    assert 0.88 <= inside / 150 <= 0.99


def test_what_people_say_where_a_judge_says_so_has_its_interval() -> None:
    share, span, total = believed([("a", "a")] * 8 + [("a", "b")] * 2 + [("b", "b")] * 5)["a", "a"]
    assert (share, total) == (0.8, 10)
    assert span.low < 0.8 < span.high


def test_bad_files_of_questions_are_one_sentence(tmp_path) -> None:
    path = tmp_path / "q.jsonl"
    for row, said in (
        ({"question_id": 1, "category": "math"}, "has no list of `turns`"),
        ({"question_id": 1, "turns": []}, "asks nothing"),
        ({"question_id": 1, "turns": [" "]}, "asks nothing"),
    ):
        lines(path, [row])
        with pytest.raises(BunbukuError, match=said):
            JapaneseMTBench().read(path)
    lines(path, [{"question_id": 1, "turns": ["a"]}] * 2)
    with pytest.raises(BunbukuError, match="has the id '1', as one before it has"):
        JapaneseMTBench().read(path)
    lines(path, [{"instruction": "a"}])
    with pytest.raises(BunbukuError, match="has no 'output'"):
        ElyzaTasks100().read(path)


def test_every_open_task_has_a_licence_and_an_origin() -> None:
    assert len(TALKS) == 4
    assert all(one.licence and one.origin for one in TALKS)
