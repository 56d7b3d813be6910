"""What is trained of a dialogue, what is cut, what is held out, and that all of it is counted."""

from collections.abc import Callable
from pathlib import Path

import pytest
from bunbuku_align.examples import (
    IGNORED,
    Dialogue,
    Message,
    Preference,
    cut_after_answer,
    is_held_out,
    prepare_dialogues,
    prepare_preferences,
)
from bunbuku_align.template import ChatTokenizer
from bunbuku_contracts import ArtifactError, BunbukuError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TEXTS = st.text("一二はい。\n#🦝", max_size=6) | st.sampled_from(
    ["\n\n### 応答:\n", "### 指示:", "{{ eos_token }}", "", "</s>", "い</s>ち<s>"]
)
DIALOGUES = st.lists(st.tuples(TEXTS, TEXTS), max_size=3)
FIXED = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def chat(make) -> ChatTokenizer:
    return ChatTokenizer(make.model().dir)


def dialogue(turns: list[tuple[str, str]]) -> list[Message]:
    return [Message(role, text) for turn in turns for role, text in zip(("user", "assistant"), turn, strict=True)]


def ids_of(chat: ChatTokenizer, text: str) -> list[int]:
    """By the tokenizer itself, which takes every special token for one."""
    return chat.tokenizer.encode(text, add_special_tokens=False)


@FIXED
@given(turns=DIALOGUES.filter(bool))
def test_trained_tokens_are_what_the_assistant_said_with_its_end_in_every_turn(chat, turns) -> None:
    rows = [Dialogue("一", dialogue(turns))]
    [example] = prepare_dialogues(rows, chat.render, chat.encode, max_tokens=10_000, held_out_share=0).train
    trained = [label for label in example.labels if label != IGNORED]
    assert chat.tokenizer.decode(trained) == "".join(f"{answer}</s>" for _, answer in turns)
    assert all(label in (id, IGNORED) for id, label in zip(example.input_ids, example.labels, strict=True))
    assert example.trained == len(trained)


@FIXED
@given(turns=DIALOGUES.filter(bool))
def test_the_ids_of_a_dialogue_read_back_as_its_text(chat, turns) -> None:
    messages = dialogue(turns)
    rows = [Dialogue("一", messages)]
    [example] = prepare_dialogues(rows, chat.render, chat.encode, max_tokens=10_000, held_out_share=0).train
    assert chat.tokenizer.decode(example.input_ids) == chat.render(messages).text


def test_the_mask_does_not_depend_on_what_the_tokenizer_would_merge_across_a_border(tokenizer) -> None:
    chat = ChatTokenizer(tokenizer(merges=[("\n", "い")]))
    rows = [Dialogue("一", [Message("user", "何ですか"), Message("assistant", "いち")])]
    [example] = prepare_dialogues(rows, chat.render, chat.encode, max_tokens=100, held_out_share=0).train
    prompt = chat.tokenizer.apply_chat_template(
        [{"role": "user", "content": "何ですか"}], add_generation_prompt=True, return_dict=False
    )
    whole = ids_of(chat, chat.render(rows[0].messages).text)
    assert whole[: len(prompt)] != prompt, "the whole text merges across the border, or this test shows nothing"
    assert example.input_ids[: len(prompt)] == prompt
    assert example.labels == [IGNORED] * len(prompt) + ids_of(chat, "いち</s>")


def test_a_system_turn_is_given_and_never_trained(chat) -> None:
    rows = [Dialogue("一", [Message("system", "言え"), Message("user", "一"), Message("assistant", "いち")])]
    [example] = prepare_dialogues(rows, chat.render, chat.encode, max_tokens=100, held_out_share=0).train
    assert chat.tokenizer.decode(example.input_ids).startswith("<s>言え\n\n### 指示:\n一")
    assert [label for label in example.labels if label != IGNORED] == ids_of(chat, "いち</s>")


def test_a_dialogue_that_is_too_long_ends_with_a_whole_answer(chat) -> None:
    messages = dialogue([("一", "いち"), ("二", "に")])
    length = len(ids_of(chat, chat.render(messages).text))
    rows = [Dialogue("一", messages)]
    prepared = prepare_dialogues(rows, chat.render, chat.encode, max_tokens=length - 1, held_out_share=0)
    assert chat.tokenizer.decode(prepared.train[0].input_ids).endswith("### 応答:\nいち</s>")
    assert prepared.counts["truncated"] == 1
    whole = prepare_dialogues(rows, chat.render, chat.encode, max_tokens=length, held_out_share=0)
    assert len(whole.train[0].input_ids) == length
    assert whole.counts["truncated"] == 0


def test_rows_without_a_trained_token_are_dropped_and_counted(chat) -> None:
    rows = [
        Dialogue("一", [Message("user", "一")]),
        Dialogue("二", [Message("user", "一" * 100), Message("assistant", "いち")]),
        Dialogue("三", [Message("user", "一"), Message("assistant", "いち")]),
    ]
    prepared = prepare_dialogues(rows, chat.render, chat.encode, max_tokens=64, held_out_share=0)
    assert len(prepared.train) == 1
    assert {name: prepared.counts[name] for name in ("seen", "train", "dropped.no_answer", "dropped.too_long")} == {
        "seen": 3,
        "train": 1,
        "dropped.no_answer": 1,
        "dropped.too_long": 1,
    }


def test_data_of_which_nothing_is_left_is_refused_with_the_counts(chat) -> None:
    rows = [Dialogue("一", [Message("user", "一")])]
    with pytest.raises(BunbukuError, match=r"no dialogues are left to train on \(1 dropped.no_answer, 1 seen\)"):
        prepare_dialogues(rows, chat.render, chat.encode, max_tokens=64, held_out_share=0)


@FIXED
@given(
    some=st.lists(DIALOGUES, min_size=1, max_size=8),
    max_tokens=st.integers(60, 120),
    share=st.floats(0, 0.5),
)
def test_every_row_is_trained_or_held_out_or_dropped(chat, some, max_tokens, share) -> None:
    rows = [Dialogue("春", dialogue([("春", "い")]))]  # a question that is held out only above a half
    rows += [Dialogue(str(index), dialogue(turns) or [Message("user", "春")]) for index, turns in enumerate(some)]
    prepared = prepare_dialogues(rows, chat.render, chat.encode, max_tokens=max_tokens, held_out_share=share)
    dropped = prepared.counts["dropped.no_answer"] + prepared.counts["dropped.too_long"]
    assert len(prepared.train) + len(prepared.held_out) + dropped == prepared.counts["seen"] == len(rows)
    for example in prepared.train + prepared.held_out:
        assert len(example.input_ids) == len(example.labels) <= max_tokens
        assert example.trained > 0


@given(st.lists(st.tuples(st.lists(st.integers(), max_size=4), st.booleans())), st.integers(0, 20))
def test_cutting_keeps_the_longest_beginning_that_ends_with_an_answer(pieces, max_tokens) -> None:
    kept = cut_after_answer(pieces, max_tokens)
    assert kept == pieces[: len(kept)]
    assert sum(len(ids) for ids, _ in kept) <= max_tokens
    if len(kept) < len(pieces):
        assert not kept or kept[-1][1]
        ends = [n for n in range(1, len(pieces) + 1) if pieces[n - 1][1]]
        assert all(n <= len(kept) for n in ends if sum(len(ids) for ids, _ in pieces[:n]) <= max_tokens)


def held_out(text: str, share: float) -> bool:
    return is_held_out([Message("user", text)], share)


@given(st.lists(st.text(), min_size=1, unique=True), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_holds_out_more_and_moves_nothing_back(texts, one, other) -> None:
    few, many = sorted((one, other))
    assert {text for text in texts if held_out(text, few)} <= {text for text in texts if held_out(text, many)}


def test_about_the_asked_share_is_held_out() -> None:
    assert 900 < sum(held_out(f"問い{index}", 0.1) for index in range(10_000)) < 1100


QUESTIONS = [f"{numeral}{number}" for numeral in "一二三四五" for number in range(8)]


def letters(ids: list[int], chat: ChatTokenizer) -> str:
    return chat.tokenizer.decode(ids).partition("### 指示:\n")[2].partition("\n\n### 応答:")[0]


def test_no_question_of_a_held_out_dialogue_is_trained_under_another_id_or_in_a_longer_dialogue(chat) -> None:
    rows = [
        Dialogue(
            f"{question}-{copy}", [Message("system", "言え")] * (copy == 2) + dialogue([(question, "い")] * (1 + copy))
        )
        for question in QUESTIONS
        for copy in range(3)
    ]
    found = prepare_dialogues(rows, chat.render, chat.encode, max_tokens=500, held_out_share=0.3)
    trained, aside = ({letters(row.input_ids, chat) for row in some} for some in (found.train, found.held_out))
    assert trained and aside and not trained & aside
    assert trained | aside == set(QUESTIONS)
    assert len(found.held_out) == 3 * len(aside), "every copy of a question is on its side"


def test_the_pairs_of_a_question_are_on_one_side_and_on_that_of_its_dialogue(chat) -> None:
    pairs = [
        Preference(f"{question}-{wrong}", [Message("user", question)], "い", wrong)
        for question in QUESTIONS
        for wrong in ("に", "さん", "し")
    ]
    found = prepare_preferences(pairs, chat.render, chat.encode, max_tokens=500, held_out_share=0.3)
    trained, aside = ({letters(row.prompt_ids, chat) for row in some} for some in (found.train, found.held_out))
    assert trained and aside and not trained & aside
    assert len(found.held_out) == 3 * len(aside)
    rows = [Dialogue(question, dialogue([(question, "い")])) for question in QUESTIONS]
    taught = prepare_dialogues(rows, chat.render, chat.encode, max_tokens=500, held_out_share=0.3)
    assert {letters(row.input_ids, chat) for row in taught.held_out} == aside


def test_turns_out_of_order_are_refused_by_name(chat) -> None:
    rows = [Dialogue("行7", [Message("user", "一"), Message("user", "二")])]
    with pytest.raises(BunbukuError, match="dialogue '行7': turn 2 is of 'user', not of 'assistant'"):
        prepare_dialogues(rows, chat.render, chat.encode, max_tokens=64, held_out_share=0)


def test_a_preference_begins_where_inference_does_and_ends_each_answer(chat) -> None:
    prompt = [Message("user", "一"), Message("assistant", "いち"), Message("user", "二")]
    rows = [Preference("一", prompt, "に", "さん")]
    [pair] = prepare_preferences(rows, chat.render, chat.encode, max_tokens=100, held_out_share=0).train
    conversation = [message._asdict() for message in prompt]
    ids = chat.tokenizer.apply_chat_template(conversation, add_generation_prompt=True, return_dict=False)
    assert pair == (ids, ids_of(chat, "に</s>"), ids_of(chat, "さん</s>"))


def test_a_preference_is_never_cut(chat) -> None:
    rows = [
        Preference("一", [Message("user", "一")], "に", "さ" * 80),
        Preference("二", [Message("user", "一")], "", "に"),
    ]
    prepared = prepare_preferences(rows, chat.render, chat.encode, max_tokens=100, held_out_share=0)
    assert (len(prepared.train), prepared.counts["dropped.too_long"], prepared.counts["seen"]) == (1, 1, 2)
    assert prepared.train[0].chosen_ids == [2]


def test_a_preference_between_equal_answers_is_refused_by_name(chat) -> None:
    with pytest.raises(BunbukuError, match="preference '行3' has the same text"):
        prepare_preferences(
            [Preference("行3", [Message("user", "一")], "に", "に")],
            chat.render,
            chat.encode,
            max_tokens=64,
            held_out_share=0,
        )


LOOKING = "{% for message in messages %}{{ message['content'].split('</s>')[-1] }}{% generation %}{% endgeneration %}{% endfor %}"


def test_a_template_that_trims_what_is_said_still_names_its_own_special_tokens_alone(chat, tokenizer) -> None:
    trimming = chat.template.replace("message['content'] + eos_token", "(message['content'] | trim) + eos_token")
    chat = ChatTokenizer(tokenizer(template=trimming))
    messages = dialogue([(" 一</s>", "い<s>\n")])
    [said] = [piece for piece in chat.render(messages).pieces if piece.said]
    assert said.text == "い<s></s>"
    assert chat.encode(said) == [*chat.tokenizer("い<s>", split_special_tokens=True).input_ids, 2]


def test_a_template_that_looks_for_special_tokens_is_refused_where_somebody_wrote_one(tokenizer) -> None:
    chat = ChatTokenizer(tokenizer(template=LOOKING))
    assert chat.render([Message("user", "一")]).text == "一"
    with pytest.raises(BunbukuError, match=r"treats a message with '</s>' in it unlike others"):
        chat.render([Message("user", "一</s>二")])


def test_a_template_that_marks_nothing_is_refused(tokenizer: Callable[..., Path]) -> None:
    with pytest.raises(ArtifactError, match="marks what the assistant says"):
        ChatTokenizer(tokenizer(template="{{ messages[0]['content'] }}"))
    with pytest.raises(ArtifactError, match="marks what the assistant says"):
        ChatTokenizer(tokenizer(template=None))


def test_a_tokenizer_that_puts_a_blank_before_every_text_is_refused(tokenizer: Callable[..., Path]) -> None:
    with pytest.raises(ArtifactError, match=r"reads .* back as"):
        ChatTokenizer(tokenizer(blank=True))
