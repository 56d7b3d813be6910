"""A small corpus of sentences made by rule, and the tokenizer trained on it, once a session."""

import io
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, Config, Corpus, Draft, Tokenizer, stage
from bunbuku_tokenizer import Encoder, TrainConfig, train
from hypothesis import settings
from sentencepiece import SentencePieceTrainer
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers

settings.register_profile("tokenizer", deadline=None)  # a busy machine is slow, and time says nothing here
settings.load_profile("tokenizer")

_WHO = [
    "吾輩",
    "先生",
    "学生",
    "母親",
    "男性",
    "女性",
    "狸",
    "旅人",
    "隣人",
    "子供たち",
    "大工",
    "医者",
    "作家",
    "弁護士",
    "農家",
]
_WHERE = [
    "東京",
    "大阪",
    "図書館",
    "駅前",
    "山頂",
    "台所",
    "研究室",
    "小学校",
    "京都",
    "市場",
    "病院",
    "公園",
    "神社",
    "砂浜",
    "工場",
]
_WHAT = [
    "新聞",
    "石油",
    "日本語",
    "コーヒー",
    "茶釜",
    "写真",
    "手紙",
    "水素",
    "野菜",
    "音楽",
    "辞書",
    "電車",
    "テレビ",
    "歴史",
    "物語",
    "値段",
    "経済",
    "天気",
    "料理",
    "映画",
    "ラジオ",
    "法律",
    "言葉",
    "数学",
    "地図",
    "雑誌",
    "ピアノ",
    "着物",
    "温泉",
    "果物",
    "自転車",
    "季節",
    "予定",
    "約束",
    "質問",
    "機械",
    "ニュース",
    "道具",
    "建物",
    "星空",
]
_DOES = [
    "を読んでいる。",
    "を探しています。",
    "が必要である。",
    "について考えた。",
    "を検索する場合が多い。",
    "を買いました！",
]
_ENGLISH = [
    f"{who} {does} the {what} in the {where}."
    for who, does, what, where in product(
        ("The teacher", "My mother", "A student", "Nobody"),
        ("reads", "finds", "needs", "remembers"),
        ("newspaper", "kettle", "photograph", "bicycle"),
        ("library", "kitchen", "mountains", "garden"),
    )
]

JAPANESE = [
    f"{who}は{where}で{what}{does}"
    for index, (who, where, what, does) in enumerate(product(_WHO, _WHERE, _WHAT, _DOES))
    if index % 31 == 0
]
ROWS = [
    *({"id": f"ja:{index}", "text": "\n".join(JAPANESE[index : index + 4])} for index in range(0, len(JAPANESE), 4)),
    *({"id": f"en:{index}", "text": text, "language": "en"} for index, text in enumerate(_ENGLISH)),
]
SMALL = TrainConfig(vocab_size=832, multiple_of=32, max_chars=100_000, required_characters="kana")

type Row = Mapping[str, str]
type Publish = Callable[..., Artifact[Corpus]]

_SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "text", "source", "url", "licence", "language")])


def publish_corpus(out: Path, *, shard_rows: int = 100, **parts: Sequence[Row]) -> Artifact[Corpus]:
    """A corpus artifact with the given parts."""

    @stage("tests.corpus")
    def make(draft: Draft, config: Config) -> Corpus:
        defaults = {"source": "rule", "url": None, "licence": "CC0-1.0", "language": "ja"}
        for part, rows in parts.items():
            for index, start in enumerate(range(0, len(rows), shard_rows)):
                shard = [defaults | dict(row) for row in rows[start : start + shard_rows]]
                path = draft.dir / part / f"part-{index:05}.parquet"
                path.parent.mkdir(exist_ok=True)
                pq.write_table(pa.Table.from_pylist(shard, _SCHEMA), path)
                draft.count(path, rows=len(shard), part=part)
        return Corpus(licences=("CC0-1.0",))

    return make(out, Config())


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Artifact[Corpus]:
    return publish_corpus(tmp_path_factory.mktemp("corpus") / "corpus", data=ROWS)


@pytest.fixture(scope="session")
def tokenizer(corpus: Artifact[Corpus], tmp_path_factory: pytest.TempPathFactory) -> Artifact[Tokenizer]:
    return train(tmp_path_factory.mktemp("tokenizer") / "tokenizer", SMALL, corpus)


@pytest.fixture(scope="session")
def encoder(tokenizer: Artifact[Tokenizer]) -> Encoder:
    return Encoder.open(tokenizer.dir)


@pytest.fixture
def publish(tmp_path: Path) -> Publish:
    def make(name: str, *, shard_rows: int = 100, **parts: Sequence[Row]) -> Artifact[Corpus]:
        return publish_corpus(tmp_path / name, shard_rows=shard_rows, **parts)

    return make


@pytest.fixture(scope="session")
def rows() -> list[Row]:
    return list(ROWS)


@pytest.fixture(scope="session")
def small() -> TrainConfig:
    return SMALL


@pytest.fixture(scope="session")
def nmt_nfkc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody else's SentencePiece model, with SentencePiece's own settings: text is normalised, a space put before it."""
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(row["text"] for row in ROWS),
        model_writer=written,
        vocab_size=700,
        byte_fallback=True,
        minloglevel=2,
        num_threads=1,
    )
    path = tmp_path_factory.mktemp("nmt_nfkc") / "theirs.model"
    path.write_bytes(written.getvalue())
    return path


@pytest.fixture(scope="session")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody else's BPE over bytes, as `tokenizer.json`."""
    fast = FastTokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<|end|>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    fast.train_from_iterator((row["text"] for row in ROWS), trainer)
    path = tmp_path_factory.mktemp("byte_level") / "tokenizer.json"
    fast.save(str(path))
    return path
