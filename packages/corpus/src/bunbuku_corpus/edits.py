"""Edits of texts that are let through but not as they are. Each is its own config, like a filter, with one pure method.

An edit comes after normalization and before anything is measured; `repair_mojibake` alone reads a text as it came, since
what it repairs is made of the control characters that normalization removes. None of them uses chance: equal texts come
out equal.
"""

import re
from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal, override

from bunbuku_contracts import Config
from pydantic import Field, PositiveInt

from bunbuku_corpus import mojibake, personal
from bunbuku_corpus.menus import menus, prose_chars
from bunbuku_corpus.vocabulary import Vocabulary, fold, searcher

# Kana, kanji and what closes a quotation: behind them a comma is a Japanese one.
_JAPANESE = "[）」』］〕】〉》\u3041-\u3096\u30a1-\u30fa々〇〻ー\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
_SENTENCE_ENDS = "。！？!?」』"


class Edit(Config, ABC):
    """What every edit is."""

    as_it_came: ClassVar[bool] = False
    """Whether it is for the text before normalization."""

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

    as_it_came = True
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
    email: str | None = "email@example.com"
    """What stands in place of a mail address; `None` leaves them."""
    phone: str | None = "000-0000-0000"
    """What stands in place of a telephone number; `None` leaves them."""
    address: str | None = "192.0.2.1"
    """What stands in place of an IP address; `None` leaves them."""

    @override
    def apply(self, text: str) -> str:
        return personal.masked(text, email=self.email, phone=self.phone, address=self.address)


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


class DropMenus(Edit):
    r"""Remove menus: at least `run` lines one after another that are short and no sentences. Verse and dialogue stay.

    A text that has no prose besides stays as it is, and so does one of which menus are more than seven tenths and less than `prose`
    characters are prose, a notice perhaps: they are for a filter to drop.

    >>> DropMenus(run=3).apply("会社概要\n採用情報\n沿革\n当社は百年前に京都で生まれました。")
    '当社は百年前に京都で生まれました。'
    """

    type: Literal["drop_menus"] = "drop_menus"
    run: PositiveInt = 8
    chars: PositiveInt = 50
    """A line that is longer ends a menu."""
    prose: PositiveInt = 300
    """Fewer characters of prose under so much of menus are not worth keeping."""

    @override
    def apply(self, text: str) -> str:
        lines = text.split("\n")
        found = menus(lines, run=self.run, chars=self.chars)
        rest = [line for line, there in zip(lines, found, strict=True) if not there]
        prose, left = prose_chars(rest), sum(map(len, rest))
        if not prose or (prose < self.prose and left < 0.3 * sum(map(len, lines))):
            return text
        return "\n".join(rest)


class DropSymbolLines(Edit):
    r"""Remove lines that are made of `symbols` and white space: what tables and menus leave.

    >>> DropSymbolLines().apply("本文。\n | | |\n\n次の段落。")
    '本文。\n\n次の段落。'
    """

    type: Literal["drop_symbol_lines"] = "drop_symbol_lines"
    symbols: str = Field(default="|", min_length=1)

    @override
    def apply(self, text: str) -> str:
        if not any(symbol in text for symbol in self.symbols):
            return text
        return "\n".join(
            line for line in text.split("\n") if not line.strip() or line.strip(f"{self.symbols} \t\u3000")
        )


class UnifyPunctuation(Edit):
    """Write 、 and 。 for ， and ． that stand behind Japanese, where these are more than those there.

    >>> UnifyPunctuation().apply("結果は，次の通り．１．２倍，Ａ．Ｂ．製")
    '結果は、次の通り。１．２倍、Ａ．Ｂ．製'
    """

    type: Literal["unify_punctuation"] = "unify_punctuation"

    @override
    def apply(self, text: str) -> str:
        for western, japanese in (("，", "、"), ("．", "。")):
            if western not in text:
                continue
            theirs, ours = (re.compile(f"(?<={_JAPANESE}){mark}+") for mark in (western, japanese))
            if sum(1 for _ in theirs.finditer(text)) > sum(1 for _ in ours.finditer(text)):
                text = theirs.sub(lambda found, mark=japanese: mark * len(found[0]), text)
        return text


AnyEdit = Annotated[
    RepairMojibake
    | MaskPersonalInformation
    | DropBoilerplateLines
    | DropMenus
    | DropSymbolLines
    | TrimFooter
    | UnifyPunctuation,
    Field(discriminator="type"),
]
