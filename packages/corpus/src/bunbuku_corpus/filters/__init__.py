"""Measures, and the filters that are thresholds on them. `filter.py` says what both are."""

from typing import Annotated

from pydantic import Field

from bunbuku_corpus.filters.characters import (
    Characters,
    CompressionRatio,
    EarlyKana,
    HiraganaRatio,
    JapaneseCharacters,
    JapaneseRatio,
    KanaRatio,
    KatakanaRatio,
    Language,
    LetterRatio,
    Mojibake,
    MojibakeRatio,
    NoEarlyKana,
    OddCompression,
    OtherLanguage,
    TooFewJapanese,
    TooFewLetters,
    TooLittleHiragana,
    TooLittleJapanese,
    TooLittleKana,
    TooLong,
    TooMuchKatakana,
    TooShort,
)
from bunbuku_corpus.filters.filter import Bounds, Filter, Measure, Ratio, Values
from bunbuku_corpus.filters.listed import (
    Host,
    ListedHost,
    ListedWordCount,
    ListedWordRatio,
    ListedWords,
    OtherTopLevelDomain,
    SuspectUrl,
    TooManyListedWords,
    TopLevelDomain,
    UrlWordCount,
)
from bunbuku_corpus.filters.located import ListedSite, SiteCategory
from bunbuku_corpus.filters.monotony import (
    CharacterVariety,
    CommonWordRatio,
    KeywordDensity,
    MenuRatio,
    MostlyMenus,
    OneWordEverywhere,
    StuffedWord,
    TooLittleVariety,
)
from bunbuku_corpus.filters.other_columns import ColumnValue, OddValue
from bunbuku_corpus.filters.personal import (
    PersonalInformation,
    PersonalInformationCount,
    PersonalInformationRatio,
    TooMuchPersonalInformation,
)
from bunbuku_corpus.filters.phrasing import (
    Echoes,
    EchoRatio,
    ExclamationRatio,
    Exclamations,
    FragmentRatio,
    Fragments,
    OddParticles,
    ParticleSurprise,
    StrayParticleRatio,
    StrayParticles,
    TemplateRatio,
    Templates,
    TooFewSentences,
    WholeSentenceRatio,
)
from bunbuku_corpus.filters.pieces import (
    BulletLineRatio,
    BulletLines,
    CharactersPerKuten,
    DuplicateLineCharacters,
    DuplicateLineCharRatio,
    DuplicateLineRatio,
    DuplicateLines,
    DuplicateSentenceCharacters,
    DuplicateSentenceCharRatio,
    DuplicateSentenceRatio,
    DuplicateSentences,
    EllipsisLineRatio,
    EllipsisLines,
    EllipsisSentenceRatio,
    EllipsisSentences,
    EndlessSentence,
    LineEndRatio,
    LongestSentence,
    MeanSentence,
    OddSentences,
    ProseRatio,
    RepeatedLineRatio,
    RepeatedLines,
    RepeatedParagraphRatio,
    RepeatedParagraphs,
    ShortLineRatio,
    ShortLines,
    TooFewKuten,
    TooLittleProse,
    UnfinishedLines,
)
from bunbuku_corpus.filters.repetition import (
    DominantNgram,
    DominantNgramRatio,
    FrequentNgram,
    RecurringNgrams,
    RecurringNgramShare,
    RepeatedNgramRatio,
    RepeatedNgrams,
    TopNgramShare,
)
from bunbuku_corpus.filters.wording import (
    LetterWordRatio,
    MeanWord,
    NewlineWordRatio,
    NounRatio,
    OddWords,
    RepeatedWordNgramRatio,
    RepeatedWordNgrams,
    StopWordCount,
    SymbolWordRatio,
    TooFewLetterWords,
    TooFewStopWords,
    TooFewWords,
    TooManyNewlines,
    TooManyNouns,
    TooManySymbols,
    TooManyWords,
    TopWordNgram,
    TopWordNgramRatio,
    WordCount,
)

AnyFilter = Annotated[
    TooShort
    | TooLong
    | OtherLanguage
    | TooLittleKana
    | TooFewLetters
    | TooFewJapanese
    | TooLittleJapanese
    | TooLittleHiragana
    | TooMuchKatakana
    | NoEarlyKana
    | OddCompression
    | Mojibake
    | RepeatedLines
    | RepeatedParagraphs
    | DuplicateLines
    | DuplicateLineCharacters
    | DuplicateSentences
    | DuplicateSentenceCharacters
    | OddSentences
    | EndlessSentence
    | EllipsisSentences
    | TooFewKuten
    | UnfinishedLines
    | TooLittleProse
    | ShortLines
    | BulletLines
    | EllipsisLines
    | RepeatedNgrams
    | DominantNgram
    | FrequentNgram
    | RecurringNgrams
    | TooFewWords
    | TooManyWords
    | OddWords
    | TooFewLetterWords
    | TooManyNouns
    | TooFewStopWords
    | TooManySymbols
    | TooManyNewlines
    | TopWordNgram
    | RepeatedWordNgrams
    | ListedWords
    | TooManyListedWords
    | SuspectUrl
    | ListedHost
    | ListedSite
    | OtherTopLevelDomain
    | TooLittleVariety
    | OneWordEverywhere
    | MostlyMenus
    | TooFewSentences
    | Fragments
    | OddParticles
    | StrayParticles
    | Exclamations
    | Templates
    | Echoes
    | StuffedWord
    | PersonalInformation
    | TooMuchPersonalInformation
    | OddValue,
    Field(discriminator="type"),
]

AnyMeasure = Annotated[
    Characters
    | JapaneseCharacters
    | KanaRatio
    | LetterRatio
    | JapaneseRatio
    | HiraganaRatio
    | KatakanaRatio
    | EarlyKana
    | CompressionRatio
    | MojibakeRatio
    | Language
    | RepeatedLineRatio
    | RepeatedParagraphRatio
    | DuplicateLineRatio
    | DuplicateLineCharRatio
    | DuplicateSentenceRatio
    | DuplicateSentenceCharRatio
    | MeanSentence
    | LongestSentence
    | EllipsisSentenceRatio
    | CharactersPerKuten
    | LineEndRatio
    | ProseRatio
    | ShortLineRatio
    | BulletLineRatio
    | EllipsisLineRatio
    | RepeatedNgramRatio
    | DominantNgramRatio
    | TopNgramShare
    | RecurringNgramShare
    | WordCount
    | MeanWord
    | LetterWordRatio
    | NounRatio
    | StopWordCount
    | SymbolWordRatio
    | NewlineWordRatio
    | TopWordNgramRatio
    | RepeatedWordNgramRatio
    | ListedWordRatio
    | ListedWordCount
    | UrlWordCount
    | Host
    | SiteCategory
    | TopLevelDomain
    | CharacterVariety
    | CommonWordRatio
    | MenuRatio
    | WholeSentenceRatio
    | FragmentRatio
    | ParticleSurprise
    | StrayParticleRatio
    | ExclamationRatio
    | TemplateRatio
    | EchoRatio
    | KeywordDensity
    | PersonalInformationRatio
    | PersonalInformationCount,
    Field(discriminator="type"),
]

__all__ = [
    "AnyFilter",
    "AnyMeasure",
    "Bounds",
    "BulletLineRatio",
    "BulletLines",
    "CharacterVariety",
    "Characters",
    "CharactersPerKuten",
    "ColumnValue",
    "CommonWordRatio",
    "CompressionRatio",
    "DominantNgram",
    "DominantNgramRatio",
    "DuplicateLineCharRatio",
    "DuplicateLineCharacters",
    "DuplicateLineRatio",
    "DuplicateLines",
    "DuplicateSentenceCharRatio",
    "DuplicateSentenceCharacters",
    "DuplicateSentenceRatio",
    "DuplicateSentences",
    "EarlyKana",
    "EchoRatio",
    "Echoes",
    "EllipsisLineRatio",
    "EllipsisLines",
    "EllipsisSentenceRatio",
    "EllipsisSentences",
    "EndlessSentence",
    "ExclamationRatio",
    "Exclamations",
    "Filter",
    "FragmentRatio",
    "Fragments",
    "FrequentNgram",
    "HiraganaRatio",
    "Host",
    "JapaneseCharacters",
    "JapaneseRatio",
    "KanaRatio",
    "KatakanaRatio",
    "KeywordDensity",
    "Language",
    "LetterRatio",
    "LetterWordRatio",
    "LineEndRatio",
    "ListedHost",
    "ListedSite",
    "ListedWordCount",
    "ListedWordRatio",
    "ListedWords",
    "LongestSentence",
    "MeanSentence",
    "MeanWord",
    "Measure",
    "MenuRatio",
    "Mojibake",
    "MojibakeRatio",
    "MostlyMenus",
    "NewlineWordRatio",
    "NoEarlyKana",
    "NounRatio",
    "OddCompression",
    "OddParticles",
    "OddSentences",
    "OddValue",
    "OddWords",
    "OneWordEverywhere",
    "OtherLanguage",
    "OtherTopLevelDomain",
    "ParticleSurprise",
    "PersonalInformation",
    "PersonalInformationCount",
    "PersonalInformationRatio",
    "ProseRatio",
    "Ratio",
    "RecurringNgramShare",
    "RecurringNgrams",
    "RepeatedLineRatio",
    "RepeatedLines",
    "RepeatedNgramRatio",
    "RepeatedNgrams",
    "RepeatedParagraphRatio",
    "RepeatedParagraphs",
    "RepeatedWordNgramRatio",
    "RepeatedWordNgrams",
    "ShortLineRatio",
    "ShortLines",
    "SiteCategory",
    "StopWordCount",
    "StrayParticleRatio",
    "StrayParticles",
    "StuffedWord",
    "SuspectUrl",
    "SymbolWordRatio",
    "TemplateRatio",
    "Templates",
    "TooFewJapanese",
    "TooFewKuten",
    "TooFewLetterWords",
    "TooFewLetters",
    "TooFewSentences",
    "TooFewStopWords",
    "TooFewWords",
    "TooLittleHiragana",
    "TooLittleJapanese",
    "TooLittleKana",
    "TooLittleProse",
    "TooLittleVariety",
    "TooLong",
    "TooManyListedWords",
    "TooManyNewlines",
    "TooManyNouns",
    "TooManySymbols",
    "TooManyWords",
    "TooMuchKatakana",
    "TooMuchPersonalInformation",
    "TooShort",
    "TopLevelDomain",
    "TopNgramShare",
    "TopWordNgram",
    "TopWordNgramRatio",
    "UnfinishedLines",
    "UrlWordCount",
    "Values",
    "WholeSentenceRatio",
    "WordCount",
]
