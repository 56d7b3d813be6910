"""Screening: filters, near-duplicates among everything made so far, and evaluation items planted in other text."""

import io
import itertools
import json
import math
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Config, Dialogues, Draft, read_sections, stage
from bunbuku_synth import ScreenConfig, read_items, screen
from bunbuku_synth.exams import Decontamination, Evidence, Exam, ExamItem, read_exams
from bunbuku_synth.filters import Length, Meta, MixedLanguages, Refusal, Repetitive, TooLittleJapanese
from bunbuku_synth.item import Item, Turn, dialogue, write_items
from bunbuku_synth.language import normalized
from bunbuku_synth.near import NearDuplicates, Neighbours
from bunbuku_synth.tasks import Code, Logic, Mathematics
from hypothesis import given
from hypothesis import strategies as st

DATA = Path(os.environ.get("BUNBUKU_DATA", "/nonexistent"))
EVAL = DATA / "eval"
_NOUNS = [a + b for a in "山川海空森町店駅橋船鳥花雪雨風月星石草木" for b in "道音色声形影跡端裏表先後前口手目足頭心力"]
_VERBS = ["見つけた", "忘れた", "調べた", "運んだ", "描いた", "直した", "集めた", "比べた", "選んだ", "隠した"]


def sentence(draw: random.Random) -> str:
    a, b, c = draw.sample(_NOUNS, 3)
    return f"{a}の{b}で{c}を{draw.choice(_VERBS)}。"


def prose(draw: random.Random, chars: int) -> str:
    text = ""
    while len(text) < chars:
        text += sentence(draw)
    return text


def edited(text: str, draw: random.Random) -> str:
    """The same with other widths and punctuation."""
    swapped = text.translate(str.maketrans("0123456789。、？?", "０１２３４５６７８９.，?？"))
    return "".join(c + (" " if draw.random() < 0.05 else "") for c in swapped)


def planted(item: str, draw: random.Random) -> str:
    around = prose(draw, 600)
    at = draw.choice([n for n, c in enumerate(around) if c == "。"]) + 1
    return around[:at] + item + around[at:]


def exam(draw: random.Random, count: int) -> list[ExamItem]:
    """Short questions, questions of a line, and passages."""
    made: list[str] = []
    for n in range(count):
        a, b = draw.sample(_NOUNS, 2)
        made.append((f"{a}と{b}は何？", f"{sentence(draw)}それは{a}と{b}のどちらでしたか。", prose(draw, 200))[n % 3])
    return [ExamItem("exam", n, text) for n, text in enumerate(dict.fromkeys(made))]


def wilson(found: int, among: int) -> tuple[float, float]:
    """95 % interval of a share."""
    z, share = 1.96, found / among
    middle, around = share + z * z / (2 * among), z * math.sqrt(share * (1 - share) / among + z * z / (4 * among**2))
    return (middle - around) / (1 + z * z / among), (middle + around) / (1 + z * z / among)


def recall_of(ready: Decontamination, items: Sequence[ExamItem], draw: random.Random) -> float:
    """Share of items that are found in other text, each once, with the width and punctuation of some letters changed."""
    return sum(ready.found(planted(edited(item.text, draw), draw)) is not None for item in items) / len(items)


def alarms(ready: Decontamination, clean: Sequence[str]) -> float:
    return sum(ready.found(text) is not None for text in clean) / len(clean)


def test_planted_items_are_found_and_clean_texts_pass():
    """S10."""
    draw = random.Random(5)
    items = exam(draw, 300)
    ready = Decontamination(items, Evidence())
    assert recall_of(ready, items, draw) >= 0.95
    assert alarms(ready, [prose(draw, 600) for _ in range(300)]) <= 0.01


def _rows(name: str) -> Iterator[dict[str, Any]]:
    with pa.input_stream(DATA / f"{name}.jsonl.zst", compression="zstd") as stream:
        yield from (json.loads(line) for line in io.TextIOWrapper(stream, encoding="utf-8", newline="\n"))


def _real(draw: random.Random) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Items by kind, and clean texts by kind: passages that no item is of, and dialogues that programs and people wrote."""
    commonsense = [json.loads(line) for line in (EVAL / "jcommonsenseqa-v1.3-valid.jsonl").read_text().splitlines()]
    paragraphs = [p for a in json.loads((EVAL / "jsquad-v1.3-valid.json").read_text())["data"] for p in a["paragraphs"]]
    contexts = list(dict.fromkeys(p["context"] for p in paragraphs))
    half = len(contexts) // 2
    known = set(contexts[:half])
    items = {
        "question and choices": ["\n".join([r["question"], *(r[f"choice{n}"] for n in range(5))]) for r in commonsense],
        "question": [r["question"] for r in commonsense],
        "question < 13 letters": [r["question"] for r in commonsense if len(normalized(r["question"])) < 13],
        "question < 6 letters": [r["question"] for r in commonsense if len(normalized(r["question"])) < 6],
        "passage question": [q["question"] for p in paragraphs if p["context"] in known for q in p["qas"]],
        "passage": contexts[:half],
    }
    documents = [row for row in itertools.islice(_rows("dev_corpus"), 9000) if row["lang"] == "ja"]
    pages = [row["text"][:600] for row in documents if "kftt" not in row["id"] and len(row["text"]) > 300]
    families = [Mathematics(count=1), Logic(count=1), Code(count=1)]
    made = [
        "\n".join(turn.content for turn in item.messages)
        for family in families
        for item in itertools.islice(family.write(None, seed=2, tally=Counter()), 250)
    ]
    rows = [row for row in _rows("instructions_ja") if row["source"] != "jcommonsenseqa_train"]
    told = [f"{row['instruction']}\n{row['output']}" for row in rows]
    clean = {
        "passages": [*contexts[half + 50 :], *draw.sample(pages, 1000)],
        "synthetic dialogues": made,
        "instructions": draw.sample(told, 1000),
    }
    return {kind: sorted(set(texts)) for kind, texts in items.items()}, clean


@pytest.mark.skipif(not EVAL.is_dir(), reason="BUNBUKU_DATA names no folder with eval/")
@pytest.mark.timeout(300)
def test_real_evaluation_items_are_found_and_clean_texts_pass():
    """S10: every item of a kind, however short; its recall and the false alarms are told with their intervals."""
    draw = random.Random(7)
    kinds, clean = _real(draw)
    told: list[str] = []
    for kind, texts in kinds.items():
        items = [ExamItem("real", n, text) for n, text in enumerate(texts)]
        ready = Decontamination(items, Evidence())
        recall, false = recall_of(ready, items, draw), {name: alarms(ready, some) for name, some in clean.items()}
        low, high = wilson(round(recall * len(items)), len(items))
        told.append(
            f"{kind}: {len(items)}, recall {recall:.4f} ({low:.4f} to {high:.4f}), not looked for {ready.too_short}"
        )
        told += [
            f"  {name}: {rate:.4f} of {len(clean[name])} (to {wilson(round(rate * len(clean[name])), len(clean[name]))[1]:.4f})"
            for name, rate in false.items()
        ]
        assert recall >= 0.95 and max(false.values()) <= 0.01, "\n".join(told)
    sys.stderr.write("\n".join(told) + "\n")


def test_wording_that_many_items_share_gives_none_of_them_away():
    questions = [f"次の質問に日本語で正しく答えてください。{_NOUNS[n]}とは何でしょうか" for n in range(40)]
    ready = Decontamination([ExamItem("e", n, text) for n, text in enumerate(questions)], Evidence())
    assert ready.found("次の質問に日本語で正しく答えてください。今日の天気は？") is None


def test_items_of_few_letters_are_found_where_they_stand_alone():
    """S10."""
    ready = Decontamination(
        [ExamItem("e", 0, "犬は？"), ExamItem("e", 1, "日本の首都は？"), ExamItem("e", 2, "？？")], Evidence()
    )
    assert ready.too_short == 1 and ready.found("では、日本の首都は、東京です。") == "e:1"
    assert ready.found("答えなさい。\n犬 は ?\nワンと鳴く") == ready.found("「犬は！」") == "e:0"
    assert ready.found("犬は好きですか。私の犬は白い。") is None
    both = Decontamination([ExamItem("e", 0, "はい。犬？")], Evidence())
    assert both.found("そう。はい。犬?いいえ") == "e:0" and both.found("はい。猫。犬？") is None


def item(id: str, said: str, asked: str = "教えてください。", language: str = "ja") -> Item:
    return Item(id, dialogue(asked, said), "test", language, None, "t@1", "teacher", "x", 1, "CC0-1.0")


@pytest.mark.parametrize(
    ("one", "bad", "good"),
    [
        (TooLittleJapanese(), "This is an English answer to it.", "これは日本語で書かれた答えです。ABC社のものです。"),
        (MixedLanguages(), "これは没問題です。这个说明很好。", "これは没収された本の話です。"),
        (Repetitive(), "雨が降っています。" * 5, "雨が降っています。傘を持っていきましょう。駅は近いです。"),
        (Refusal(), "申し訳ありませんが、その質問にはお答えできません。", "申し訳ない気持ちで手紙を書きました。"),
        (Meta(), "以下は書き直した文章です。\n猫が好きです。", "以下の手順で作ります。"),
        (Length(max_chars=10), "とても長い答えを書いてしまいました。", "短い答えです。"),
    ],
    ids=lambda value: getattr(value, "type", ""),
)
def test_each_filter_drops_what_its_name_says_and_nothing_else(one: Any, bad: str, good: str):
    assert one.drops(item("a", bad)) and not one.drops(item("b", good))


def test_code_and_english_items_are_not_asked_for_japanese():
    code = "```python\ndef solve(values):\n    return sorted(values)\n```"
    assert not TooLittleJapanese().drops(item("a", code))
    assert not TooLittleJapanese().drops(item("a", "The quick brown fox jumps over it.", language="en"))


@given(st.integers(0, 10**6), st.floats(0, 0.04))
def test_texts_with_few_changes_are_near_and_others_are_not(seed: int, share: float):
    draw = random.Random(seed)
    texts = [prose(draw, 300) for _ in range(8)]
    neighbours = Neighbours(NearDuplicates())
    for n, text in enumerate(texts):
        assert neighbours.nearest(text) is None
        neighbours.add(str(n), text)
    changed = "".join(draw.choice("甲乙丙丁") if draw.random() < share / 3 else c for c in texts[3])
    near = neighbours.nearest(changed)
    assert near and near.name == "3"


class Items(Config):
    said: tuple[tuple[str, str, str], ...]


@stage("test.items")
def publish(draft: Draft, config: Items) -> Dialogues:
    """Publish items as they are."""
    write_items((item(id, said, asked) for id, asked, said in config.said), draft, rows_per_shard=100)
    return Dialogues()


def published(path: Path, *said: tuple[str, str, str]) -> Artifact[Dialogues]:
    return publish(path, Items(said=said))


def dropped(made: Artifact[Dialogues]) -> dict[str, str]:
    rows = [row for file in made.files("dropped") for row in pq.read_table(made.path(file)).to_pylist()]
    return {row["id"]: row["reason"] for row in rows}


def test_every_reject_is_kept_with_its_reason(tmp_path: Path):
    draw = random.Random(1)
    a, b, c, d = (prose(draw, 200) for _ in range(4))
    before = published(tmp_path / "before", ("old", "前に作った質問です。", a))
    made = published(
        tmp_path / "made",
        ("1", "前に作った質問です。", a.replace("。", "．")),
        ("2", "新しい質問です。", b),
        ("3", "新しい質問です！", b[:-1]),
        ("4", "別の質問です。", c),
        ("5", "どうですか。", "申し訳ありませんが、お答えできません。"),
        ("6", "山道と川音の違いは何ですか。", d),
    )
    (tmp_path / "exam.jsonl").write_text(
        json.dumps({"q": {"text": "「山道」と「川音」の違いは、何ですか？"}}, ensure_ascii=False)
    )
    config = ScreenConfig(exams=(Exam(file="mine", fields=("q.text",)),))
    out = screen(tmp_path / "out", config, made, {"before": before}, {"mine": tmp_path / "exam.jsonl"})
    assert [one.id for one in read_items(out)] == ["2", "4"]
    assert dropped(out) == {
        "1": "near_duplicate before:old",
        "3": "near_duplicate 2",
        "5": "refusal",
        "6": "contaminated mine[q.text]:1",
    }
    metrics = out.manifest.metrics
    assert (
        metrics["items"] == metrics["kept"] + sum(n for name, n in metrics.items() if name.startswith("dropped.")) == 6
    )
    [section] = read_sections(out)
    assert section.tables[0].columns == ("task", "kept", "contaminated", "near_duplicate", "refusal")


def test_an_evaluation_set_that_cannot_be_read_is_an_error(tmp_path: Path):
    (tmp_path / "exam.jsonl").write_text('{"text": "何？"}\n')
    with pytest.raises(BunbukuError, match=r"no text in 'question'; its fields are text"):
        read_exams((), {"mine": tmp_path / "exam.jsonl"})
    with pytest.raises(BunbukuError, match="'other', which was not given") as refused:
        read_exams((Exam(file="other"),), {"mine": tmp_path / "exam.jsonl"})
    assert "--exams other=PATH" in refused.value.hint


def test_system_prompts_make_no_two_items_alike(tmp_path: Path):
    system = Turn("system", "とても長い指示です。" * 30)
    one, other = (
        replace(item(n, said), messages=(system, *dialogue("何？", said)))
        for n, said in (("1", "犬です。"), ("2", "猫です。"))
    )
    neighbours = Neighbours(NearDuplicates())
    neighbours.add("1", "\n".join(turn.content for turn in one.messages if turn.role != "system"))
    assert neighbours.nearest("\n".join(turn.content for turn in other.messages if turn.role != "system")) is None
    assert Counter(turn.role for turn in one.messages)["system"] == 1
