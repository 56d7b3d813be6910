"""Tokenizers as other people make them, extended: nothing but Japanese changes, and that gets shorter."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Corpus, Tokenizer
from bunbuku_tokenizer import ExtendConfig, extend, foreign
from bunbuku_tokenizer.adversarial import SNIPPETS
from bunbuku_tokenizer.cli import main
from bunbuku_tokenizer.embeddings import initialise, read_plan
from bunbuku_tokenizer.units import CJK
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as FastTokenizer

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PAD = {"__type": "AddedToken", "content": "<|endoftext|>", "lstrip": False, "normalized": False}
FORMS = ("qwen", "llama3", "llama2", "sentencepiece_bpe", "sentencepiece_unigram", "unigram_json", "both")
WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CONFIG = ExtendConfig(new_pieces=150, bos_token="<s>", eos_token="</s>")
ENDED = ExtendConfig(new_pieces=150, eos_token="<|endoftext|>")

TEXTS = st.one_of(st.text(), st.lists(st.sampled_from(SNIPPETS)).map("".join))
OTHERS = st.one_of(
    st.text(st.characters(codec="ascii")),
    st.text().map(lambda text: CJK.sub("", text)),
    st.lists(st.sampled_from([*("the kettle", " in", "\n\n", "한국어", "é", "🏳️‍🌈", "ｱｲｳ"), *SPECIALS])).map("".join),
)
"""Text in which no character has a byte in common with Japanese at its beginning."""


def their_texts(rows: list[Any]) -> list[str]:
    """Mostly English."""
    japanese = [row["text"] for row in rows if row.get("language", "ja") == "ja"]
    return [*(row["text"] for row in rows if row.get("language") == "en"), *japanese[::25]]


def qwen(texts: list[str], *, ignore_merges: bool = False) -> FastTokenizer:
    """Byte-level pairs, words cut by a regular expression, special tokens above the vocabulary."""
    fast = FastTokenizer(models.BPE(ignore_merges=ignore_merges))
    if not ignore_merges:
        fast.normalizer = normalizers.NFC()
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    fast.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    fast.train_from_iterator(texts, trainer)
    fast.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    return fast


def llama2(texts: list[str]) -> FastTokenizer:
    """Pairs of characters with bytes for those it does not know, a space before the text."""
    byte_pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    fast = FastTokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    fast.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    fast.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=special + byte_pieces, limit_alphabet=60, show_progress=False
    )
    fast.train_from_iterator(texts, trainer)
    content = json.loads(fast.to_str())
    content["added_tokens"] = content["added_tokens"][: len(special)]
    return FastTokenizer.from_str(json.dumps(content))


def sentencepiece_model(texts: list[str], kind: str, **options: Any) -> bytes:
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(text for each in texts for text in each.split("\n")),
        model_writer=written,
        model_type=kind,
        vocab_size=420,
        hard_vocab_limit=False,
        character_coverage=0.98,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        required_chars="".join(map(chr, range(0x21, 0x7F))),
        minloglevel=2,
        num_threads=1,
        **options,
    )
    return written.getvalue()


def place(folder: Path, form: str, texts: list[str]) -> Path:
    """A tokenizer of that form, as its makers publish it."""
    folder.mkdir()
    if form in {"qwen", "llama3"}:
        qwen(texts, ignore_merges=form == "llama3").save(str(folder / "tokenizer.json"))
        names = {"eos_token": "<|im_end|>", "pad_token": PAD, "bos_token": None}
        chat = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": "{{ messages }}", **names}
        (folder / "tokenizer_config.json").write_text(json.dumps(chat), encoding="utf-8")
        return folder
    if form == "llama2":
        llama2(texts).save(str(folder / "tokenizer.json"))
        return folder / "tokenizer.json"
    kind = "unigram" if "unigram" in form else "bpe"
    (folder / "tokenizer.model").write_bytes(sentencepiece_model(texts, kind))
    if form.startswith("sentencepiece"):
        return folder / "tokenizer.model"
    from bunbuku_tokenizer.foreign_model import ForeignModel, hugging_face

    content = hugging_face(ForeignModel.read(folder / "tokenizer.model").proto)
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    return folder / "tokenizer.json" if form == "unigram_json" else folder


def literal(path: Path) -> FastTokenizer:
    """A tokenizer to which special tokens in a text are text."""
    fast = FastTokenizer.from_file(str(path))
    fast.encode_special_tokens = True
    return fast


class Pair:
    """A tokenizer before and after."""

    def __init__(self, folder: Path, form: str, corpus: Artifact[Corpus], texts: list[str]) -> None:
        self.path = place(folder / form, form, texts)
        config = ExtendConfig(new_pieces=150) if form in {"qwen", "llama3"} else CONFIG
        self.made = extend(folder / f"{form}-extended", config, self.path, corpus)
        self.new = literal(self.made.dir / "tokenizer.json")
        self.first = self.made.spec.vocab_size - int(self.made.manifest.metrics["pieces"])
        self.model: Any = None
        if (folder / form / "tokenizer.model").exists():
            self.model = SentencePieceProcessor(model_file=str(folder / form / "tokenizer.model"))
        path = folder / form / "tokenizer.json"
        self.old = literal(path) if path.exists() else None

    def old_ids(self, text: str) -> list[int]:
        return self.old.encode(text, add_special_tokens=False).ids if self.old else self.model.encode(text)

    def old_text(self, text: str) -> str:
        if self.old:
            return self.old.decode(self.old_ids(text), skip_special_tokens=False)
        return self.model.decode(self.model.encode(text))

    def ids(self, text: str) -> list[int]:
        return self.new.encode(text, add_special_tokens=False).ids


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, corpus: Artifact[Corpus], rows) -> dict[str, Pair]:
    folder = tmp_path_factory.mktemp("extend")
    return {form: Pair(folder, form, corpus, their_texts(rows)) for form in FORMS}


@pytest.fixture(scope="module", params=FORMS)
def pair(request: pytest.FixtureRequest, pairs: dict[str, Pair]) -> Pair:
    return pairs[request.param]


@settings(max_examples=60, deadline=None)
@given(text=OTHERS)
@example(text="def f(x):\n\treturn {'the kettle': x ** 2}  # in the library")
def test_text_without_japanese_keeps_its_ids(pair: Pair, text: str) -> None:
    assert pair.ids(text) == pair.old_ids(text)


@settings(max_examples=60, deadline=None)
@given(text=TEXTS)
@example(text="".join(SNIPPETS))
def test_every_text_comes_back_as_before(pair: Pair, text: str) -> None:
    if pair.old is None and "\0" in text:
        return  # SentencePiece's own decoder
    assert pair.new.decode(pair.ids(text), skip_special_tokens=False) == pair.old_text(text)


def test_japanese_takes_fewer_tokens(pair: Pair, rows) -> None:
    metrics = pair.made.manifest.metrics
    assert metrics["held_out.characters_per_token.after"] > 1.5 * metrics["held_out.characters_per_token.before"]
    text = rows[0]["text"]
    assert len(pair.ids(text)) < len(pair.old_ids(text)) / 1.5


def test_every_new_piece_is_one_token_by_itself(pair: Pair) -> None:
    for row in read_plan(pair.made.dir):
        text = pair.new.decode([row.id])
        if "\ufffd" not in text:  # else it is the beginning of a character
            assert pair.ids(text)[-1] == row.id, text


def test_the_plan_names_the_old_pieces_that_spell_a_new_one(pair: Pair) -> None:
    plan = read_plan(pair.made.dir)
    assert [row.id for row in plan] == list(range(pair.first, pair.first + len(plan)))
    for row in plan:
        assert max(row.old_ids) < pair.first
        assert pair.new.id_to_token(row.id) == row.piece
        old = pair.old or pair.new
        spelt = old.decode(old.encode("の", add_special_tokens=False).ids + list(row.old_ids))
        text = pair.new.decode([*pair.new.encode("の", add_special_tokens=False).ids, row.id])
        assert spelt == text


def test_special_tokens_keep_their_ids_and_new_pieces_come_after_them(pairs: dict[str, Pair]) -> None:
    for form in ("qwen", "llama3"):
        pair = pairs[form]
        assert pair.old is not None
        for text in SPECIALS:
            assert pair.new.token_to_id(text) == pair.old.token_to_id(text) in range(pair.first)
        usual = FastTokenizer.from_file(str(pair.made.dir / "tokenizer.json"))
        assert usual.encode("狸<|im_end|>").ids[-1] == pair.old.token_to_id("<|im_end|>")
        assert usual.get_vocab_size() == pair.made.spec.vocab_size
        spec = pair.made.spec
        assert spec.eos_id == pair.old.token_to_id("<|im_end|>")
        assert spec.pad_id == pair.old.token_to_id("<|endoftext|>")
        assert spec.bos_id == spec.unk_id == spec.eos_id


def test_settings_and_chat_template_are_carried_over(pairs: dict[str, Pair]) -> None:
    settings = json.loads((pairs["qwen"].made.dir / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert settings["chat_template"] == "{{ messages }}"
    assert settings["eos_token"] == "<|im_end|>"


def test_a_sentencepiece_model_is_extended_with_the_same_ids(pairs: dict[str, Pair], rows) -> None:
    for form in ("sentencepiece_bpe", "sentencepiece_unigram", "both"):
        made = pairs[form].made.dir
        model = SentencePieceProcessor(model_file=str(made / "tokenizer.model"))
        assert model.get_piece_size() == pairs[form].made.spec.vocab_size
        for row in rows:
            assert model.encode(row["text"]) == pairs[form].ids(row["text"])
    assert not (pairs["unigram_json"].made.dir / "tokenizer.model").exists()


@pytest.mark.parametrize("form", ["qwen", "llama2", "sentencepiece_bpe"])
@pytest.mark.parametrize("klass", ["PreTrainedTokenizerFast", None])
def test_transformers_opens_what_was_made(pairs: dict[str, Pair], form: str, klass: str | None, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    made = pairs[form].made.dir
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((made / name).read_bytes())
    if klass is None:
        theirs = {"qwen": "Qwen2Tokenizer"}.get(form, "LlamaTokenizer")
        settings = json.loads((made / "tokenizer_config.json").read_text(encoding="utf-8"))
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | {"tokenizer_class": theirs}))
    auto = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ("石油を検索する場合", "The kettle in the library.", "大阪の kettle"):
        assert auto(text, add_special_tokens=False)["input_ids"] == pairs[form].ids(text)


def test_the_same_again_has_the_same_content(pairs: dict[str, Pair], corpus: Artifact[Corpus], tmp_path: Path) -> None:
    for form in ("llama2", "sentencepiece_unigram"):
        again = extend(tmp_path / form, CONFIG, pairs[form].path, corpus)
        assert again.content == pairs[form].made.content


def test_new_rows_are_means_of_old_ones(pairs: dict[str, Pair]) -> None:
    pair = pairs["qwen"]
    plan = read_plan(pair.made.dir)
    old = np.random.default_rng(0).normal(size=(pair.first + 20, 8)).astype(np.float32)  # padded
    new = initialise(old, plan)
    assert new.shape == (pair.made.spec.vocab_size, 8)
    assert new.dtype == np.float32
    np.testing.assert_array_equal(new[: pair.first], old[: pair.first])
    for row in plan:
        np.testing.assert_allclose(new[row.id], np.mean([old[id] for id in row.old_ids], axis=0), rtol=1e-5)
    with pytest.raises(ValueError, match="at least"):
        initialise(old[: pair.first - 1], plan)


WORDPIECE = models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]")
PLAIN = models.BPE({"<unk>": 0, "a": 1}, [], unk_token="<unk>")


@pytest.mark.parametrize(
    ("written", "config", "says"),
    [
        (b"\x89PNG", ENDED, "neither a SentencePiece model nor a `tokenizer.json`"),
        (b"{", ENDED, "not a tokenizer of Hugging Face's: it is not JSON"),
        (b'{"a": 1}', ENDED, "it has no `model`"),
        (b'{"model": {"type": "BPE"}}', ENDED, "it has no vocabulary|not a tokenizer"),
        (FastTokenizer(WORDPIECE).to_str().encode(), ENDED, "is a WordPiece tokenizer, which cannot be extended"),
        (FastTokenizer(PLAIN).to_str().encode(), ENDED, "neither by byte-level pieces nor by byte fallback"),
    ],
)
def test_a_file_that_cannot_be_extended_is_refused_with_the_reason(
    corpus: Artifact[Corpus], tmp_path: Path, written: bytes, config: ExtendConfig, says: str
) -> None:
    (tmp_path / "theirs").write_bytes(written)
    with pytest.raises(BunbukuError, match=says):
        extend(tmp_path / "out", config, tmp_path / "theirs", corpus)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "says"), [({"byte_fallback": False}, "no byte fallback"), ({"model_type": "char"}, "word or character")]
)
def test_a_sentencepiece_model_that_cannot_be_extended_is_refused(
    corpus: Artifact[Corpus], rows, tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    written = io.BytesIO()
    settings = {"model_type": "bpe", "byte_fallback": True, "vocab_size": 400, "hard_vocab_limit": False, **options}
    lines = iter(their_texts(rows))
    SentencePieceTrainer.train(sentence_iterator=lines, model_writer=written, minloglevel=2, num_threads=1, **settings)
    (tmp_path / "theirs.model").write_bytes(written.getvalue())
    with pytest.raises(BunbukuError, match=says):
        extend(tmp_path / "out", CONFIG, tmp_path / "theirs.model", corpus)
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_is_refused(corpus: Artifact[Corpus], tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    with pytest.raises(BunbukuError, match=r"neither a tokenizer\.json nor a tokenizer\.model"):
        extend(tmp_path / "out", ENDED, tmp_path / "theirs", corpus)


def test_a_corpus_without_japanese_is_refused(pairs: dict[str, Pair], publish, tmp_path: Path) -> None:
    english = publish("english", data=[{"id": "1", "text": "No Japanese.", "language": "en"}] * 3)
    with pytest.raises(BunbukuError, match="no document with Japanese"):
        extend(tmp_path / "out", ENDED, pairs["qwen"].path, english)
    assert not (tmp_path / "out").exists()


def test_a_token_that_ends_a_text_has_to_be_known(pairs: dict[str, Pair], corpus, tmp_path: Path) -> None:
    theirs = pairs["llama2"].path
    with pytest.raises(BunbukuError, match=r"nothing says which token of .* ends a text"):
        extend(tmp_path / "out", ExtendConfig(), theirs, corpus)
    with pytest.raises(BunbukuError, match="`eos_token` '<end>' is not in the vocabulary"):
        extend(tmp_path / "out", ExtendConfig(eos_token="<end>"), theirs, corpus)


def test_a_sentencepiece_model_that_is_another_tokenizer_is_left_out_with_a_word(
    pairs: dict[str, Pair], corpus: Artifact[Corpus], rows, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "tokenizer.json").write_bytes((pairs["both"].path / "tokenizer.json").read_bytes())
    (folder / "tokenizer.model").write_bytes(sentencepiece_model(their_texts(rows)[::2], "bpe"))
    made: Artifact[Tokenizer] = extend(tmp_path / "out", CONFIG, folder, corpus)
    assert "tokenizer.model is left out" in caplog.text
    assert not (made.dir / "tokenizer.model").exists()


def test_a_model_that_hugging_face_has_no_equal_for_is_refused_or_if_it_hardly_matters_named(
    corpus: Artifact[Corpus], rows, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "theirs.model"  # spaces stand behind words, not before them
    path.write_bytes(sentencepiece_model(their_texts(rows), "unigram", treat_whitespace_as_suffix=True))
    with pytest.raises(BunbukuError, match=r"no tokenizer\.json with the ids of .*theirs\.model can be written"):
        extend(tmp_path / "out", CONFIG, path, corpus)
    given = foreign.agreed(foreign.read(path), [""] * 99 + ["the kettle"])
    assert given.model is None
    assert given.differing == 0.01
    assert "other ids for 1 of 100 texts, first for 'the kettle'" in caplog.text


def test_the_command_line_extends(pairs: dict[str, Pair], corpus: Artifact[Corpus], tmp_path: Path) -> None:
    roles = ["--tokenizer", str(pairs["qwen"].path), "--corpus", str(corpus.dir), "--out", str(tmp_path / "out")]
    assert main(["extend", *roles, "--set", "new_pieces=20"]) == 0
    assert len(read_plan(tmp_path / "out")) == 20
