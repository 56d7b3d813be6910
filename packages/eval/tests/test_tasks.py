"""Tasks: what their rows are, what keeps to the form, and what a patient reader makes of the rest."""

import json
import os
import time
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar, Literal

import bunbuku_eval.tasks
import pytest
from bunbuku_contracts import BunbukuError
from bunbuku_eval import Phrasing, Question, ScoreConfig, Task, mark
from bunbuku_eval.prompting import prompt_of
from bunbuku_eval.tasks import (
    JNLI,
    JSTS,
    MAWPS,
    MGSM,
    JCommonsenseQA,
    JSQuAD,
    Labelled,
    Morality,
    field,
    task_class,
)
from bunbuku_eval.tasks.forms import unwrapped
from bunbuku_eval.tasks.saying import quoted
from bunbuku_eval.tasks.task import examples
from hypothesis import given
from hypothesis import strategies as st

ROWS: dict[str, list[dict[str, Any]]] = {
    "jcommonsenseqa": [
        {"q_id": n, "question": f"{n}番の引き出しに入れるものは？", "label": n % 5}
        | {f"choice{at}": word for at, word in enumerate(("本", "靴", "皿", "机", "鍵"))}
        for n in range(30)
    ],
    "jnli": [
        {"sentence_pair_id": str(n), "sentence1": f"{n}匹の猫がいる。", "sentence2": "動物がいる。", "label": label}
        for n, label in enumerate(("entailment", "contradiction", "neutral") * 10)
    ],
    "jsts": [
        {"sentence_pair_id": str(n), "sentence1": "猫が寝る。", "sentence2": f"猫が{n}回寝る。", "label": n % 6}
        for n in range(30)
    ],
    "jcola": [{"uid": n, "sentence": f"猫{'が' * (n % 2)}寝る。", "label": n % 2} for n in range(30)],
    "jemhopqa": [{"qid": f"q{n}", "question": f"{n}番目の山は？", "answer": f"山{n}岳"} for n in range(30)],
    "morality": [{"ID": n, "sent": f"{n}回お礼を言った", "label": n % 2} for n in range(30)],
    "mawps": [{"idx": n, "question": f"問題：{n}個と2個で何個？\n解答：", "answer": str(n + 2)} for n in range(30)],
}


def default(type: str) -> Task:
    """The task of that type as it is without any settings."""
    return task_class(type).model_validate({})


def written(folder: Path, type: str) -> Path:
    """The rows of a task as a file of its own shape."""
    path = folder / default(type).file
    if type == "jmmlu":  # a folder with a file a subject
        path.mkdir()
        path = path / "anatomy.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    match type:
        case "jsquad":
            paragraphs = [
                {
                    "context": f"町には{n}軒の店がある。青い店は肉屋{n}号だ。",
                    "qas": [{"id": f"s{n}", "question": "青い店は？", "answers": [{"text": f"肉屋{n}号"}]}],
                }
                for n in range(30)
            ]
            path.write_text(json.dumps({"data": [{"title": "町", "paragraphs": paragraphs}]}), encoding="utf-8")
        case "niilc":
            asked = "".join(
                f'<question id="N{n}"><text>{n}番の川は？</text><answers><answer>川{n}</answer></answers></question>'
                for n in range(30)
            )
            path.write_text(f"<questions>{asked}</questions>", encoding="utf-8")
        case "jmmlu":
            lines = [
                f"細胞{n}について正しいものは？,核がある,空である,赤い,動かない,{'ABCD'[n % 4]}" for n in range(30)
            ]
            path.write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
        case "mgsm":
            path.write_text("".join(f"{n}円と3円で何円？\t{n + 3}\n" for n in range(30)), encoding="utf-8")
        case "morality":
            lines = ["ID,sent,label", *(f"{r['ID']},{r['sent']},{r['label']}" for r in ROWS[type])]
            path.write_text("\n".join(lines), encoding="utf-8")
        case _:
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS[type]), encoding="utf-8")
    return path


ALL = ["jcommonsenseqa", "jnli", "jsquad", "jsts", "jcola", "jemhopqa", "niilc", "jmmlu", "mgsm", "mawps", "morality"]


@pytest.mark.parametrize("type", ALL)
def test_a_task_reads_its_own_files_and_its_right_answers_are_right(tmp_path, type) -> None:
    task = default(type)
    questions = task.read(written(tmp_path, type))
    assert len(questions) == 30 == len({one.id for one in questions})
    for one in questions:
        found = mark(task, one, one.gold[0])
        assert (found.strict, found.lenient, found.format_ok, found.flags) == (1, 1, True, ())


@pytest.mark.parametrize("type", ALL)
def test_who_knows_all_and_ignores_the_form_is_right_leniently_and_never_strictly(tmp_path, type) -> None:
    task = default(type)
    for one in task.read(written(tmp_path, type)):
        meaning = one.meanings[one.choices.index(one.gold[0])] if one.meanings else ""
        for said in (
            f"はい、考えてみます。\n答えは「{one.gold[0]}」です。",
            f"{one.gold[0]}. {meaning}" if meaning else "",
        ):
            if said:
                found = mark(task, one, said)
                assert (found.strict, found.lenient, found.format_ok) == (0, 1, False), said


@pytest.mark.parametrize("type", ALL)
@pytest.mark.parametrize(
    "said",
    ["", "。。。", "あのねあのねあのねあのねあのねあのねあのねあのねあのねあのね", "\ufffd\ufffd縺ゅ\ufffd\ufffd"],
)
def test_gibberish_is_flagged_and_worth_nothing(tmp_path, type, said) -> None:
    task = default(type)
    found = mark(task, task.read(written(tmp_path, type))[0], said)
    assert found.degenerate
    assert (found.strict, found.lenient) == (0, 0)


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ("3", "3"),
        ("３", "3"),
        ("3. 机", "3"),
        ("(3)", "3"),
        ("机", "3"),
        ("机です。", "3"),
        ("正解は3番の机です。0番の本ではありません。", "3"),
        ("選択肢1ではなく、答えは 4 です", "4"),
        ("本か机です。", None),
        ("1 と 2", None),
        ("3個あります。", None),
        ("13", None),
        ("3.5", None),
        ("わかりません", None),
    ],
)
def test_a_label_is_found_where_only_one_can_be_meant(said, understood) -> None:
    task = JCommonsenseQA()
    one = task.question(ROWS["jcommonsenseqa"][3], "item 4")
    assert task.understood(said, one) == understood


def test_words_for_a_label_count_and_two_of_them_do_not() -> None:
    task, row = JNLI(), ROWS["jnli"][0]
    one = task.question(row, "item 1")
    assert task.understood("これは含意の関係です。", one) == "entailment"
    assert task.understood("Entailment", one) == "entailment"
    assert task.understood("矛盾でも中立でもありません", one) is None


def test_acceptable_is_not_read_out_of_its_negation() -> None:
    task = default("jcola")
    one = task.question({"uid": 1, "sentence": "猫寝る", "label": 0}, "item 1")
    assert task.understood("この文は容認できない", one) == "0"


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ("8", "8"),
        ("８個", "8"),
        ("30+16-38=8 なので、答えは8円です。", "8"),
        ("3個に5個を足して8個", "8"),
        ("答え: 1,200円", "1200"),
        ("-3", "-3"),
        ("わからない", None),
    ],
)
def test_a_number_is_found_in_a_sentence(said, understood) -> None:
    task = MGSM()
    assert task.understood(said, task.question({"question": "?", "answer": "8"}, "item 1")) == understood


def test_width_does_not_matter() -> None:
    task = MAWPS()
    one = task.question({"idx": 1, "question": "?", "answer": "１２"}, "item 1")
    assert mark(task, one, "12") == mark(task, one, "１２")


def test_a_grade_outside_the_scale_is_not_one() -> None:
    task = JSTS()
    one = task.question(ROWS["jsts"][2], "item 3")
    assert [task.well_formed(said, one) for said in ("2.5", "7", "-1", "2点")] == [True, False, False, False]
    assert task.understood("5段階で2.5です。答えは2.5", one) == "2.5"


@given(st.text(max_size=80))
def test_any_output_gets_marks_between_nothing_and_one(text) -> None:
    for type in ("jcommonsenseqa", "mawps", "jemhopqa", "jsts"):
        task = default(type)
        found = mark(task, task.question(ROWS[type][1], "item 2"), text)
        assert 0 <= found.strict <= found.lenient <= 1
        assert found.strict == 0 or found.format_ok


def test_a_phrasing_is_filled_and_examples_stand_before_the_question_in_both_styles(tmp_path) -> None:
    task = JCommonsenseQA()
    questions = task.read(written(tmp_path, "jcommonsenseqa"))
    shots = examples(questions, shots=3, seed=0, apart_from=questions[0])
    assert len(shots) == 3
    assert questions[0] not in shots
    text = prompt_of(task.phrasings[0], questions[0], shots, style="plain")
    assert isinstance(text, str)
    assert text.count("質問：") == 4
    assert text.endswith("選択肢：0.本,1.靴,2.皿,3.机,4.鍵\n\n### 応答:\n")
    turns = prompt_of(task.phrasings[0], questions[0], shots, style="chat")
    assert [turn.role for turn in turns if not isinstance(turn, str)] == ["user", "assistant"] * 3 + ["user"]


def test_a_plain_prompt_can_begin_as_another_harness_begins_its_own(tmp_path) -> None:
    questions = JCommonsenseQA().read(written(tmp_path, "jcommonsenseqa"))
    phrasing = Phrasing(
        name="theirs", head="始めの言葉。", instruction="番号で。", input="質問：{question}\n選択肢：{options}"
    )
    asked = [f"質問：{one.fields['question']}\n選択肢：{one.fields['options']}" for one in questions[:2]]
    assert prompt_of(phrasing, questions[1], questions[:1], style="plain") == (
        "始めの言葉。\n\n### 指示:\n番号で。"
        f"\n\n### 入力:\n{asked[0]}\n\n### 応答:\n{questions[0].gold[0]}\n\n### 入力:\n{asked[1]}\n\n### 応答:\n"
    )


def test_braces_in_a_question_are_text() -> None:
    phrasing = Phrasing(name="p", instruction="答えよ", input="{question}")
    one = Question("1", {"question": "{answer}とは？"}, ("1",))
    assert "{answer}とは？" in str(prompt_of(phrasing, one, [], style="plain"))


def test_a_phrasing_that_asks_for_what_is_not_there_is_one_sentence() -> None:
    phrasing = Phrasing(name="p", instruction="答えよ", input="{sentence}")
    with pytest.raises(BunbukuError, match="asks for 'sentence'"):
        prompt_of(phrasing, Question("1", {"question": "?"}, ("1",)), [], style="plain")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"q_id": 1, "question": "?", "choice0": "a", "choice1": "b", "choice2": "c", "choice3": "d", "choice4": "e"}', "has no 'label'"),
        (json.dumps(ROWS["jcommonsenseqa"][0] | {"label": 7}), "label '7', which is none of 0 to 4"),
        ("\n".join([json.dumps(ROWS["jcommonsenseqa"][0])] * 2), "has the id '0', as item 1 has"),
        ('{"q_id": 1', "line 1 of .* is no JSON"),
        ("[1, 2]", "is no object"),
        ("", "has no items"),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_sentence(tmp_path, text, said) -> None:
    (tmp_path / "bad.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(BunbukuError, match=said):
        JCommonsenseQA().read(tmp_path / "bad.jsonl")


def test_a_missing_answer_is_named_with_its_place(tmp_path) -> None:
    document = {"data": [{"paragraphs": [{"context": "青い", "qas": [{"id": "s1", "question": "?", "answers": []}]}]}]}
    (tmp_path / "squad.json").write_text(json.dumps(document))
    with pytest.raises(BunbukuError, match=r"item 1 of .* has no right answer \(id 's1'\)"):
        JSQuAD().read(tmp_path / "squad.json")


@pytest.mark.parametrize("encoding", ["cp932", "euc-jp"])
def test_another_encoding_is_named_with_the_remedy(tmp_path, encoding) -> None:
    (tmp_path / "old.csv").write_bytes("ID,sent,label\n1,お礼を言った,0\n".encode(encoding))
    with pytest.raises(BunbukuError, match="is not UTF-8") as caught:
        Morality().read(tmp_path / "old.csv")
    assert encoding.upper() in (caught.value.hint or "").upper()


def test_a_compressed_file_reads_the_same(tmp_path) -> None:
    import gzip

    plain = written(tmp_path, "jnli")
    packed = tmp_path / "jnli.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert JNLI().read(packed) == JNLI().read(plain)


def test_an_unknown_task_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"there is no task 'jnlo'; there are jcommonsenseqa, jnli"):
        ScoreConfig.model_validate({"tasks": ["jnlo"]})


class Riddles(Labelled):
    """A task of another package."""

    type: Literal["riddles"] = "riddles"
    file: str = "riddles.jsonl"
    phrasings: tuple[Phrasing, ...] = (Phrasing(name="plain", instruction="なぞなぞです。", input="{question}"),)
    category: ClassVar[Any] = "other"
    licence: ClassVar[str] = "CC0-1.0"
    origin: ClassVar[str] = "here"

    def question(self, row: dict[str, Any], place: str) -> Question:
        return Question(field(row, "id", place), {"question": field(row, "q", place)}, ("はい",), ("はい", "いいえ"))


def test_another_package_adds_a_task_by_an_entry_point(monkeypatch) -> None:
    class Declared(EntryPoint):
        def load(self) -> type:
            return Riddles

    declared = Declared("riddles", "riddles:Riddles", bunbuku_eval.tasks.GROUP)
    monkeypatch.setattr(
        bunbuku_eval.tasks,
        "entry_points",
        lambda **want: [declared] if want.get("name", "riddles") == "riddles" else [],
    )
    config = ScoreConfig.model_validate({"tasks": [{"type": "riddles", "shots": 2}, "jnli"]})
    assert isinstance(config.tasks[0], Riddles)
    assert config.model_dump(mode="json")["tasks"][0]["shots"] == 2
    assert ScoreConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.skipif("BUNBUKU_DATA" not in os.environ, reason="needs BUNBUKU_DATA, a folder with eval/ (JGLUE)")
def test_the_published_files_read_and_their_answers_are_understood() -> None:
    folder = Path(os.environ["BUNBUKU_DATA"]) / "eval"
    for task, items in ((JCommonsenseQA(), 1119), (JSQuAD(), 4442)):
        questions = task.read(folder / task.file)
        assert len(questions) == items
        marks = [mark(task, one, f"答えは「{one.gold[0]}」です。") for one in questions]
        assert sum(one.lenient for one in marks) / items > 0.995
        assert sum(one.strict for one in marks) == 0
        assert all(mark(task, one, one.gold[0]).strict == 1 for one in questions)


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ("答えは「水」です。", "水"),
        ("答えは「「水」と「空」の本」です。", "「水」と「空」の本"),
        ("答えは『「水」の本』です。", "「水」の本"),
        ('答えは"「水」の本"です。', "「水」の本"),
        ("「水」の「空」です。", "水"),
        ("「水「空」", "空"),
        ("「「」水」", "「」水"),
        ("「」です", "「」"),
        ("水」です", "水」"),
    ],
)
def test_what_is_quoted_keeps_the_quotations_inside_it(said, understood) -> None:
    task = JSQuAD()
    row = {"id": "1", "context": "青い", "question": "?", "answers": [{"text": "水"}]}
    assert task.understood(said, task.question(row, "item 1")) == understood


def test_a_title_in_quotation_marks_is_not_the_form_that_was_asked_for() -> None:
    task = JSQuAD()
    row = {"id": "1", "context": "青い", "question": "?", "answers": [{"text": "水"}]}
    one = task.question(row, "item 1")
    assert not task.well_formed("「水」", one)
    assert not task.well_formed("「水『空』」", one)
    assert task.well_formed("「水」と「空」", one)


def test_a_long_row_of_open_marks_is_read_at_once() -> None:
    started = time.process_time()
    assert quoted("「" * 50_000 + "水」") == "水"
    assert quoted("「水」" * 50_000) == "水"
    assert time.process_time() - started < 5


def test_a_translation_is_taken_out_of_the_marks_around_all_of_it() -> None:
    assert unwrapped("「彼は『うん』と言った。」") == "彼は『うん』と言った。"
    assert unwrapped("「水」と「空」") == "「水」と「空」"
