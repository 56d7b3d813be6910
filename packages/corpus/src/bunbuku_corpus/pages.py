"""The main text of an HTML page, and the text of a PDF. The one module that knows resiliparse, trafilatura and pdfium."""

import html
import re
from collections.abc import Sequence
from ctypes import c_double
from itertools import pairwise
from math import hypot
from statistics import median, median_low
from typing import TYPE_CHECKING, Literal, NamedTuple

from bunbuku_contracts import BunbukuError

if TYPE_CHECKING:
    import pypdfium2

type Extractor = Literal["resiliparse", "trafilatura"]

_BLANK = re.compile(r"[ \t]*\n(?:[ \t]*\n)+")
_ENDS = "。．！？.!?」』）)：:"
_BLANK_LINE, _OTHER_SIZE = 1.4, 0.1
"""How many times the usual distance between two lines, and how great a share of the size of letters, sets lines apart."""
_JAPANESE = re.compile("[\u3041-\u30ff\u3400-\u9fff々〇、。（）「」]")


# resiliparse loses text between two tags that is one character of three bytes, as は in <b>東京</b>は<b>日本</b>. Icons, which stand in the
# private use area, may go on being lost.
_LOST = "\u2014\u2015\u2025\u2026\u3001-\ud7ff\uf900-\ufffd\U00020000-\U0003ffff"
_ALONE = re.compile(rf">\s*(?:[{_LOST}]|&#?\w+;)(?=\s*<)")
_IS_LOST = re.compile(f"[{_LOST}]")
_MARK = "\u2060"  # a word joiner: nothing to be seen, and a second character


class Unreadable(ValueError):
    """A page that has no text, for a reason that can be said."""


def text_of_html(page: str, extractor: Extractor) -> str:
    r"""The page's main text: no menus, no footers. A line is a block of the page.

    >>> text_of_html("<nav><a>ホーム</a></nav><main><p>本文の一段落目です。</p><p>二段落目です。</p></main>", "resiliparse")
    '本文の一段落目です。\n\n二段落目です。'
    >>> text_of_html("<main><p><a>東京</a>は<a>日本</a>の<b>首都</b>です。</p></main>", "resiliparse")
    '東京は日本の首都です。'
    """
    if extractor == "trafilatura":
        return _by_trafilatura(page)
    from resiliparse.extract.html2text import extract_plain_text

    marked = _ALONE.sub(_with_mark, page)
    text = extract_plain_text(marked, main_content=True, list_bullets=False, alt_texts=False)
    return _BLANK.sub("\n\n", text.replace(_MARK, "")).strip()


def _with_mark(found: re.Match[str]) -> str:
    character = html.unescape(found[0][1:].strip())
    return found[0] + _MARK if _IS_LOST.fullmatch(character) else found[0]


def _by_trafilatura(page: str) -> str:
    try:
        import trafilatura
    except ModuleNotFoundError as error:
        hint = 'pip install "bunbuku-corpus[extract]"'
        raise BunbukuError("the extractor 'trafilatura' is not installed", hint=hint) from error
    return trafilatura.extract(page, include_comments=False, include_tables=True) or ""


def text_of_pdf(file: bytes) -> str:
    """The text of all pages, lines that the page broke joined again.

    Raises:
        Unreadable: It is no PDF, is locked, or has pictures of text alone.
    """
    try:
        import pypdfium2
    except ModuleNotFoundError as error:
        hint = 'pip install "bunbuku-corpus[extract]"'
        raise BunbukuError("PDF needs pypdfium2, which is not installed", hint=hint) from error
    try:
        document = pypdfium2.PdfDocument(file)
    except pypdfium2.PdfiumError as error:
        raise Unreadable(f"it does not open as a PDF: {error}") from error
    try:
        text = "\n\n".join(unwrap(_page(page)) for page in document)
    except pypdfium2.PdfiumError as error:
        raise Unreadable(f"a page of the PDF does not open: {error}") from error
    finally:
        document.close()
    if not text.strip():
        raise Unreadable("the PDF has no text: are its pages pictures?")
    return _BLANK.sub("\n\n", text).strip()


def _page(page: "pypdfium2.PdfPage") -> str:
    opened = page.get_textpage()
    lines = opened.get_text_bounded().replace("\r\n", "\n").split("\n")
    places = _places(opened)
    if len(places) == len(lines):  # text that lies beside the page has places, and is not read
        apart = [""] + ["\n" * is_apart for is_apart in _apart(places)]
        lines = [before + line for before, line in zip(apart, lines, strict=True)]
    # pdfium writes U+FFFE for a hyphen at a line's end.
    return "\n".join(lines).replace("\ufffe\n", "").replace("\ufffe", "")


class _Place(NamedTuple):
    """Where a line stands on the paper."""

    height: float
    """Of what its letters stand on, from the page's lower edge."""
    sizes: tuple[float, float]
    """Of its first letter and of its last one."""

    def is_apart(self, next: "_Place", usual: float) -> bool:
        """Whether more than the `usual` distance lies between it and the next line, or that one's letters differ in size."""
        blank = self.height - next.height > _BLANK_LINE * usual
        return blank or abs(self.sizes[1] - next.sizes[0]) > _OTHER_SIZE * self.sizes[1]


def _places(page: "pypdfium2.PdfTextPage") -> list[_Place | None]:
    """The place of every line, nothing for one without a letter."""
    from pypdfium2 import raw

    lines: list[list[int]] = [[]]
    for index in range(page.count_chars()):
        code = raw.FPDFText_GetUnicode(page, index)
        if code == ord("\n"):
            lines.append([])
        elif not chr(code).isspace():
            lines[-1].append(index)
    return [_place(page, line[0], line[-1]) if line else None for line in lines]


def _place(page: "pypdfium2.PdfTextPage", first: int, last: int) -> _Place:
    from pypdfium2 import raw

    x, y, matrix = c_double(), c_double(), raw.FS_MATRIX()
    raw.FPDFText_GetCharOrigin(page, first, x, y)
    sizes: list[float] = []
    for index in (first, last):
        raw.FPDFText_GetMatrix(page, index, matrix)
        sizes.append(raw.FPDFText_GetFontSize(page, index) * hypot(matrix.c, matrix.d))
    return _Place(y.value, (sizes[0], sizes[1]))


def _apart(places: Sequence[_Place | None]) -> list[bool]:
    """For every two lines, whether the paper has a blank line between them, or the second is of another size."""
    pairs = list(pairwise(places))
    steps = [one.height - other.height for one, other in pairs if one and other]
    usual = median_low([step for step in steps if step > 0] or [0.0])
    return [bool(one and other and one.is_apart(other, usual)) for one, other in pairs]


def unwrap(text: str) -> str:
    r"""The text with lines joined that a page's width broke: long ones that end in the middle of a Japanese sentence.

    >>> unwrap("この文は紙の幅で折り返されてい\nます。ここで段落が終わります。\n見出し\n次の段落です。")
    'この文は紙の幅で折り返されています。ここで段落が終わります。\n見出し\n次の段落です。'
    """
    lines = text.split("\n")
    full = 0.75 * median([len(line) for line in lines if line.strip()] or [0])
    joined: list[str] = []
    length = 0
    for line in lines:
        before = joined[-1] if joined else ""
        broken = before and line and length >= full and before[-1] not in _ENDS
        if broken and _JAPANESE.match(before[-1]) and _JAPANESE.match(line[0]):
            joined[-1] += line
        else:
            joined.append(line)
        length = len(line)
    return "\n".join(joined)
