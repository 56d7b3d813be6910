"""The kinds of artifact that pass between stages. Adding one is adding a class here."""

from typing import ClassVar, Literal

from pydantic import NonNegativeInt, PositiveInt

from bunbuku_contracts.architecture import Architecture
from bunbuku_contracts.digest import Sha256
from bunbuku_contracts.manifest import Spec


class Corpus(Spec):
    """Parquet shards of documents: `id, text, source, url, licence, language`, these all strings, `url` may be null.

    Stages add columns of their own, whose types are theirs: `cluster` (string), `cluster_size` and `copies` (int64) where
    duplicates went, `annotations` (struct), `topic` (string), `bits_per_byte` (float64). A reader names the columns it
    wants. `data` holds the documents, or `train`, `validation` and `test` do after a split. `dropped` has `reason` as well
    (and `duplicate_of` and `similarity`, float64, if it is one); `parallel` has a pair of sentences a document, divided by
    a newline.
    """

    kind: ClassVar[str] = "corpus"

    languages: tuple[str, ...] = ("ja",)
    """Languages of the documents, ISO 639-1, sorted."""


class Tokenizer(Spec):
    """`tokenizer.json` and `tokenizer_config.json` (Hugging Face), mostly `tokenizer.model` (SentencePiece), the same ids.

    The chat template travels in `tokenizer_config.json`. A vocabulary of someone else's that was extended may have no
    `tokenizer.model`, and has the part `embeddings`: which old rows the row of a new piece begins as the mean of.
    """

    kind: ClassVar[str] = "tokenizer"

    vocab_size: PositiveInt
    """Ids in use, special tokens included."""
    unk_id: NonNegativeInt = 0
    bos_id: NonNegativeInt = 1
    eos_id: NonNegativeInt = 2
    """Ends a document, and a turn of a dialogue."""
    pad_id: NonNegativeInt = 3


class Tokens(Spec):
    """Megatron indexed datasets: `<part>.bin` with its `<part>.idx`, one part a split."""

    kind: ClassVar[str] = "tokens"

    tokenizer: Sha256
    """Content digest of the tokenizer that made them."""
    vocab_size: PositiveInt
    eod_id: NonNegativeInt
    """Id that ends every document."""
    dtype: Literal["uint16", "int32"]


class Checkpoint(Spec):
    """Weights of a model.

    `hf` opens with transformers' `from_pretrained`, tokenizer included; `megatron` is sharded and goes on training;
    `peft` is an adapter on top of the checkpoint that its recipe names.
    """

    kind: ClassVar[str] = "checkpoint"

    architecture: Architecture
    format: Literal["hf", "megatron", "peft"]
    step: NonNegativeInt
    """Optimizer steps of pre-training behind it, all runs together."""
    tokens_seen: NonNegativeInt
    """Tokens of pre-training behind it, all runs together."""
    tokenizer: Sha256
    """Content digest of the tokenizer it was trained with."""
    chat: bool = False
    """Whether it was taught the tokenizer's chat template."""


class Dialogues(Spec):
    """Parquet shards of dialogues with the full lineage of each.

    `id, messages (role, content), task, language, source, template, generator, teacher, seed, licence, choices, answer`.
    """

    kind: ClassVar[str] = "dialogues"


class Preferences(Spec):
    """Parquet shards of a prompt with a better and a worse answer.

    `id, prompt (role, content), chosen, rejected, task, language, source, template, generator, rejected_by, seed, licence`.
    """

    kind: ClassVar[str] = "preferences"


class Classifier(Spec):
    """A classifier of texts: `classifier.json` says how a text is read, `weights.npy` has a column a label."""

    kind: ClassVar[str] = "classifier"

    labels: tuple[str, ...]
    """What a text can be, sorted."""


class Report(Spec):
    """What a measurement found: numbers in the manifest's metrics, `sections.json` for readers, perhaps a page."""

    kind: ClassVar[str] = "report"

    title: str
    page: str | None = None
    """Path of a self-contained HTML page inside the artifact."""


KINDS: dict[str, type[Spec]] = {
    spec.kind: spec for spec in (Checkpoint, Classifier, Corpus, Dialogues, Preferences, Report, Tokenizer, Tokens)
}
