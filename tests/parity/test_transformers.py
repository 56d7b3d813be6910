"""A tokenizer that we publish is the same one to transformers 4 and to the transformers installed here."""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from bunbuku_contracts import Artifact, Tokenizer
from bunbuku_corpus import GatherConfig, gather
from bunbuku_tokenizer import Encoder, ExtendConfig, TrainConfig, extend, train
from bunbuku_tokenizer.adversarial import SNIPPETS
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers

WHO, WHERE = (
    ["狸", "和尚", "殿様", "村人", "旅人", "大工", "医者", "作家"],
    ["寺で", "山で", "町で", "橋で", "川で", "家で"],
)
WHAT = ["お茶を飲んだ。", "綱を渡った。", "歌をうたった。", "本を読んだ。", "火をおこした。", "手紙を書いた。"]
DOCUMENTS = [f"{a}は{b}{c}\nIn the kettle {index}" for index, (a, b, c) in enumerate(product(WHO, WHERE, WHAT))]
TEXTS = ("".join(SNIPPETS), *SNIPPETS, *DOCUMENTS[:20])
CHAT = [{"role": "user", "content": "茶釜の中に何がいますか。"}, {"role": "assistant", "content": "狸がいます。"}]

ASK = """
import json, sys
import transformers
from transformers import AutoTokenizer

asked = json.load(open(sys.argv[1], encoding="utf-8"))
answers = {"version": transformers.__version__}
for name, folder in asked["folders"].items():
    auto = AutoTokenizer.from_pretrained(folder)
    answers[name] = {
        "ids": [auto(text)["input_ids"] for text in asked["texts"]],
        "literal": [auto(text, split_special_tokens=True)["input_ids"] for text in asked["texts"]],
        "back": [auto.decode(auto(text, split_special_tokens=True)["input_ids"]) for text in asked["texts"]],
        "special": [auto.bos_token_id, auto.eos_token_id, auto.pad_token_id, auto.unk_token_id],
        "chat": auto.apply_chat_template(asked["chat"], tokenize=False) if auto.chat_template else None,
    }
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact[Tokenizer]]:
    """One of ours, and one of somebody else's that was extended."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in DOCUMENTS))
    config = {"sources": [{"type": "jsonl", "licence": "CC0-1.0", "language": "ja"}]}
    corpus = gather(folder / "corpus", GatherConfig.model_validate(config), folder / "texts.jsonl")
    fast = FastTokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    fast.train_from_iterator(DOCUMENTS[:9], trainer)
    fast.add_special_tokens(["<|end|>"])
    (folder / "theirs").mkdir()
    fast.save(str(folder / "theirs" / "tokenizer.json"))
    small = TrainConfig(vocab_size=640, max_chars=100_000, required_characters="kana")
    wanted = ExtendConfig(new_pieces=60, eos_token="<|end|>")
    return {
        "ours": train(folder / "ours", small, corpus),
        "extended": extend(folder / "extended", wanted, folder / "theirs", corpus),
    }


@pytest.fixture(scope="module")
def question(published: dict[str, Artifact[Tokenizer]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folders = {name: str(made.dir) for name, made in published.items()}
    path = tmp_path_factory.mktemp("question") / "asked.json"
    path.write_text(json.dumps({"folders": folders, "texts": TEXTS, "chat": CHAT}), encoding="utf-8")
    (path.parent / "ask.py").write_text(ASK, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def here(question: Path) -> dict:
    return answers(Path(sys.executable), question)


@pytest.fixture(scope="module")
def four(question: Path) -> dict:
    run("uv", "venv", "--quiet", "--python", sys.executable, question.parent / "venv")
    python = question.parent / "venv" / "bin" / "python"
    run("uv", "pip", "install", "--quiet", "--python", python, "transformers>=4.50,<5", "jinja2")
    return answers(python, question)


def answers(python: Path, question: Path) -> dict:
    return json.loads(run(python, "-I", question.parent / "ask.py", question).splitlines()[-1])


def run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("name", ["ours", "extended"])
def test_transformers_4_and_5_give_the_same_ids_texts_and_chats(here: dict, four: dict, name: str) -> None:
    assert four["version"].startswith("4.")
    assert here["version"].startswith("5.")
    assert four[name] == here[name]


def test_the_ids_are_those_of_sentencepiece(published: dict[str, Artifact[Tokenizer]], four: dict) -> None:
    encoder = Encoder.open(published["ours"].dir)
    assert four["ours"]["literal"] == [encoder.encode(text) for text in TEXTS]
    assert four["ours"]["special"] == [1, 2, 3, 0]


@pytest.mark.parametrize("name", ["ours", "extended"])
def test_every_text_comes_back_from_transformers_4(four: dict, name: str) -> None:
    assert four[name]["back"] == list(TEXTS)
