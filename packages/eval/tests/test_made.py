"""Tasks that are checked or run: constraints, system prompts, memory, programs, translations, truth, many subjects."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from bunbuku_contracts import BunbukuError
from bunbuku_eval import mark
from bunbuku_eval.answers import Answered, Condition
from bunbuku_eval.estimates import Grid, consistency, pass_at
from bunbuku_eval.metrics import bleu
from bunbuku_eval.prompting import prompt_of
from bunbuku_eval.tasks import (
    JMMLU,
    Instructions,
    IntoEnglish,
    IntoJapanese,
    JCommonsenseQA,
    JHumanEval,
    JMMLURobust,
    JTruthfulQA,
    Memory,
    SystemPrompts,
    Truth,
    pass_at_k,
)
from bunbuku_eval.tasks.checks import Characters, Ending, Json, Points, Script, Sentences, Starting, Words
from bunbuku_inference import Message

KEPT: list[tuple[Any, tuple[str, ...], tuple[str, ...]]] = [
    (Json(keys=("題名", "要約")), ('{"題名": "a", "要約": "b"}',), ('{"題名": "a"}', '```json\n{"題名": "a", "要約": "b"}\n```', "[1]", "")),
    (Points(count=2), ("- 猫\n- 犬", "1. 猫\n2. 犬"), ("- 猫", "- 猫\n- 犬\n- 馬", "猫と犬")),
    (Characters(least=3, most=5), ("ねこだ。", "ね こ\nだ"), ("ねこ", "ねこがいます", "")),
    (Sentences(count=2), ("猫がいる。犬もいる。",), ("猫がいる。", "猫。犬。馬。", "")),
    (Words(present=("傘",), absent=("雨",)), ("傘を持つ",), ("傘と雨", "かさ", "")),
    (Script(script="hiragana"), ("ねこは、3びき。らーめん",), ("猫", "ネコ", "cat", "123")),
    (Script(script="katakana"), ("ネコガイル。",), ("ねこ", "猫")),
    (Ending(ending="にゃ"), ("そうだにゃ。いいにゃ！",), ("そうだにゃ。いいよ。", "")),
    (Starting(start="まず"), ("まず、水。",), ("水を、まず。", "")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("check", "kept", "broken"), KEPT, ids=[type(one[0]).__name__ + str(n) for n, one in enumerate(KEPT)]
)
def test_a_constraint_is_kept_or_not(check, kept, broken) -> None:
    assert check.said
    assert [text for text in kept if not check.kept(text)] == []
    assert [text for text in broken if check.kept(text)] == []


def test_items_are_the_same_on_every_machine_and_others_with_another_seed() -> None:
    for make in (Instructions, SystemPrompts, Memory):
        one = make()
        assert one.made() == make().made()
        assert one.digest() == make().digest() != make(make_seed=1).digest()
        assert len({item.id for item in one.made()}) == one.count == 60


def test_who_keeps_to_the_constraint_is_right_and_a_fence_costs_only_the_strict_score() -> None:
    task = Instructions()
    item = next(one for one in task.made() if one.category == "json")
    answer = json.dumps(dict.fromkeys(item.checks[0].keys, "あ"), ensure_ascii=False)  # pyright: ignore[reportAttributeAccessIssue]
    assert mark(task, item, answer)[:3] == (1, 1, True)
    fenced = mark(task, item, f"はい、以下の通りです。\n\n```json\n{answer}\n```")
    assert fenced[:3] == (0, 1, False)
    assert mark(task, item, "JSON にはできません。申し訳ありません。")[:3] == (0, 0, False)


def test_a_system_prompt_and_turns_that_kept_to_it_come_before_the_question() -> None:
    task = SystemPrompts()
    item = next(one for one in task.made() if one.category == "cat" and one.history)
    turns = prompt_of(task.phrasings[0], item, [], style="chat")
    assert isinstance(turns[0], Message)
    assert [turn.role for turn in turns if isinstance(turn, Message)] == [
        "system",
        *["user", "assistant"] * len(item.history),
        "user",
    ]
    assert turns[0].content == item.system
    assert all(check.kept(reply) for check in item.checks for _, reply in item.history)
    plain = prompt_of(task.phrasings[0], item, [], style="plain")
    assert isinstance(plain, str)
    assert plain.startswith(item.system)
    assert plain.endswith("### 応答:\n")
    assert mark(task, item, "春だにゃ。花が咲くにゃ。").strict == 1
    assert mark(task, item, "春です。花が咲きます。").lenient == 0


def test_what_is_asked_from_memory_was_told_once_and_others_values_are_wrong() -> None:
    task = Memory()
    for item in task.made():
        told = [said for said, _ in item.history]
        assert 2 <= len(told) <= 5
        assert sum(item.gold[0] in said for said in told) == 1
        assert all(any(value in said for said in told) for value in item.choices)
        who = item.fields["question"].partition("さん")[0]
        assert item.gold[0] in next(said for said in told if said.startswith(who))
        assert mark(task, item, item.gold[0]).strict == 1
        other = next(value for value in item.choices if value != item.gold[0])
        assert mark(task, item, other).lenient == 0
        assert mark(task, item, f"{item.gold[0]}です。")[:2] == (0, 1)
    assert {len(one.history) + 1 for one in task.made()} == {3, 4, 5, 6}


# Programs.

HEAD = 'from typing import List\n\n\ndef total(numbers: List[int]) -> int:\n    """リストの数の和を返す。\n    >>> total([1, 2])\n    3\n    """\n'
PROGRAM_ROW = {
    "task_id": "JHumanEval/0",
    "prompt": HEAD,
    "entry_point": "total",
    "canonical_solution": "    return sum(numbers)\n",
    "test": "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    assert candidate([1, 2]) == 3\n    assert candidate([]) == 0\n",
}


@pytest.mark.parametrize(
    ("said", "strict", "lenient"),
    [
        (f"{HEAD}    return sum(numbers)\n", 1, 1),
        ("    return sum(numbers)\n", 1, 1),
        ("def total(numbers):\n    return sum(numbers)", 1, 1),
        ("はい。\n```python\ndef total(numbers):\n    return sum(numbers)\n```\n和を返します。", 0, 1),
        ("次の関数です。\n\ndef total(numbers):\n    return sum(numbers)\n\nこれで完成です。", 0, 1),
        ("def total(numbers):\n    return 3", 0, 0),
        (HEAD, 0, 0),
        ("def other(numbers):\n    return sum(numbers)", 0, 0),
        ("import os\nos._exit(0)\ndef total(numbers):\n    return 3", 0, 0),
        ("def total(numbers):\n    while True:\n        pass", 0, 0),
        ("def total(numbers):\n    raise SystemExit(0)", 0, 0),
        ("できません。", 0, 0),
        ("", 0, 0),
    ],
)
def test_a_program_is_right_if_its_tests_pass_in_the_sandbox(said, strict, lenient) -> None:
    task = JHumanEval()
    found = mark(task, task.question(PROGRAM_ROW, "item 1"), said)
    assert (found.strict, found.lenient) == (strict, lenient)


def test_a_head_that_is_no_program_as_it_is_published_becomes_one() -> None:
    row = PROGRAM_ROW | {"prompt": 'FIX = """\nAdd more.\n"""def total(numbers):\n    """和を返す。"""\n'}
    one = JHumanEval().question(row, "item 64")
    assert one.fields["prompt"] == row["prompt"]
    for said in (one.gold[0], "    return sum(numbers)\n", "def total(numbers):\n    return sum(numbers)"):
        assert mark(JHumanEval(), one, said).strict == 1
    assert mark(JHumanEval(), one, "    return 3\n").lenient == 0


def test_a_packed_file_of_programs_reads(tmp_path) -> None:
    (tmp_path / "jhumaneval.jsonl.gz").write_bytes(gzip.compress(json.dumps(PROGRAM_ROW).encode()))
    (one,) = JHumanEval().read(tmp_path / "jhumaneval.jsonl.gz")
    assert mark(JHumanEval(), one, one.gold[0]).strict == 1


def test_pass_at_k_is_the_share_of_draws_with_a_right_one() -> None:
    from itertools import combinations

    for samples, right in ((5, 0), (5, 1), (5, 3), (6, 6), (1, 1)):
        marks = [True] * right + [False] * (samples - right)
        for k in range(1, samples + 1):
            drawn = list(combinations(marks, k))
            assert pass_at_k(samples, right, k) == pytest.approx(sum(any(one) for one in drawn) / len(drawn))


def grid_of(task: Any, questions: list[Any], said: dict[str, list[str]], *, phrasings: bool = False) -> Grid:
    found = []
    for one in questions:
        for seed, text in enumerate(said[one.id]):
            way = Condition(
                "m", task.label, "generation", "chat", f"p{seed}" if phrasings else "p", 0 if phrasings else seed
            )
            found.append(Answered(way, one, "", 0, text, mark(task, one, text)))
    return Grid.of(found)


def test_pass_at_k_of_a_grid_is_the_mean_over_problems() -> None:
    task, right, wrong = JHumanEval(), "    return sum(numbers)\n", "    return 7\n"
    questions = [task.question(PROGRAM_ROW | {"task_id": f"J/{n}"}, "item") for n in range(2)]
    grid = grid_of(task, questions, {"J/0": [right, wrong, wrong, wrong], "J/1": [right] * 4})
    assert pass_at(grid, 1, rounds=20, seed=0).value == pytest.approx((0.25 + 1) / 2)
    assert pass_at(grid, 2, rounds=20, seed=0).value == pytest.approx((0.5 + 1) / 2)


def test_consistency_is_one_half_or_nought_by_how_many_phrasings_agree() -> None:
    task = JCommonsenseQA()
    row = {"question": "?", "label": 0} | {
        f"choice{at}": word for at, word in enumerate(("本", "靴", "皿", "机", "鍵"))
    }
    questions = [task.question(row | {"q_id": n}, "item") for n in range(3)]
    grid = grid_of(
        task, questions, {"0": ["1", "1", "1. 靴"], "1": ["1", "1", "2"], "2": ["1", "2", "3"]}, phrasings=True
    )
    assert consistency(grid, rounds=20, seed=0).value == pytest.approx(0.5)


# Translation.


def test_bleu_of_a_direction_is_sacrebleus_with_the_tokenizer_of_its_language() -> None:
    from sacrebleu.metrics.bleu import BLEU

    said = ["I have two cats.", "It is raining today."]
    right = ["I have two cats at home.", "It rains today."]
    assert bleu(said, right, tokenize="13a") == pytest.approx(BLEU().corpus_score(said, [right]).score)
    said, right = ["猫が二匹います。", "今日は雨が降っている。"], ["家に猫が二匹います。", "今日は雨です。"]
    assert bleu(said, right, tokenize="ja-mecab") == pytest.approx(
        BLEU(trg_lang="ja").corpus_score(said, [right]).score
    )
    assert bleu(said, right, tokenize="ja-mecab") != pytest.approx(bleu(said, right, tokenize="char"))


def test_a_translation_is_read_in_its_direction() -> None:
    row = {"id": "1", "ja": "猫が二匹います。", "en": "There are two cats."}
    into = IntoEnglish(file="f.jsonl", terms="CC0-1.0")
    one = into.question(row, "item 1")
    assert mark(into, one, "There are two cats.")[:3] == (pytest.approx(1), pytest.approx(1), True)
    assert mark(into, one, "訳文は以下の通りです。\n\nThere are two cats.").lenient == pytest.approx(1)
    assert mark(into, one, "訳文は以下の通りです。\n\nThere are two cats.").strict == 0
    assert mark(into, one, "猫が二匹います。").lenient == 0
    back = IntoJapanese(file="f.jsonl", terms="CC0-1.0")
    other = back.question(row, "item 1")
    assert mark(back, other, "「猫が二匹います。」").lenient == pytest.approx(1)
    assert "not_japanese" in mark(back, other, "There are two cats over there.").flags


# Truth.


def test_an_answer_is_true_if_it_is_nearer_to_a_right_one() -> None:
    task = Truth(file="f.jsonl", terms="CC0-1.0")
    row = {"id": "1", "question": "亀は空を飛ぶ？", "correct": ["いいえ、飛びません"], "incorrect": ["はい、飛びます"]}
    one = task.question(row, "item 1")
    assert mark(task, one, "いいえ、亀は飛びません。").strict == 1
    assert mark(task, one, "はい、亀は飛びます。").strict == 0
    assert mark(task, one, "わかりません。").strict == 0
    with pytest.raises(BunbukuError, match="has no 'incorrect' answers"):
        task.question(row | {"incorrect": []}, "item 1")


def test_a_published_table_of_truths_reads(tmp_path) -> None:
    line = "事実（fact）,迷信,亀は飛びますか？,いいえ,\"['いいえ、飛びません。', '飛ばない']\",\"['はい、飛びます。', '飛ばない']\""
    path = tmp_path / "JTruthfulQA.csv"
    path.write_text(
        f"Type,Category,Question,Original Answer,Correct Answers,Incorrect Answers\n{line}\n", encoding="utf-8"
    )
    (one,) = JTruthfulQA().read(path)
    assert (one.gold, one.meanings, one.category) == (
        ("いいえ、飛びません。", "飛ばない"),
        ("はい、飛びます。",),
        "迷信",
    )


# Many subjects.


@pytest.fixture
def subjects(tmp_path) -> Path:
    for folder, name in (("JMMLU", "anatomy"), ("JMMLU", "astronomy"), ("JMMLU_NC_ND", "japanese_civics")):
        (tmp_path / folder).mkdir(exist_ok=True)
        lines = [f"{name}の第{n}問,あ,い,う,え,{'ABCD'[n % 4]}" for n in range(4)]
        (tmp_path / folder / f"{name}.csv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def test_all_subjects_of_a_folder_are_one_task_with_a_category_each(subjects) -> None:
    questions = JMMLU().read(subjects / "JMMLU")
    assert [one.id for one in questions[:2]] == ["anatomy/1", "anatomy/2"]
    assert {one.category for one in questions} == {"anatomy", "astronomy"}
    assert [one.id for one in JMMLU().read(subjects / "JMMLU" / "anatomy.csv")] == ["1", "2", "3", "4"]
    assert len(JMMLU(subjects=("astronomy",)).read(subjects / "JMMLU")) == 4
    with pytest.raises(BunbukuError, match="has no subject alchemy"):
        JMMLU(subjects=("alchemy",)).read(subjects / "JMMLU")


def test_the_licence_is_that_of_the_subjects(subjects) -> None:
    task = JMMLU()
    assert task.licence_of(task.read(subjects / "JMMLU")) == "CC-BY-SA-4.0"
    assert task.licence_of(task.read(subjects / "JMMLU_NC_ND")) == "CC-BY-NC-ND-4.0"
    assert task.licence_of(task.read(subjects)) == "CC-BY-SA-4.0 AND CC-BY-NC-ND-4.0"


def test_robust_questions_show_the_same_choices_in_three_forms(subjects) -> None:
    task = JMMLURobust()
    one = task.read(subjects / "JMMLU")[1]
    shown = [str(prompt_of(phrasing, one, [], style="plain")) for phrasing in task.phrasings]
    assert "A. あ\nB. い" in shown[0]
    assert "@ あ\n$ い" in shown[1]
    assert "D. え\nC. う" in shown[2]
