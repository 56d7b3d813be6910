"""Edits of texts that are let through but not as they are. Each is its own config, like a filter, with one pure method.

An edit comes after normalization and before anything is measured. None of them uses chance: equal texts come out equal.
"""

import re
import unicodedata
from abc import ABC, abstractmethod
from typing import Annotated, Literal, override

from bunbuku_contracts import Config
from pydantic import Field, PositiveInt

from bunbuku_corpus import mojibake
from bunbuku_corpus.vocabulary import Vocabulary, fold, searcher

_EMAIL = re.compile(r"[A-Za-z0-9_.+-]{1,64}[@＠][A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,4}")
_PHONE = re.compile(
    r"(?<![\d.\-－])(?:[+＋](?:81|８１)[ -]?|[(（]?[0０])\d{0,4}[)）]?[ \-‐－ー]?[(（]?\d{1,4}[)）]?[ \-‐－ー]?\d{3,4}(?![\d\-－])"
)
_ADDRESS = re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])")
_SENTENCE_ENDS = "。！？!?」』"


class Edit(Config, ABC):
    """What every edit is."""

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return str(type(self).model_fields["type"].default)

    @abstractmethod
    def apply(self, text: str) -> str:
        """The text as it is let through."""


class RepairMojibake(Edit):
    """Read UTF-8 anew that was read as Windows-1252 or Latin-1, where that gives Japanese. All else stays.

    >>> RepairMojibake().apply("これは".encode().decode("latin-1") + "Ａ")
    'これはＡ'
    """

    type: Literal["repair_mojibake"] = "repair_mojibake"

    @override
    def apply(self, text: str) -> str:
        return mojibake.repair(text)


class MaskPersonalInformation(Edit):
    """Replace mail addresses, Japanese telephone numbers and IP addresses.

    >>> MaskPersonalInformation().apply("連絡先は03-1234-5678、taro.yamada@mail.co.jpです。2024-01-02")
    '連絡先は000-0000-0000、email@example.comです。2024-01-02'
    """

    type: Literal["mask_personal_information"] = "mask_personal_information"
    email: str = "email@example.com"
    phone: str = "000-0000-0000"
    address: str = "192.0.2.1"

    @override
    def apply(self, text: str) -> str:
        if "@" in text or "＠" in text:
            text = _EMAIL.sub(self.email, text)
        text = _ADDRESS.sub(self.address, text)
        return _PHONE.sub(self._phone, text)

    def _phone(self, found: re.Match[str]) -> str:
        digits = "".join(filter(str.isdigit, unicodedata.normalize("NFKC", found[0])))
        national = "0" + digits[2:] if found[0][0] in "+＋" else digits
        divided = len(digits) < len(found[0])
        return self.phone if len(national) in (10, 11) and divided else found[0]


class DropBoilerplateLines(Edit):
    r"""Remove lines that are no sentences and of which more than `min_ratio` is words of a list, menus and the like.

    >>> DropBoilerplateLines().apply("ホーム | 会社概要 | お問い合わせ\n会社概要は、次のとおりです。")
    '会社概要は、次のとおりです。'
    """

    type: Literal["drop_boilerplate_lines"] = "drop_boilerplate_lines"
    vocabulary: Vocabulary = "boilerplate"
    words: tuple[str, ...] = ()
    min_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    max_chars: PositiveInt = 200
    """Longer lines stay."""

    @override
    def apply(self, text: str) -> str:
        return "\n".join(line for line in text.split("\n") if not self.is_boilerplate(line))

    def is_boilerplate(self, line: str) -> bool:
        """Whether a line is to go."""
        line = line.strip()
        if not line or len(line) > self.max_chars or line.endswith(tuple(_SENTENCE_ENDS)):
            return False
        found = searcher(self.vocabulary, self.words).find(fold(line))
        letters = sum(map(str.isalnum, line))
        return found.chars >= self.min_ratio * max(letters, 1)


class TrimFooter(Edit):
    r"""Cut off the end of a page: of its last `lines` lines all from the first of which more than `min_ratio` is listed words.

    >>> TrimFooter().apply("本文はここまでです。\nプライバシーポリシー\n(C) 2020 例")
    '本文はここまでです。'
    """

    type: Literal["trim_footer"] = "trim_footer"
    vocabulary: Vocabulary = "boilerplate"
    words: tuple[str, ...] = ()
    lines: PositiveInt = 10
    min_ratio: Annotated[float, Field(gt=0, le=1)] = 0.3

    @override
    def apply(self, text: str) -> str:
        lines = text.split("\n")
        # Never the first line: a text that is all footer is for a filter to drop.
        for place in range(max(len(lines) - self.lines, 1), len(lines)):
            found = searcher(self.vocabulary, self.words).find(fold(lines[place].strip()))
            if found.total and found.chars > self.min_ratio * found.total:
                return "\n".join(lines[:place]).rstrip()
        return text


class UnifyPunctuation(Edit):
    """Write 、 and 。 where most of a text's commas and full stops are ， and ． between Japanese letters.

    >>> UnifyPunctuation().apply("結果は，次の通り．１．２倍")
    '結果は、次の通り。１．２倍'
    """

    type: Literal["unify_punctuation"] = "unify_punctuation"

    @override
    def apply(self, text: str) -> str:
        for western, japanese in (("，", "、"), ("．", "。")):
            if text.count(western) > text.count(japanese):
                text = re.sub(f"(?<=[^0-9０-９]){western}", japanese, text)
        return text


AnyEdit = Annotated[
    RepairMojibake | MaskPersonalInformation | DropBoilerplateLines | TrimFooter | UnifyPunctuation,
    Field(discriminator="type"),
]
