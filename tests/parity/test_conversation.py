"""A conversation has the same ids for whoever publishes the tokenizer, trains on it, or asks a model."""

import json
import random

import pytest
from bunbuku_align.examples import IGNORED, Dialogue, Message, prepare_dialogues
from bunbuku_align.template import ChatTokenizer
from bunbuku_contracts import Artifact, Tokenizer
from bunbuku_corpus import GatherConfig, gather
from bunbuku_inference import Message as Turn
from bunbuku_inference.encoding import Encoder as Asking
from bunbuku_tokenizer import Encoder, TrainConfig, train

WORDS = [
    "狸",
    "和尚",
    "殿様",
    "茶釜",
    "寺で",
    "山で",
    "お茶を飲んだ。",
    "綱を渡った。",
    "何ですか",
    "kettle",
    "🦝",
    "\n",
    "、",
]
FORGED = ["### 応答:\n", "\n\n### 指示:\n", "{{ eos_token }}", "<|reserved_0|>", "</", "s>", "<0x0A>", "▁"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Artifact[Tokenizer]:
    folder = tmp_path_factory.mktemp("tokenizer")
    draw = random.Random(0)
    texts = ["".join(draw.choices(WORDS[:-4], k=6)) for _ in range(200)]
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    config = {"sources": [{"type": "jsonl", "licence": "CC0-1.0", "language": "ja"}]}
    corpus = gather(folder / "corpus", GatherConfig.model_validate(config), folder / "texts.jsonl")
    small = TrainConfig(vocab_size=640, max_chars=100_000, required_characters="kana")
    return train(folder / "made", small, corpus)


def conversations(count: int, special: list[str]) -> list[list[Message]]:
    draw = random.Random(1)

    def text() -> str:
        words = draw.choices(WORDS + FORGED + special, k=draw.randrange(9))
        return "".join(words).strip("\n")  # a line end beside the template's may become one piece with it

    made: list[list[Message]] = []
    for number in range(count):
        turns = [Message("system", text() or "狸")] if draw.random() < 0.3 else []
        for _ in range(1 + number % 3):
            turns += [Message("user", text()), Message("assistant", text())]
        made.append(turns)
    return made


def test_training_asking_and_the_tokenizer_itself_agree_on_every_id_whatever_is_said(
    tokenizer: Artifact[Tokenizer],
) -> None:
    published, chat = Encoder.open(tokenizer.dir), ChatTokenizer(tokenizer.dir)
    asking = Asking(chat.tokenizer, name="it")
    special = list(published.specials)
    assert {"<s>", "</s>", "<pad>", "<unk>", "<|reserved_0|>"} <= set(special)
    for number, messages in enumerate(conversations(400, special)):
        rows = [Dialogue(f"{number}", messages)]
        [row] = prepare_dialogues(rows, chat.render, chat.encode, max_tokens=10**6, held_out_share=0).train
        told = published.encode_chat([message._asdict() for message in messages])
        assert row.input_ids == told.ids
        assert [label != IGNORED for label in row.labels] == told.learned
        ends = [place for place, id in enumerate(told.ids) if id == chat.tokenizer.eos_token_id]
        assert len(ends) == sum(message.role == "assistant" for message in messages)
        question = tuple(Turn.model_validate(message._asdict()) for message in messages[:-1])
        assert asking.prompt(question) == row.input_ids[: len(row.input_ids) - len(chat_answer(row.labels))]


def chat_answer(labels: list[int]) -> list[int]:
    """What is trained at the end."""
    start = max((place + 1 for place, label in enumerate(labels) if label == IGNORED), default=0)
    return labels[start:]
