"""Measures and filters of how a text is put together: whole sentences or fragments, particles, templates, echoes.

None of them knows a word. They look at the hiragana that stands between words in kanji and katakana, since that is what
sentences are held together by, and at sentences that are the same but for such words.
"""

from typing import Literal, override

import numpy as np
from pydantic import PositiveInt

from bunbuku_corpus.characters import SCRIPTS, Class, Script, classes
from bunbuku_corpus.filters.filter import Filter, Measure, Ratio, Values, ratio
from bunbuku_corpus.items import Items, Mask, Places
from bunbuku_corpus.menus import LINE_ENDS
from bunbuku_corpus.texts import Pieces, Texts

_WORD_SIGNS = (Class.HIRAGANA, Class.KATAKANA, Class.LONG_VOWEL, Class.KANJI)
_SENTENCES = 8
"""Sentences that a share of them is told from."""
_FEWEST_LETTERS = 4


class WholeSentenceRatio(Measure):
    """Share of the Japanese letters that stand in whole sentences; none for a text without any.

    A whole sentence ends with 。 or another full stop and has some kana, or it ends as lines of prose do and has more of it, or it is
    nearly half of hiragana and has at least `chars` characters, as a line that was broken is. A line that begins with a digit has to
    end as one: it is a heading.
    """

    revision = 2
    type: Literal["whole_sentence_ratio"] = "whole_sentence_ratio"
    chars: PositiveInt = 6

    @override
    def of(self, texts: Texts) -> Values:
        sentences = texts.sentences
        letters = sentences.within(np.isin(texts.kinds, _WORD_SIGNS))
        return ratio(sentences.total(letters * self._whole(texts, sentences, letters)), sentences.total(letters))

    def _whole(self, texts: Texts, sentences: Pieces, letters: Places) -> Mask:
        kana = sentences.within(np.isin(texts.kinds, (Class.HIRAGANA, Class.KATAKANA)))
        hiragana = sentences.within(texts.kinds == Class.HIRAGANA)
        last = texts.last_characters(sentences)
        stopped = (SCRIPTS[classes(last)] == Script.MARK) & (letters >= _FEWEST_LETTERS) & (kana >= 0.1 * letters)
        closed = np.isin(last, [ord(mark) for mark in LINE_ENDS]) & (hiragana >= 0.2 * letters)
        broken = (hiragana >= 0.45 * letters) & (texts.kinds[sentences.starts] != Class.DIGIT)
        return stopped | ((closed | broken) & (sentences.chars >= self.chars))


class FragmentRatio(Measure):
    """Share of the Japanese letters of a text of less than `chars` characters that stand in no whole sentence."""

    revision = 2
    type: Literal["fragment_ratio"] = "fragment_ratio"
    chars: PositiveInt = 100

    @override
    def of(self, texts: Texts) -> Values:
        return np.where(texts.lengths < self.chars, 1 - WholeSentenceRatio().of(texts), np.nan)


_PARTICLES = np.array([ord(one) for one in "をがはにのへでもとや"], np.uint32)
_PAIRS = np.array(
    (  # を が は に の へ で も と や, after each of the same
        (63, 102, 51, 3041, 939, 86, 684, 54, 214, 20),
        (1265, 66, 35, 1920, 1850, 62, 443, 68, 219, 32),
        (1972, 933, 160, 2849, 4796, 82, 783, 205, 501, 82),
        (3125, 883, 215, 894, 2066, 54, 262, 108, 224, 66),
        (17358, 6173, 6945, 9131, 9628, 741, 3354, 1116, 2241, 925),
        (138, 16, 3, 39, 31, 3, 5, 3, 14, 1),
        (1280, 384, 88, 572, 833, 31, 71, 60, 85, 36),
        (197, 68, 65, 292, 318, 10, 60, 302, 40, 9),
        (783, 301, 250, 617, 1739, 29, 141, 19, 132, 17),
        (405, 177, 101, 193, 763, 5, 58, 32, 27, 71),
    )
)
"""How often of 100,000 times in our development text one particle follows another with a single word between them."""
_BITS = -np.log2(_PAIRS / _PAIRS.sum())
_FEWEST_PAIRS, _USUAL_BITS, _USUAL_PAIRS = 10, 5.0, 10


class ParticleSurprise(Measure):
    """How unusual it is which particle follows which, in bits a pair; none for a text with fewer than ten pairs.

    Counted are particles of one hiragana behind a word and the next one behind the word after it: 「本を」「駅で」. Ten usual pairs are
    counted with those of the text, so that a few unusual ones say little.
    """

    type: Literal["particle_surprise"] = "particle_surprise"

    @override
    def of(self, texts: Texts) -> Values:
        runs, size = texts.runs, len(texts)
        words = np.isin(runs.scripts, (Script.KANJI, Script.KATAKANA))
        signs = texts.characters.values[runs.starts]
        lone = (runs.scripts == Script.HIRAGANA) & (runs.ends - runs.starts == 1) & np.isin(signs, _PARTICLES)
        lone[1:] &= words[:-1] & (runs.documents[1:] == runs.documents[:-1])
        first = np.flatnonzero(lone[:-2] & lone[2:] & words[1:-1])
        first = first[runs.documents[first] == runs.documents[first + 2]]
        order = np.argsort(_PARTICLES)
        which = order[np.searchsorted(_PARTICLES, signs, sorter=order).clip(max=len(order) - 1)]
        bits = np.bincount(runs.documents[first], _BITS[which[first], which[first + 2]], size)
        pairs = np.bincount(runs.documents[first], minlength=size)
        shrunk = (bits + _USUAL_BITS * _USUAL_PAIRS) / (pairs + _USUAL_PAIRS)
        return np.where(pairs >= _FEWEST_PAIRS, shrunk, np.nan)


class StrayParticleRatio(Measure):
    """Particles where none can stand, right behind 、 or 。 or between a word and 。, by these marks; the first is forgiven.

    None for a text of fewer than eight marks.
    """

    type: Literal["stray_particle_ratio"] = "stray_particle_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        runs, size = texts.runs, len(texts)
        words = np.isin(runs.scripts, (Script.KANJI, Script.KATAKANA))
        marks = runs.scripts == Script.MARK
        stops = texts.characters.values[runs.starts] == ord("。")
        single = (runs.scripts == Script.HIRAGANA) & (runs.ends - runs.starts == 1)
        # と and や stand behind a comma.
        single &= np.isin(texts.characters.values[runs.starts], _PARTICLES[:-2])
        behind, before = np.zeros(len(single), np.bool_), np.zeros(len(single), np.bool_)
        inside = (runs.documents[:-2] == runs.documents[2:]) if len(single) > 2 else np.empty(0, np.bool_)
        behind[1:-1] = single[1:-1] & marks[:-2] & words[2:] & inside
        before[1:-1] = single[1:-1] & words[:-2] & stops[2:] & inside
        stray = np.bincount(runs.documents[behind | before], minlength=size)
        number = np.bincount(runs.documents[marks], minlength=size)
        return np.where(number >= _SENTENCES, ratio(np.maximum(stray - 1, 0), number), np.nan)


class ExclamationRatio(Measure):
    """Share of the sentences that end with an exclamation mark; none for a text of fewer than eight."""

    type: Literal["exclamation_ratio"] = "exclamation_ratio"

    @override
    def of(self, texts: Texts) -> Values:
        sentences = texts.sentences
        cries = sentences.total(np.isin(texts.last_characters(sentences), [ord(mark) for mark in "！!"]))
        return np.where(sentences.numbers >= _SENTENCES, ratio(cries, sentences.numbers), np.nan)


class TemplateRatio(Measure):
    """Share of the characters in sentences that are the same as another but for their words; none for fewer than eight.

    Whatever is no hiragana and no mark is a word here. Sentences of less than `hiragana` hiragana are no templates.
    """

    type: Literal["template_ratio"] = "template_ratio"
    hiragana: PositiveInt = 6

    @override
    def of(self, texts: Texts) -> Values:
        kept = np.isin(texts.kinds, (Class.HIRAGANA, Class.TOTEN, Class.KUTEN))
        first = ~kept
        first[1:] &= kept[:-1] | (np.diff(texts.characters.documents) != 0)
        signs = np.where(first, np.uint32(0), texts.characters.values)[kept | first]
        place = np.concatenate(([0], np.cumsum(kept | first)))
        sentences = texts.sentences
        hashes = Items(signs, np.array([0, len(signs)])).hashes(place[sentences.starts], place[sentences.ends])
        forms = Pieces(sentences.starts, sentences.ends, sentences.documents, hashes, len(texts))
        long = sentences.within(texts.kinds == Class.HIRAGANA) >= self.hiragana
        found = ratio(sentences.total(sentences.chars * (long & forms.shared)), sentences.total(sentences.chars))
        return np.where(sentences.numbers >= _SENTENCES, found, np.nan)


class EchoRatio(Measure):
    """Share of kana, kanji and marks in `n`-grams that stand twice within `window` of them, in Japanese without Latin words.

    What a text repeats grows with its length; what a window repeats does not. None for texts of fewer than 150 such characters, or
    more than a fiftieth of whose letters are others: manuals repeat themselves.
    """

    type: Literal["echo_ratio"] = "echo_ratio"
    n: PositiveInt = 6
    window: PositiveInt = 400

    @override
    def of(self, texts: Texts) -> Values:
        kept = np.isin(texts.kinds, (*_WORD_SIGNS, Class.TOTEN, Class.KUTEN))
        sizes = texts.characters.totals(kept)
        windows = np.maximum(sizes // self.window, 1)
        # The last window of a text takes what is left.
        begin = np.cumsum(sizes) - sizes
        nth = np.arange(windows.sum()) - np.repeat(np.cumsum(windows) - windows, windows)
        offsets = np.append(np.repeat(begin, windows) + nth * self.window, sizes.sum())
        items = Items(texts.characters.values[kept], offsets)
        twice = np.zeros(len(items.values), np.bool_)
        grams = items.grams(self.n)
        twice[grams.places[np.repeat(grams.lengths > 1, grams.lengths)]] = True
        owners = np.repeat(np.arange(len(texts)), windows)
        echoes = np.bincount(owners, items.covered(twice, self.n), len(texts))
        other = texts.number((Class.LETTER,)) > 0.02 * texts.number((*_WORD_SIGNS, Class.LETTER))
        return np.where((sizes >= 150) & ~other, ratio(echoes, sizes), np.nan)


class TooFewSentences(Filter):
    r"""Less than `min_ratio` of the Japanese letters stand in whole sentences: menus, lists of wares, search words.

    >>> TooFewSentences().drops("ホーム\n会社概要\n採用情報"), TooFewSentences().drops("会社概要\n当社は百年前に生まれました。")
    (True, False)
    """

    measured = WholeSentenceRatio
    type: Literal["too_few_sentences"] = "too_few_sentences"
    chars: PositiveInt = 6
    min_ratio: Ratio = 0.15


class Fragments(Filter):
    """A text of less than `chars` characters, more than `max_ratio` of whose letters stand in no whole sentence.

    >>> Fragments().drops("本日のおすすめ商品一覧 全12件"), Fragments().drops("京都市は、京都府の南部にある市である。")
    (True, False)
    """

    measured = FragmentRatio
    type: Literal["fragments"] = "fragments"
    chars: PositiveInt = 100
    max_ratio: Ratio = 0.5


class OddParticles(Filter):
    """Particles follow each other as in no sentence, more than `max_bits` a pair: word salad, of whatever words.

    >>> OddParticles().drops("海を空を本が山は犬へ窓は鳥を机へ車も本を" * 3), OddParticles().drops("本の題を紙に書き、駅の前で友を待つ。" * 6)
    (True, False)
    """

    measured = ParticleSurprise
    type: Literal["odd_particles"] = "odd_particles"
    max_bits: float = 6.6


class StrayParticles(Filter):
    """More than `max_ratio` particles, by 、 and 。, stand where none can: words that were shuffled.

    >>> StrayParticles().drops("海を。に山、犬が。の空。を鳥、窓は。" * 2), StrayParticles().drops("海へ行く。山も、空も青い。" * 4)
    (True, False)
    """

    measured = StrayParticleRatio
    type: Literal["stray_particles"] = "stray_particles"
    max_ratio: Ratio = 0.05


class Exclamations(Filter):
    """More than `max_ratio` of at least eight sentences are cries.

    >>> Exclamations().drops("今だけ！" * 8), Exclamations().drops("すごい！" * 7)
    (True, False)
    """

    measured = ExclamationRatio
    type: Literal["exclamations"] = "exclamations"
    max_ratio: Ratio = 0.65


class Templates(Filter):
    """More than `max_ratio` of the characters stand in sentences that are the same as another but for their words.

    >>> Templates().drops("".join(f"{one}で人生が変わりました。" for one in "肌髪歯目腰肩首足")), Templates().drops("短い。")
    (True, False)
    """

    measured = TemplateRatio
    type: Literal["templates"] = "templates"
    hiragana: PositiveInt = 6
    max_ratio: Ratio = 0.4


class Echoes(Filter):
    """More than `max_ratio` of the Japanese stands twice within a few sentences, in a text without Latin words.

    >>> Echoes().drops("毎日の食事を少し見直すことで変わっていきます。" * 8), Echoes().drops("短い。")
    (True, False)
    """

    measured = EchoRatio
    type: Literal["echoes"] = "echoes"
    n: PositiveInt = 6
    window: PositiveInt = 400
    max_ratio: Ratio = 0.62
