"""From files of pages to documents: WARC and WET archives, HTML and PDF files. The one module that knows fastwarc.

A file gives *extracts*: documents, and failures with what went wrong and where. A failure ends no file and no run; what was
read before an archive breaks off is kept.
"""

import hashlib
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

import pyarrow as pa
from bunbuku_contracts import BunbukuError, Config
from pydantic import Field, PositiveInt

from bunbuku_corpus.charset import decode, looks_japanese
from bunbuku_corpus.document import UNDETERMINED, Document
from bunbuku_corpus.files import open_stream
from bunbuku_corpus.pages import Extractor, Unreadable, text_of_html, text_of_pdf
from bunbuku_corpus.rows import UNKNOWN

if TYPE_CHECKING:
    from fastwarc.warc import WarcRecord

_ARCHIVES = (".warc", ".wet")
_HTML = (".html", ".htm", ".xhtml", ".shtml")
_COMPRESSED = (".gz", ".zst")
_LANGUAGES = {"jpn": "ja", "eng": "en", "zho": "zh", "kor": "ko"}


class Failure(NamedTuple):
    """A record without a document."""

    place: str
    url: str | None
    reason: str


class Skipped(NamedTuple):
    """A record that was not meant."""

    reason: str


type Extract = Document | Failure | Skipped


class Extraction(Config):
    """How pages become documents."""

    extractor: Extractor = "resiliparse"
    """What finds the main text of an HTML page. `trafilatura` is slower by a factor of ten or more."""
    min_kana: Annotated[int, Field(ge=0)] = 10
    """Pages with fewer kana anywhere in them are skipped before they are parsed; 0 lets every language pass."""
    max_page_bytes: PositiveInt = 20_000_000
    """Larger pages are failures: no page is so long, and memory is short."""
    name: str | None = None
    """What the documents' collection is called; the file's name if nothing is said."""
    licence: str = UNKNOWN
    """The documents' licence."""


def kind_of(path: Path) -> str | None:
    """What a file is read as, by its name: `archive`, `html`, `pdf`; nothing for others.

    >>> [kind_of(Path(name)) for name in ("a.warc.gz", "b.HTML", "c.pdf", "d.txt", "e.warc.wet.gz")]
    ['archive', 'html', 'pdf', None, 'archive']
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    return "archive" if last in _ARCHIVES else "html" if last in _HTML else "pdf" if last == ".pdf" else None


def extract(path: Path, shown: str, how: Extraction) -> Iterator[Extract]:
    """What is in a file; the place of a failure begins with `shown`."""
    kind = kind_of(path)
    try:
        if kind == "archive":
            yield from _archive(path, shown, how)
        else:
            with open_stream(path) as stream:
                yield _page(
                    stream.read(how.max_page_bytes + 1), "pdf" if kind == "pdf" else "html", shown, None, None, how
                )
    except (BunbukuError, OSError) as error:
        # Where the files lie is no part of what is made of them.
        yield Failure(shown, None, str(error).replace(str(path), shown))


def _archive(path: Path, shown: str, how: Extraction) -> Iterator[Extract]:
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    wanted = WarcRecordType.response | WarcRecordType.conversion
    # Decompressed by pyarrow, which notices an archive that was cut off; fastwarc takes its end for the archive's.
    with open_stream(path) as opened:
        stream = _Stream(opened)
        records: Iterator[WarcRecord] = iter(ArchiveIterator(cast(Any, stream), record_types=wanted))
        for number, record in enumerate(records, 1):
            yield _extract(record, f"{shown}#{number}", how)
        if stream.error is not None:
            yield Failure(shown, None, f"the archive breaks off: {stream.error}")


def _extract(record: "WarcRecord", place: str, how: Extraction) -> Extract:
    headers = dict(record.headers)
    url = headers.get("WARC-Target-URI")
    promised = min(record.content_length, how.max_page_bytes + 1)
    body = record.reader.read(how.max_page_bytes + 1)
    if len(body) < promised and not _encoded(record):
        return Failure(place, url, f"the record was cut off after {len(body):,} of {record.content_length:,} bytes")
    if str(record.record_type).endswith("conversion"):
        return _converted(body, place, url, headers.get("WARC-Identified-Content-Language", ""), how)
    return _response(record, body, place, url, how)


class _Stream:
    """A stream as fastwarc reads one: it must tell its place, and an error in it would end the process."""

    def __init__(self, stream: "BufferedReader[Any]") -> None:
        self._stream = stream
        self._place = 0
        self.error: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            # One read of the file at most: a second one that fails would lose what the first one gave.
            read = self._stream.read1(size)
        except (pa.ArrowException, OSError, zlib.error) as error:
            self.error = error
            return b""
        self._place += len(read)
        return read

    def tell(self) -> int:
        return self._place


def _encoded(record: "WarcRecord") -> bool:
    return any(name.lower() in ("content-encoding", "transfer-encoding") for name, _ in record.http_headers or ())


def _response(record: "WarcRecord", body: bytes, place: str, url: str | None, how: Extraction) -> Extract:
    kind = (record.http_content_type or "text/html").lower()
    status = record.http_headers.status_code if record.http_headers is not None else None
    if status is not None and status != 200:
        return Skipped(f"status_{status}")
    if kind == "application/pdf":
        return _page(body, "pdf", place, url, None, how)
    if "html" not in kind and not kind.startswith("text/plain"):
        return Skipped("other_type")
    return _page(body, "html" if "html" in kind else "text", place, url, record.http_charset, how)


def _converted(body: bytes, place: str, url: str | None, languages: str, how: Extraction) -> Extract:
    text = decode(body).text.strip()
    if not looks_japanese(text, how.min_kana):
        return Skipped("other_language")
    first = _LANGUAGES.get(languages.partition(",")[0].strip(), UNDETERMINED)
    return _document(text, place, url, how, first)


def _page(body: bytes, kind: str, place: str, url: str | None, charset: str | None, how: Extraction) -> Extract:
    if len(body) > how.max_page_bytes:
        return Failure(place, url, f"the page has more than `max_page_bytes` {how.max_page_bytes:,}")
    if kind == "pdf":
        try:
            text = text_of_pdf(body)
        except Unreadable as error:
            return Failure(place, url, str(error))
        return _document(text, place, url, how) if looks_japanese(text, how.min_kana) else Skipped("other_language")
    page = decode(body, charset).text.replace("\0", "")
    if not looks_japanese(page, how.min_kana):
        return Skipped("other_language")
    text = page.strip() if kind == "text" else text_of_html(page, how.extractor)
    return _document(text, place, url, how) if text else Skipped("no_text")


def _document(text: str, place: str, url: str | None, how: Extraction, language: str = UNDETERMINED) -> Document:
    source = how.name or Path(place.partition("#")[0]).name.partition(".")[0]
    id = f"{source}:{hashlib.sha256(f'{url or place}\n{text}'.encode()).hexdigest()[:16]}"
    return Document(id, text, source=source, url=url, licence=how.licence, language=language)
