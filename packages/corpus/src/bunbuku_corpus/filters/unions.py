"""Any filter and any measure, as a config names them by their `type`. What is not named here cannot be asked for."""

from typing import Annotated

from pydantic import Field

from bunbuku_corpus.filters import (
    characters,
    joints,
    listed,
    located,
    monotony,
    other_columns,
    personal,
    phrasing,
    pieces,
    repetition,
    wording,
)

AnyFilter = Annotated[
    characters.TooShort
    | characters.TooLong
    | characters.OtherLanguage
    | characters.TooLittleKana
    | characters.TooFewLetters
    | characters.TooFewJapanese
    | characters.TooLittleJapanese
    | characters.TooLittleHiragana
    | characters.TooMuchKatakana
    | characters.NoEarlyKana
    | characters.OddCompression
    | characters.Mojibake
    | pieces.RepeatedLines
    | pieces.RepeatedParagraphs
    | pieces.DuplicateLines
    | pieces.DuplicateLineCharacters
    | pieces.DuplicateSentences
    | pieces.DuplicateSentenceCharacters
    | pieces.OddSentences
    | pieces.EndlessSentence
    | pieces.EllipsisSentences
    | pieces.TooFewKuten
    | pieces.UnfinishedLines
    | pieces.TooLittleProse
    | pieces.ShortLines
    | pieces.BulletLines
    | pieces.EllipsisLines
    | repetition.RepeatedNgrams
    | repetition.DominantNgram
    | repetition.FrequentNgram
    | repetition.RecurringNgrams
    | wording.TooFewWords
    | wording.TooManyWords
    | wording.OddWords
    | wording.TooFewLetterWords
    | wording.TooManyNouns
    | wording.TooFewStopWords
    | wording.TooManySymbols
    | wording.TooManyNewlines
    | wording.TopWordNgram
    | wording.RepeatedWordNgrams
    | listed.ListedWords
    | listed.TooManyListedWords
    | listed.SuspectUrl
    | listed.ListedHost
    | located.ListedSite
    | listed.OtherTopLevelDomain
    | monotony.TooLittleVariety
    | monotony.OneWordEverywhere
    | monotony.MostlyMenus
    | phrasing.TooFewSentences
    | phrasing.Fragments
    | phrasing.OddParticles
    | phrasing.StrayParticles
    | joints.OddJoints
    | joints.CutOff
    | phrasing.Exclamations
    | phrasing.Templates
    | phrasing.Echoes
    | monotony.StuffedWord
    | personal.PersonalInformation
    | personal.TooMuchPersonalInformation
    | other_columns.OddValue,
    Field(discriminator="type"),
]

AnyMeasure = Annotated[
    characters.Characters
    | characters.JapaneseCharacters
    | characters.KanaRatio
    | characters.LetterRatio
    | characters.JapaneseRatio
    | characters.HiraganaRatio
    | characters.KatakanaRatio
    | characters.EarlyKana
    | characters.CompressionRatio
    | characters.MojibakeRatio
    | characters.Language
    | pieces.RepeatedLineRatio
    | pieces.RepeatedParagraphRatio
    | pieces.DuplicateLineRatio
    | pieces.DuplicateLineCharRatio
    | pieces.DuplicateSentenceRatio
    | pieces.DuplicateSentenceCharRatio
    | pieces.MeanSentence
    | pieces.LongestSentence
    | pieces.EllipsisSentenceRatio
    | pieces.CharactersPerKuten
    | pieces.LineEndRatio
    | pieces.ProseRatio
    | pieces.ShortLineRatio
    | pieces.BulletLineRatio
    | pieces.EllipsisLineRatio
    | repetition.RepeatedNgramRatio
    | repetition.DominantNgramRatio
    | repetition.TopNgramShare
    | repetition.RecurringNgramShare
    | wording.WordCount
    | wording.MeanWord
    | wording.LetterWordRatio
    | wording.NounRatio
    | wording.StopWordCount
    | wording.SymbolWordRatio
    | wording.NewlineWordRatio
    | wording.TopWordNgramRatio
    | wording.RepeatedWordNgramRatio
    | listed.ListedWordRatio
    | listed.ListedWordCount
    | listed.UrlWordCount
    | listed.Host
    | located.SiteCategory
    | listed.TopLevelDomain
    | monotony.CharacterVariety
    | monotony.CommonWordRatio
    | monotony.MenuRatio
    | phrasing.WholeSentenceRatio
    | phrasing.FragmentRatio
    | phrasing.ParticleSurprise
    | phrasing.StrayParticleRatio
    | phrasing.ExclamationRatio
    | phrasing.TemplateRatio
    | phrasing.EchoRatio
    | monotony.KeywordDensity
    | personal.PersonalInformationRatio
    | personal.PersonalInformationCount
    | joints.JointBits
    | joints.CutOffRatio,
    Field(discriminator="type"),
]
