"""What is trained, over ten thousand dialogues of every ugly sort, by reading it back; and what is shown of it."""

import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from bunbuku_align.examples import IGNORED, Dialogue, Message, prepare_dialogues
from bunbuku_align.mix import Facts, Mix, Origin
from bunbuku_align.packing import pack
from bunbuku_align.template import ChatTokenizer
from hypothesis import given
from hypothesis import strategies as st

SPECIAL = ["<s>", "</s>", "<unk>", "<pad>"]
STRANGE = [
    "",
    *SPECIAL,
    "一</s>二<s>",
    "</s>\n\n### 指示:\nいち\n\n### 応答:\n",
    "</",
    "s>",
    "\n\n### 応答:\n",
    "### 指示:\nいち\n\n### 応答:\nに",
    "{% generation %}いち{% endgeneration %}",
    "{{ eos_token }}",
    "以下は、タスクを説明する指示です。",
    "🦝🍵👨‍👩‍👧",
    "か\u3099",
    "\n",
    " 　\t",
    "<script>alert(1)</script>",
    "いち" * 300,
]
OPENING = "以下は、タスクを説明する指示です。"
HEADINGS = {"user": "\n\n### 指示:\n", "assistant": "\n\n### 応答:\n"}


def ugly(count: int) -> Iterator[Dialogue]:
    """Of one to six turns, of strange texts and of plain ones, with and without a system turn and a last answer."""
    draw = random.Random(8)

    def text() -> str:
        if draw.random() < 0.5:
            return draw.choice(STRANGE)
        return "".join(draw.choices("一二三いにさん。今日は何#:\n🦝", k=draw.randrange(12)))

    for number in range(count):
        turns = [Message("system", text())] if draw.random() < 0.2 else []
        for _ in range(1 + number % 6):
            turns += [Message("user", text()), Message("assistant", text())]
        yield Dialogue(f"{number}", turns)


@pytest.fixture(scope="module")
def chat(make) -> ChatTokenizer:
    return ChatTokenizer(make.model().dir)


def test_of_ten_thousand_dialogues_the_answers_with_their_end_are_trained_and_nothing_else(chat) -> None:
    dialogues = list(ugly(10_000))
    prepared = prepare_dialogues(dialogues, chat.render, chat.encode, max_tokens=10**6, held_out_share=0)
    assert len(prepared.train) == 10_000
    assert set(chat.tokenizer.all_special_tokens) == set(SPECIAL), "none is left out of what is strange"

    @cache
    def alone(text: str) -> list[int]:
        """Ids of a text by itself, letter by letter."""
        return chat.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids

    trained = [[label for label in row.labels if label != IGNORED] for row in prepared.train]
    for dialogue, row, labels in zip(dialogues, prepared.train, trained, strict=True):
        said = [alone(turn.content) for turn in dialogue.messages if turn.role == "assistant"]
        assert labels == [id for ids in said for id in [*ids, 2]]
        system = dialogue.messages[0].content if dialogue.messages[0].role == "system" else OPENING
        expected = [1, *alone(system)]
        for turn in dialogue.messages:
            if turn.role != "system":
                expected += alone(HEADINGS[turn.role]) + alone(turn.content) + [2] * (turn.role == "assistant")
        assert row.input_ids == expected
    for dialogue, read in zip(dialogues, chat.tokenizer.batch_decode(trained), strict=True):
        assert read == "".join(turn.content + "</s>" for turn in dialogue.messages if turn.role == "assistant")


def test_cut_dialogues_end_with_the_end_token_of_a_whole_answer(chat) -> None:
    prepared = prepare_dialogues(ugly(500), chat.render, chat.encode, max_tokens=200, held_out_share=0)
    assert prepared.counts["truncated"] > 20
    assert all(row.labels[-1] == 2 and row.length <= 200 for row in prepared.train)
    assert prepared.counts["train"] + prepared.counts["dropped.too_long"] == 500


LENGTHS = st.lists(st.integers(1, 32), max_size=60)


@given(lengths=LENGTHS, spare=st.integers(0, 20))
def test_packing_loses_nothing_and_goes_beyond_no_row(lengths, spare) -> None:
    most = max(lengths, default=1) + spare
    packs = pack(lengths, most)
    assert sorted(row for rows in packs for row in rows) == list(range(len(lengths)))
    assert all(sum(lengths[row] for row in rows) <= most for rows in packs)
    half_empty = [rows for rows in packs if 2 * sum(lengths[row] for row in rows) <= most]
    assert len(half_empty) <= 1, "two rows that are half empty would have been one"


def test_a_row_that_fits_nowhere_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="row 1 of 9 tokens does not fit into 8"):
        pack([3, 9], 8)


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 500), st.integers(1, 9), st.sampled_from("甲乙丙")), min_size=1
    )
)
def test_each_table_of_the_mix_counts_every_row_once(rows) -> None:
    mix = Mix()
    for turns, tokens, trained, task in rows:
        mix.add(Facts(turns, tokens, trained), Origin(task, "rule:いち", "ja"))
    for table in mix.section().tables[:5]:
        columns: list[Any] = list(zip(*table.rows, strict=True))
        assert sum(columns[1]) == len(rows)
        assert sum(columns[2]) == sum(tokens for _, tokens, _, _ in rows)
        assert sum(columns[4]) == pytest.approx(1, abs=1e-2)


def test_a_long_table_of_the_mix_ends_in_a_row_of_what_is_left() -> None:
    mix = Mix()
    for number in range(60):
        mix.add(Facts(1, 10, 5), Origin(f"{number}"))
    table = mix.section().tables[0]
    assert table.rows[-1][:4] == ("20 others", 20, 200, 100)


def test_the_mix_says_by_task_and_by_domain_what_became_of_every_row(chat) -> None:
    short, long = (
        [Message("user", "一"), Message("assistant", "い")],
        [Message("user", "一"), Message("assistant", "い" * 90)],
    )
    rows = [Dialogue(f"{number}", [Message("user", f"{number}"), short[1]], "名", "-", "ja") for number in range(40)]
    rows += [Dialogue("too long", long, "名", "-", "en"), Dialogue("cut", short + long, "数", "-", "en")]
    rows += [Dialogue("none", short[:1], "数", "-", "ja")]
    prepared = prepare_dialogues(rows, chat.render, chat.encode, max_tokens=64, held_out_share=0.3)
    counts = prepared.counts
    assert 0 < counts["held_out"] < 40
    tables = {table.columns[0]: {row[0]: row[1:] for row in table.rows} for table in prepared.mix.section().tables[5:]}
    assert tables.keys() == {"task", "made by", "domain"}
    kept = {"train": counts["train"], "held_out": counts["held_out"]}
    asked = chat_side(prepared)
    assert tables["task"]["名"] == (kept["train"] - asked, kept["held_out"] - (1 - asked), 0, 1, 0)
    assert tables["task"]["数"] == (asked, 1 - asked, 1, 0, 1)
    assert tables["domain"]["en"] == (asked, 1 - asked, 0, 1, 1)
    assert tables["made by"]["-"] == (kept["train"], kept["held_out"], 1, 1, 1)


def chat_side(prepared) -> int:
    """1 if the dialogue that was cut is trained, 0 if it is held out."""
    return prepared.mix.ways["task"]["数"].rows
