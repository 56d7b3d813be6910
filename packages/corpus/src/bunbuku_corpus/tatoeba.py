"""The Tatoeba collection of sentences and translations, as tab-separated lines: sentences joined into short documents.

A line is `id`, Japanese, English, further languages; `-` stands for a translation that does not exist. The rule by
which sentences become documents: lines are taken in the file's order, `sentences_per_document` at a time; each such
*block* gives one Japanese document `tatoeba:<block>`, one English document `tatoeba:<block>#en` of the translations
there are, each once, and a pair `tatoeba:<block>/<sentence id>` for every line that has both, Japanese first. Lines
added at the end change no block but the last.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import batched, islice
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from bunbuku_contracts import BunbukuError, Config
from pydantic import Field, PositiveInt

from bunbuku_corpus.document import Document, Placed
from bunbuku_corpus.files import find_files, open_stream

Share = Annotated[float, Field(ge=0, le=1)]
_NONE = "-"


class Shares(Config):
    """How much of each language is kept, from 0 to 1."""

    ja: Share = 1.0
    en: Share = 1.0


class TatoebaSource(Config):
    """Tab-separated sentences with translations, joined into short documents."""

    type: Literal["tatoeba"] = "tatoeba"
    files: str = "**/SENTENCES"
    """Which files of the folder; of no account where `--source` is a file."""
    sentences_per_document: PositiveInt = 8
    """Consecutive sentences in a document."""
    joiner: str = "\n"
    """What stands between two sentences."""
    keep: Shares = Shares()
    """Share of each language's documents that is kept, by a hash of the document's id. Pairs are always all kept."""
    max_blocks: PositiveInt | None = None
    """Read only so many documents' worth of sentences from the beginning."""
    licence: str = "CC BY 2.0 FR"
    """The collection's own; with it goes the attribution that each document's url leads to."""

    def paths(self, root: Path | None) -> Sequence[Path]:
        """Its files: each is read by itself."""
        return find_files(root, self.files)

    def read(self, path: Path, root: Path | None, scratch: Path) -> Iterator[Placed]:
        """Documents of a file's blocks, and the pairs of each as part `parallel`."""
        with open_stream(path) as lines:
            for block in join(parse(enumerate(lines, 1), str(path)), self):
                yield from (Placed("data", document.id, document) for document in block.documents)
                yield from (Placed("parallel", pair.id, pair) for pair in block.pairs)


class Sentence(NamedTuple):
    """A line of the file."""

    id: str
    ja: str | None
    en: str | None


class Block(NamedTuple):
    """The documents and pairs of consecutive sentences."""

    documents: tuple[Document, ...]
    pairs: tuple[Document, ...]


def parse(lines: Iterable[tuple[int, bytes]], file: str) -> Iterator[Sentence]:
    """Sentences of numbered lines.

    Raises:
        BunbukuError: A line has fewer than three columns or is not UTF-8.
    """
    for number, line in lines:
        try:
            columns = line.decode("utf-8").rstrip("\n").split("\t")
        except UnicodeDecodeError as error:
            raise BunbukuError(f"{file}:{number} is not UTF-8", hint="is it the file SENTENCES?") from error
        if len(columns) < 3:
            raise BunbukuError(
                f"{file}:{number} has {len(columns)} columns between tabs, not the 3 or more of id, Japanese, English",
                hint="is it the file SENTENCES?",
            )
        yield Sentence(columns[0], _given(columns[1]), _given(columns[2]))


def join(sentences: Iterable[Sentence], config: TatoebaSource) -> Iterator[Block]:
    r"""Blocks of documents and pairs, by the rule above.

    >>> lines = [Sentence("1", "犬が走る。", "A dog runs."), Sentence("2", "猫が寝る。", None)]
    >>> [block] = join(lines, TatoebaSource(joiner=" "))
    >>> [(document.id, document.text) for document in (*block.documents, *block.pairs)]
    [('tatoeba:0', '犬が走る。 猫が寝る。'), ('tatoeba:0#en', 'A dog runs.'), ('tatoeba:0/1', '犬が走る。\nA dog runs.')]
    """
    blocks = batched(sentences, config.sentences_per_document)
    for number, block in enumerate(islice(blocks, config.max_blocks)):
        name = f"tatoeba:{number}"
        languages = {"ja": name, "en": f"{name}#en"}
        texts = {language: _texts(block, language) for language in languages}
        documents = (
            _document(id, config.joiner.join(texts[language]), block[0], language, config)
            for language, id in languages.items()
            if texts[language] and _unit(id) < getattr(config.keep, language)
        )
        pairs = (
            _document(f"{name}/{one.id}", f"{one.ja}\n{one.en}", one, "ja-en", config)
            for one in block
            if one.ja and one.en
        )
        yield Block(tuple(documents), tuple(pairs))


def _given(column: str) -> str | None:
    return None if column in ("", _NONE) else column


def _texts(block: Sequence[Sentence], language: str) -> list[str]:
    """Sentences in a language, each once: several Japanese ones may share a translation."""
    texts = (one.ja if language == "ja" else one.en for one in block)
    return list(dict.fromkeys(text for text in texts if text))


def _document(id: str, text: str, first: Sentence, language: str, config: TatoebaSource) -> Document:
    url = f"https://tatoeba.org/sentences/show/{first.id}"
    return Document(id, text, source="tatoeba", url=url, licence=config.licence, language=language)


def _unit(id: str) -> float:
    """A number from 0 to below 1 that is a document's own."""
    digest = hashlib.blake2b(f"keep {id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
