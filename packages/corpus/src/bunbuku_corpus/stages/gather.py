"""Bring text from outside in."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from bunbuku_contracts import BunbukuError, Config, Corpus, Draft, stage
from pydantic import PositiveInt

from bunbuku_corpus.document import Placed, ShardWriter
from bunbuku_corpus.rows import Names
from bunbuku_corpus.sources import AnySource, JsonlSource


class GatherConfig(Config):
    """Where documents come from."""

    sources: tuple[AnySource, ...] = (JsonlSource(),)
    """Read one after another."""
    rows_per_shard: PositiveInt = 100_000
    """Documents in a Parquet file."""


@stage("corpus.gather")
def gather(draft: Draft, config: GatherConfig, source: Path | None) -> Corpus:
    """Bring text from outside in as a corpus, every document with id, text, source, url, licence and language.

    A source in the config is of type `jsonl` (plain, .gz or .zst), `parquet`, `datasets` (of the Hugging Face hub, or
    local) or `tatoeba` (sentences with translations, joined into short documents). `--source` is the folder or file
    that they read; a data set of the hub needs none. For example:

        [[sources]]
        type = "jsonl"
        files = "web/*.jsonl.zst"
        licence = "CC0-1.0"
        fields = { text = "content", url = "meta.url" }

    `shape` is for collections whose fields are known: culturax, fineweb-2, llm-jp-corpus, mc4, slimpajama. With
    `malformed = "keep"` lines that cannot be read are kept in the part `failed`, each with what is wrong with it.
    """
    names = Names()
    licences: set[str] = set()
    languages: set[str] = set()
    counts: Counter[str] = Counter()
    with (
        ShardWriter(draft, rows_per_shard=config.rows_per_shard) as data,
        ShardWriter(draft, "parallel", rows_per_shard=config.rows_per_shard) as parallel,
        ShardWriter(draft, "failed", rows_per_shard=config.rows_per_shard, extra=("reason",)) as failed,
    ):
        for found in draft.track(_placed(config, source, draft.scratch), unit="documents"):
            document = found.document
            if found.part == "failed":
                failed.add(document, reason=found.reason)
                continue
            if not names.claim(document.id):
                hint = "ids must be unique: name another field with `fields.id`, or gather a file once"
                raise BunbukuError(f"{found.place}: the id {document.id!r} was there before", hint=hint)
            licences.add(document.licence)
            if found.part == "parallel":
                parallel.add(document)
                continue
            data.add(document)
            languages.add(document.language)
            counts[f"documents.{document.language}"] += 1
            counts[f"characters.{document.language}"] += len(document.text)
    if not data.documents:
        raise BunbukuError(
            f"there is not one document in {source or 'the sources'}", hint="correct --source or `files`"
        )
    draft.metrics |= {name: float(count) for name, count in sorted(counts.items())}
    draft.metrics |= {"documents": data.documents, "characters": data.chars, "pairs": parallel.documents}
    if failed.documents:
        draft.metrics["failed"] = failed.documents
    return Corpus(languages=tuple(sorted(languages)), licences=tuple(sorted(licences)))


def _placed(config: GatherConfig, source: Path | None, scratch: Path) -> Iterator[Placed]:
    for one in config.sources:
        yield from one.read(source, scratch)
