"""Published sets of filters and edits with their values, and our own for the web, which is what is done by default.

What is a value of the original's and what had to be another is said beside it; `docs/corpus.md` says it for readers.
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Literal, NamedTuple

from bunbuku_corpus.edits import (
    AnyEdit,
    DropBoilerplateLines,
    DropMenus,
    DropSymbolLines,
    MaskPersonalInformation,
    RepairMojibake,
    TrimFooter,
    UnifyPunctuation,
)
from bunbuku_corpus.filters import (
    AnyFilter,
    BulletLines,
    CutOff,
    DominantNgram,
    DuplicateLineCharacters,
    DuplicateLines,
    DuplicateSentenceCharacters,
    DuplicateSentences,
    Echoes,
    EllipsisLines,
    EllipsisSentences,
    EndlessSentence,
    Exclamations,
    Fragments,
    FrequentNgram,
    ListedHost,
    ListedWords,
    Mojibake,
    MostlyMenus,
    NoEarlyKana,
    OddCompression,
    OddJoints,
    OddParticles,
    OddSentences,
    OddWords,
    OneWordEverywhere,
    OtherLanguage,
    OtherTopLevelDomain,
    RecurringNgrams,
    RepeatedLines,
    RepeatedNgrams,
    RepeatedParagraphs,
    RepeatedWordNgrams,
    StrayParticles,
    StuffedWord,
    Templates,
    TooFewJapanese,
    TooFewKuten,
    TooFewLetters,
    TooFewLetterWords,
    TooFewSentences,
    TooFewStopWords,
    TooFewWords,
    TooLittleHiragana,
    TooLittleJapanese,
    TooLittleKana,
    TooLittleVariety,
    TooLong,
    TooManyListedWords,
    TooManyNewlines,
    TooManyNouns,
    TooManySymbols,
    TooManyWords,
    TooMuchKatakana,
    TooShort,
    TopWordNgram,
    UnfinishedLines,
)

type PresetName = Literal["web", "tanuki", "fineweb2-ja", "fineweb2-ja-mecab", "swallow-v1", "llm-jp-v1"]


class Preset(NamedTuple):
    """What is let through, and what is done to texts before they are judged."""

    filters: tuple[AnyFilter, ...]
    edits: tuple[AnyEdit, ...] = ()


# Gopher's table A1 (arXiv:2112.11446), which Swallow and Tanuki took over for n-grams of characters.
_TOP = ((2, 0.20), (3, 0.18), (4, 0.16))
_DUPLICATE = ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))

# Of datatrove's terminal punctuation what stands in Japanese and English text (`datatrove.utils.text`).
_TERMINAL = tuple("。．！？.!?｡⁇⁈⁉‼")


def _web() -> Preset:
    """What `clean` does if it is told nothing else. benchmarks/RESULTS.md says on what its thresholds were found."""
    filters = (
        TooShort(min_chars=15),
        Fragments(),
        TooLong(max_chars=1_000_000),
        OtherLanguage(),
        TooLittleKana(min_ratio=0.08),
        TooFewLetters(min_ratio=0.5),
        Mojibake(max_ratio=0.05),
        RepeatedLines(max_ratio=0.3),
        RepeatedParagraphs(max_ratio=0.3),
        RepeatedNgrams(n=10, max_ratio=0.7),
        DominantNgram(n=2, max_ratio=0.3),
        TooLittleVariety(window=150, min_ratio=0.295),
        TooLittleVariety(window=200, min_ratio=0.25),
        OneWordEverywhere(chars=2, max_ratio=0.79),
        StuffedWord(),
        MostlyMenus(max_ratio=0.5),
        TooFewSentences(),
        OddParticles(),
        StrayParticles(),
        OddJoints(),
        CutOff(),
        Exclamations(),
        Templates(),
        Echoes(max_ratio=0.56),
        ListedWords(vocabulary="adult", max_ratio=0.03),
        ListedWords(vocabulary="violence", max_ratio=0.03),
        ListedWords(vocabulary="discrimination", max_ratio=0.02),
        ListedWords(vocabulary="advertising", max_ratio=0.05),
        ListedWords(vocabulary="boilerplate", max_ratio=0.15),
    )
    return Preset(filters, (RepairMojibake(), DropBoilerplateLines(), DropMenus(), TrimFooter()))


def _swallow_v1() -> Preset:
    """swallow-llm/swallow-corpus, `ngurl.py`, `ngword.py` and `quality.py`, `apply_v1`, in its order, and `modify.py`.

    The original edits what its filters let through; here edits come first, as everywhere.
    """
    filters = (
        # The original leaves out whole hosts by UT1's lists, which are not here, and these two.
        ListedHost(hosts=("5ch.net", "wikipedia.org")),
        # ng_fraction, of one list that is not here, by Japanese letters: ours stand in its place, `words` adds others.
        ListedWords(vocabulary="adult", max_ratio=0.05),
        ListedWords(vocabulary="discrimination", max_ratio=0.05),
        TooShort(min_chars=400),  # num_letters
        DuplicateLines(blank=True, max_ratio=0.30),  # duplicate_paragraph_fraction: a paragraph is a line
        DuplicateSentences(max_ratio=0.30),  # duplicate_sentence_fraction
        DuplicateLineCharacters(max_ratio=0.20),  # duplicate_paragraph_fraction_in_character
        DuplicateSentenceCharacters(max_ratio=0.20),  # duplicate_sentence_fraction_in_character
        *(FrequentNgram(n=n, max_ratio=most) for n, most in _TOP),  # top_{n}gram_character_fraction
        *(RecurringNgrams(n=n, max_ratio=most) for n, most in _DUPLICATE),  # duplicate_{n}gram_character_fraction
        TooLittleHiragana(min_ratio=0.2),  # hiragana_fraction
        TooMuchKatakana(max_ratio=0.5),  # katakana_fraction
        TooLittleJapanese(min_ratio=0.5),  # japanese_fraction
        TooFewJapanese(min_chars=400),  # num_japanese_letters
        OddSentences(min_chars=20, max_chars=90),  # avg_sentence_length
        EndlessSentence(max_chars=200),  # max_sentence_length
        EllipsisSentences(max_ratio=0.2),  # ellipsis_fraction
    )
    return Preset(filters, (UnifyPunctuation(), TrimFooter(lines=10, min_ratio=0.3)))


def _fineweb2_ja() -> Preset:
    """huggingface/fineweb-2, `configs/jpn_Jpan.yml`, and what of datatrove's defaults it leaves, in its order.

    The values are those of the paper, which the file has since its last change. What the original does to texts that came
    through, mojibake, mail and IP addresses and lines of |, is done before here.
    """
    top = ((2, 0.239), (3, 0.196), (4, 0.172))  # top_n_grams
    duplicate = ((5, 0.243), (6, 0.225), (7, 0.207), (8, 0.19), (9, 0.175), (10, 0.159))  # dup_n_grams
    stop_words = tuple("のにをはたてがとで年し・月れさ")  # stopwords
    filters = (
        OtherLanguage(),  # in place of GlotLID at a language_score of 0.886, whose model is not here
        DuplicateLines(max_ratio=0.328),  # dup_line_frac
        *(TopWordNgram(n=n, spaces=True, max_ratio=most) for n, most in top),
        *(RepeatedWordNgrams(n=n, max_ratio=most) for n, most in duplicate),
        UnfinishedLines(marks=_TERMINAL, min_ratio=0.096),  # line_punct_thr
        DuplicateLineCharacters(max_ratio=0.1),  # char_duplicates_ratio
        TooManyNewlines(max_ratio=0.13),  # new_line_ratio
        TooFewWords(min_words=50),  # min_doc_words
        TooManyWords(max_words=100_000),  # max_doc_words
        OddWords(min_chars=1, max_chars=6),  # min_avg_word_length, max_avg_word_length
        TooManySymbols(max_ratio=0.1),  # max_symbol_word_ratio
        BulletLines(bullets=("•", "-"), max_ratio=0.9),  # max_bullet_lines_ratio
        EllipsisLines(max_ratio=0.3),  # max_ellipsis_lines_ratio
        TooFewLetterWords(min_ratio=0.759),  # max_non_alpha_words_ratio
        TooFewStopWords(stop_words=stop_words, min_count=2),  # min_stop_words
    )
    return Preset(filters, (RepairMojibake(), MaskPersonalInformation(phone=None), DropSymbolLines(symbols="|")))


def _fineweb2_ja_mecab() -> Preset:
    """The same with the words of MeCab: faster, and other verdicts on a few documents."""
    filters, edits = _fineweb2_ja()
    by_mecab = (
        one.model_copy(update={"analyzer": "mecab"}) if "analyzer" in type(one).model_fields else one for one in filters
    )
    return Preset(tuple(by_mecab), edits)


def _llm_jp_v1() -> Preset:
    """llm-jp/llm-jp-corpus, `scripts/filters.py`. Its lists of words are not here: ours stand in their place."""
    domains = ("jp", "com", "net", "org", "work", "info", "xyz", "biz", "me", "tv", "site", "tokyo", "cc")
    filters = (
        OtherTopLevelDomain(expected=domains),
        ListedHost(hosts=("ja.wikipedia.org",)),
        NoEarlyKana(chars=50, min_count=1),
        TooManyListedWords(vocabulary="advertising", max_count=10),
        TooManyListedWords(vocabulary="adult", max_count=3),
        TooManyListedWords(vocabulary="discrimination", max_count=3),
        TooManyListedWords(vocabulary="violence", max_count=3),
        TooFewKuten(max_chars=250),
        OddCompression(min_ratio=0.30, max_ratio=0.70),
    )
    return Preset(filters)


def _tanuki() -> Preset:
    """matsuolab/nedo_project_code, team_hatakeyama, `1_DataPreparation/CommonCrawl`, and HojiChar's defaults there.

    Half of the original's decisions were left to chance without a seed: its word filters judged a document with a
    probability of one half, and lines with one of some 300 words went with one of 0.9. Here nothing is.
    """
    filters = (
        NoEarlyKana(chars=50, min_count=1),  # AcceptJapanese
        TooShort(min_chars=30),  # 10 at first, 30 after lines were removed
        TooLong(max_chars=50_000),
        FrequentNgram(n=1, max_ratio=0.3),  # one character's share, from 0.3
        RepeatedLines(max_ratio=0.30),
        RepeatedParagraphs(max_ratio=0.30),
        *(DominantNgram(n=n, max_ratio=most) for n, most in _TOP),
        *(RepeatedNgrams(n=n, max_ratio=most) for n, most in _DUPLICATE),
        TooManyNouns(max_ratio=0.7),  # noun and symbol ratio of a document; MeCab there, Sudachi here
        # The original's lists dropped on one hit. Density in its place, and its ten advertising words.
        ListedWords(vocabulary="adult", max_ratio=0.03),
        TooManyListedWords(vocabulary="advertising", max_count=10),
    )
    return Preset(filters, (MaskPersonalInformation(),))


@cache
def presets() -> Mapping[str, Preset]:
    """Every preset by its name."""
    return MappingProxyType(
        {
            "web": _web(),
            "tanuki": _tanuki(),
            "fineweb2-ja": _fineweb2_ja(),
            "fineweb2-ja-mecab": _fineweb2_ja_mecab(),
            "swallow-v1": _swallow_v1(),
            "llm-jp-v1": _llm_jp_v1(),
        }
    )
