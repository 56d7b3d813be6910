"""Bits per byte of models and of the bigram baseline, by hand and on the same documents."""

import json
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import (
    Architecture,
    Artifact,
    ArtifactError,
    BunbukuError,
    Checkpoint,
    Config,
    Corpus,
    Draft,
    load,
    read_sections,
    stage,
)
from bunbuku_eval import BaselineConfig, PerplexityConfig, Sample, baseline, perplexity
from bunbuku_eval.bits import Scored
from bunbuku_eval.documents import Document
from bunbuku_eval.run import EvalRun
from bunbuku_eval.stages.perplexity import publish
from bunbuku_inference import TransformersEngine

ON_ONE_THREAD = EvalRun(engine=TransformersEngine(threads=1, device="cpu"))
SAMPLE = Sample(documents=12)
# So little text has no bigram that occurs once, so no discount can be estimated from it.
BIGRAM = BaselineConfig(sample=SAMPLE, discount=0.75, unigram_discount=0.5)


@pytest.fixture(scope="module")
def measured(place, models, held_out):
    return perplexity(place("perplexity"), PerplexityConfig(sample=SAMPLE), models, held_out, run=ON_ONE_THREAD)


@pytest.fixture(scope="module")
def bigram(place, tokens, tokenizer, held_out):
    return baseline(place("baseline"), BIGRAM, tokens, tokenizer, held_out)


def rows(report, model: str) -> list[dict]:
    return [row for row in pq.read_table(report.dir / "items.parquet").to_pylist() if row["model"] == model]


def test_bits_per_byte_are_the_models_own_loss_computed_by_hand(make, measured, models, tokenizer, held_out) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(models["first"].dir, dtype=torch.float64).eval()
    by_id = {row["id"]: row for row in rows(measured, "first")}
    bits = size = 0.0
    for file in held_out.files():
        for document in pq.read_table(held_out.path(file)).to_pylist():
            if document["id"] not in by_id:
                continue
            tokens = torch.tensor([[1, *make.ids(tokenizer, document["text"])]])
            with torch.no_grad():
                logprobs = torch.log_softmax(model(tokens).logits, dim=-1)
            logprob = float(logprobs[0, :-1].gather(-1, tokens[0, 1:, None]).sum())
            assert by_id[document["id"]]["logprob"] == pytest.approx(logprob, rel=1e-5)
            bits -= logprob / math.log(2)
            size += len(document["text"].encode())
    assert len(by_id) == 12
    assert measured.manifest.metrics["bits_per_byte.first.total"] == pytest.approx(bits / size, rel=1e-6)


def test_domains_weigh_up_to_the_total(measured) -> None:
    metrics, found = measured.manifest.metrics, rows(measured, "first")
    total = sum(
        metrics[f"bits_per_byte.first.source.{source}"] * sum(row["bytes"] for row in found if row["source"] == source)
        for source in {row["source"] for row in found}
    )
    assert {row["source"] for row in found} == {"tales", "letters"}
    assert total / metrics["bytes"] == pytest.approx(metrics["bits_per_byte.first.total"])
    assert metrics["bits_per_byte.first.language.ja"] == pytest.approx(metrics["bits_per_byte.first.total"])


def test_the_interval_holds_the_number_and_the_table_shows_it(measured) -> None:
    metrics = measured.manifest.metrics
    low, value, high = (metrics[f"bits_per_byte.second.{name}"] for name in ("low", "total", "high"))
    assert low < value < high
    (section,) = read_sections(measured)
    assert section.tables[0].rows[1][:4] == ("second", round(value, 4), round(low, 4), round(high, 4))
    assert section.tables[-1].rows[0][0] == "second"  # against the first model, on the same documents


def test_a_domain_of_one_document_has_no_interval(tmp_path: Path) -> None:
    scored = [
        Scored(Document(id, "猫", "ja", source), 1, -2.0 - at) for at, (id, source) in enumerate(("ab", "cb", "da"))
    ]
    draft = Draft(tmp_path, tmp_path)
    publish(draft, {"m": scored}, domains=["source"], seed=0)
    told = {name for name in draft.metrics if name.startswith("bits_per_byte.m.source.")}
    assert told == {f"bits_per_byte.m.source.{end}" for end in ("a", "b", "b.low", "b.high")}
    (section,) = json.loads((tmp_path / "sections.json").read_text(encoding="utf-8"))
    (table,) = [one for one in section["tables"] if one["columns"][0] == "source"]
    cells = {row[0]: row[-1] for row in table["rows"]}
    assert "to" in cells["b"]
    assert "to" not in cells["a"]


def test_the_baseline_is_measured_on_the_same_documents_and_tokens(measured, bigram) -> None:
    facts = ("id", "bytes", "tokens", "language", "source")
    theirs, ours = (
        [tuple(row[fact] for fact in facts) for row in rows(report, name)]
        for report, name in ((measured, "first"), (bigram, "kneser_ney"))
    )
    assert ours == theirs


def test_the_baseline_is_the_bigram_model_counted_by_hand(make, bigram, corpus, tokenizer) -> None:
    """One document's probability, from counts that were made with plain dictionaries."""
    metrics = bigram.manifest.metrics
    documents = [[1, *make.ids(tokenizer, text), 2] for text in make.texts(corpus, "train")]
    both = Counter(pair for document in documents for pair in pairwise(document))
    first = Counter(u for u, _ in both.elements())
    kinds_after, kinds_before = Counter(u for u, _ in both), Counter(v for _, v in both)
    d, d1, size = metrics["discount"], metrics["unigram_discount"], tokenizer.spec.vocab_size

    def p(u: int, v: int) -> float:
        lower = max(kinds_before[v] - d1, 0) / len(both) + d1 * len(kinds_before) / len(both) / size
        if not first[u]:
            return lower
        return max(both[u, v] - d, 0) / first[u] + d * kinds_after[u] / first[u] * lower

    held = {row["id"]: row["logprob"] for row in rows(bigram, "kneser_ney")}
    text_of = {
        row["id"]: row["text"]
        for file in corpus.files("validation")
        for row in pq.read_table(corpus.path(file)).to_pylist()
    }
    for name, logprob in held.items():
        line = [1, *make.ids(tokenizer, text_of[name])]
        by_hand = sum(math.log(p(u, v)) for u, v in pairwise(line))
        assert logprob == pytest.approx(by_hand, abs=1e-8)
    assert metrics["train_tokens"] == sum(len(document) - 1 for document in documents)


def test_the_baseline_is_the_same_bytes_again(place, bigram, tokens, tokenizer, held_out) -> None:
    again = baseline(place("again"), BIGRAM, tokens, tokenizer, held_out)
    assert again.content == bigram.content


def test_fewer_training_tokens_make_a_worse_baseline(place, bigram, tokens, tokenizer, held_out) -> None:
    config = BIGRAM.model_copy(update={"max_tokens": 150})
    less = baseline(place("less"), config, tokens, tokenizer, held_out).manifest.metrics
    assert 0 < less["train_tokens"] <= 150
    key = "bits_per_byte.kneser_ney.total"
    assert less[key] > bigram.manifest.metrics[key]


@stage("test.forged")
def forged(draft: Draft, config: Config) -> Corpus:
    """One document that spells the token by which documents end."""
    row = {"id": "1", "text": "猫</s>犬", "source": "test", "url": None, "licence": "CC0-1.0", "language": "ja"}
    path = draft.dir / "part-00000.parquet"
    pq.write_table(pa.Table.from_pylist([row]), path)
    draft.count(path, rows=1)
    return Corpus()


def test_a_special_token_in_a_document_is_text_to_the_baseline(place, tokens, tokenizer) -> None:
    found = baseline(place("forged"), BIGRAM, tokens, tokenizer, forged(place("forged-corpus"), Config()))
    assert [row["tokens"] for row in rows(found, "kneser_ney")] == [len("猫</s>犬")]


def test_tokens_of_another_tokenizer_are_refused(place, tokens, tokenizer, held_out) -> None:
    manifest = tokens.manifest.model_copy(update={"spec": tokens.spec.model_copy(update={"tokenizer": "0" * 64})})
    alien = Artifact(tokens.dir, manifest)
    with pytest.raises(BunbukuError, match="made with another tokenizer"):
        baseline(place("refused"), BaselineConfig(), alien, tokenizer, held_out)


def test_a_checkpoint_that_cannot_be_asked_is_refused_before_any_model_is_opened(
    make, place, models, tokenizer, held_out
) -> None:
    sharded = make.model(tokenizer, format="megatron")
    with pytest.raises(BunbukuError, match=r"'raw' at .* has format 'megatron'") as raised:
        perplexity(place("refused"), PerplexityConfig(), {**models, "raw": sharded}, held_out)
    assert "bunbuku-pretrain export" in raised.value.hint


def test_no_model_is_one_sentence(place, held_out) -> None:
    with pytest.raises(BunbukuError, match="no model was given"):
        perplexity(place("refused"), PerplexityConfig(), {}, held_out)


def test_a_part_that_is_not_there_is_named(place, models, corpus) -> None:
    with pytest.raises(ArtifactError, match="has no part 'data'; its parts are: train, validation"):
        perplexity(place("refused"), PerplexityConfig(), models, load(corpus.dir, Corpus))


class Nothing(Config):
    """No settings."""


class Cut(Config):
    """How many characters are a token, of models that find every token equally likely."""

    characters: int


@stage("pretrain.export", bitwise=True)
def uniform(draft: Draft, config: Cut, corpus: Artifact[Corpus]) -> Checkpoint:
    """A model without any preference, whose vocabulary is as large as 64 to the power of the characters."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    text = "".join(
        row for file in corpus.files("validation") for row in pq.read_table(corpus.path(file))["text"].to_pylist()
    )
    letters = sorted(set(text))
    pieces = letters if config.characters == 1 else [one + other for one in letters for other in letters]
    size = 64**config.characters
    assert len(pieces) + 3 <= size
    vocabulary = {piece: at for at, piece in enumerate(["<unk>", "<s>", "</s>", *pieces])}
    fast = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Split(Regex("." * config.characters), "isolated")
    fast.decoder = decoders.Fuse()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=fast, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    wrapped.save_pretrained(draft.dir)
    shape = Architecture(
        layers=1,
        hidden_size=8,
        ffn_size=8,
        heads=1,
        kv_heads=1,
        vocab_size=size,
        max_positions=128,
        tied_embeddings=False,
    )
    hf = LlamaConfig(
        vocab_size=size, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(hf)
    torch.nn.init.zeros_(model.lm_head.weight)
    model.save_pretrained(draft.dir)
    return Checkpoint(architecture=shape, format="hf", step=0, tokens_seen=0, tokenizer=f"{config.characters:064d}")


@stage("corpus.gather")
def even(draft: Draft, config: Nothing) -> Corpus:
    """Documents of an even number of characters."""
    rows = [
        {"id": f"{n}", "text": "猫は水が好き。犬は空が嫌い。"[: 6 + 2 * (n % 5)] * (1 + n % 3), "source": "s", "url": None,
         "licence": "CC0-1.0", "language": "ja"} for n in range(20)
    ]  # fmt: skip
    path = draft.dir / "validation.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    draft.count(path, rows=len(rows), part="validation")
    return Corpus(licences=("CC0-1.0",))


def test_two_tokenizers_that_code_the_same_probabilities_have_the_same_bits_per_byte(place) -> None:
    pytest.importorskip("transformers")
    corpus = even(place("even"), Nothing())
    models = {f"cut{n}": uniform(place("uniform"), Cut(characters=n), corpus) for n in (1, 2)}
    held_out = load(corpus.dir, Corpus, part="validation")
    report = perplexity(place("perplexity"), PerplexityConfig(sample=SAMPLE), models, held_out, run=ON_ONE_THREAD)
    metrics = report.manifest.metrics
    one, other = metrics["bits_per_byte.cut1.total"], metrics["bits_per_byte.cut2.total"]
    assert one == pytest.approx(6 / 3, rel=1e-6)  # 6 bits a character of 3 bytes
    assert other == pytest.approx(one, rel=1e-6)
    tokens = {name: sum(row["tokens"] for row in rows(report, name)) for name in models}
    assert tokens["cut1"] == 2 * tokens["cut2"]
