"""How often each morpheme, run of morphemes, word and run of signs occurs in the training text.

MeCab says where the morphemes of Japanese begin and end, once, here. It is asked about a stretch between two spaces at a
time, never about a long one, and by one tagger a process. Nothing that a
trained tokenizer does later needs MeCab, so it is imported only when a tagger is made.
"""

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import batched
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

from bunbuku_contracts import BunbukuError

_JAPANESE = "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff々〆〇\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_ONE_JAPANESE = re.compile(f"[{_JAPANESE}]")
_ALL_JAPANESE = re.compile(f"[{_JAPANESE}]+")
_WORD = re.compile(f" ?(?:(?![{_JAPANESE}])[^\\W\\d_])+")
_SIGNS = re.compile(r" ?(?:[^\w\s]|_)+")

_CHUNK = re.compile(r"(?s).{1,10000}(?:(?<=[。！？、])|(?=\s)|$)|.{1,10000}")
"""Beyond some hundred thousand characters MeCab cuts words or crashes: no more than this at once, cut at a sign."""
_CHUNK_SENTENCES = 4000
"""Sentences a task. A constant, so that the pruning below does not depend on the number of workers."""
_MAX_RUNS = 4_000_000
"""Distinct runs kept in memory; beyond it those seen once are forgotten."""

DELIMITER = "\U0010fffc"
"""Marks a boundary in a text: the last character for private use but one. Texts lose it if they have it."""

type Segment = Callable[[str], list[str]]
type Dictionary = Literal["ipadic", "unidic-lite"]
"""Dictionaries of MeCab: IPA's, and UniDic 2.1.2, which cuts finer."""


@dataclass
class Tally:
    """Counts of what candidates are made of."""

    atoms: Counter[str] = field(default_factory=Counter)
    """Morphemes, words with or without the space before them, and runs of signs: any substring is a candidate."""
    runs: Counter[str] = field(default_factory=Counter)
    """Two and more whole morphemes in a row: candidates only as they are."""

    def add(self, other: "Tally") -> None:
        self.atoms.update(other.atoms)
        self.runs.update(other.runs)
        if len(self.runs) > _MAX_RUNS:
            self.runs = Counter({run: count for run, count in self.runs.items() if count > 1})


def count(
    sentences: Iterable[str],
    *,
    max_morphemes: int,
    max_chars: int,
    dictionary: Dictionary = "ipadic",
    workers: int = 1,
) -> Iterator[Tally]:
    """The tally of each few thousand sentences, in order; the same whatever the number of workers.

    Args:
        sentences: Texts without line ends, as `sentences.sentences` gives them.
        max_morphemes: Longest run of whole morphemes.
        max_chars: Longest run in characters.
        dictionary: Of MeCab.
        workers: Processes.
    """
    task = partial(count_chunk, max_morphemes=max_morphemes, max_chars=max_chars, dictionary=dictionary)
    yield from _in_chunks(task, sentences, workers)


def mark(sentences: Iterable[str], *, dictionary: Dictionary = "ipadic", workers: int = 1) -> Iterator[list[str]]:
    """The sentences with `DELIMITER` between morphemes, a few thousand at a time, in order."""
    yield from _in_chunks(partial(mark_chunk, dictionary=dictionary), sentences, workers)


def _in_chunks[T](task: Callable[[Iterable[str]], T], sentences: Iterable[str], workers: int) -> Iterator[T]:
    chunks = batched(sentences, _CHUNK_SENTENCES)
    if workers == 1:
        yield from map(task, chunks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[T]] = deque()
        for chunk in chunks:
            waiting.append(pool.submit(task, chunk))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def mark_chunk(sentences: Iterable[str], *, dictionary: Dictionary = "ipadic") -> list[str]:
    """Sentences with `DELIMITER` between morphemes; spaces stay where they are.

    >>> mark_chunk(["猫が好き。I like cats."])[0].split(DELIMITER)
    ['猫', 'が', '好き', '。', 'I like cats', '.']
    """
    segment = mecab(dictionary)

    def marked(sentence: str) -> str:
        sentence = sentence.replace(DELIMITER, "")
        if not _ONE_JAPANESE.search(sentence):
            return sentence
        return " ".join(DELIMITER.join(segment(stretch)) for stretch in sentence.split(" "))

    return [marked(sentence) for sentence in sentences]


def count_chunk(
    sentences: Iterable[str], *, max_morphemes: int, max_chars: int, dictionary: Dictionary = "ipadic"
) -> Tally:
    """The tally of some sentences.

    >>> tally = count_chunk(["猫が好き。I like cats."], max_morphemes=2, max_chars=16)
    >>> sorted(tally.atoms), sorted(tally.runs)
    ([' cats', ' like', '.', 'I', '。', 'が', '好き', '猫'], ['が好き', '猫が'])
    """
    segment = mecab(dictionary)
    tally = Tally()
    for sentence in sentences:
        tally.atoms.update(_WORD.findall(sentence))
        tally.atoms.update(_SIGNS.findall(sentence))
        if _ONE_JAPANESE.search(sentence):
            for stretch in sentence.split():
                _count_morphemes(segment(stretch), tally, max_morphemes, max_chars)
    return tally


def _count_morphemes(morphemes: list[str], tally: Tally, max_morphemes: int, max_chars: int) -> None:
    row: list[str] = []
    for morpheme in morphemes:
        if not _ALL_JAPANESE.fullmatch(morpheme):
            row = []
            continue
        tally.atoms[morpheme] += 1
        row = [*row, morpheme][-max_morphemes:]
        run = morpheme
        for before in row[-2::-1]:
            run = before + run
            if len(run) > max_chars:
                break
            tally.runs[run] += 1


@cache
def mecab(dictionary: Dictionary = "ipadic") -> Segment:
    """This process's segmenter: a stretch without spaces to its morphemes, by MeCab.

    >>> mecab()("すもももももももものうち")
    ['すもも', 'も', 'もも', 'も', 'もも', 'の', 'うち']

    Raises:
        BunbukuError: MeCab or the dictionary cannot be opened.
    """
    extra = "" if dictionary == "ipadic" else "[unidic]"
    try:
        from fugashi.fugashi import GenericTagger

        folder = _folder(dictionary)
        tagger = GenericTagger(f'-Owakati -r "{folder / "mecabrc"}" -d "{folder}"')
    except (ImportError, RuntimeError) as error:
        raise BunbukuError(
            f"MeCab with the dictionary {dictionary} cannot be opened: {error}",
            hint=f"install them with `pip install bunbuku-tokenizer{extra}`",
        ) from error
    return lambda stretch: [word for part in _CHUNK.findall(stretch) for word in tagger.parse(part).split()]


def _folder(dictionary: Dictionary) -> Path:
    if dictionary == "ipadic":
        import ipadic

        return Path(ipadic.DICDIR)
    import unidic_lite

    return Path(unidic_lite.DICDIR)
