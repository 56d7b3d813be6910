"""From archives and files of pages to documents: charsets, damage, and runs that were killed."""

import gzip
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Corpus
from bunbuku_corpus import ExtractConfig, ExtractRun, extract, read_documents
from bunbuku_corpus.charset import decode
from bunbuku_corpus.document import read_rows
from bunbuku_corpus.pages import Extractor, text_of_html, text_of_pdf, unwrap
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("resiliparse")
from fastwarc.warc import WarcRecord, WarcRecordType

BODY = "昨日は友人と一緒に山へ行った。①頂上からの眺めは素晴らしく、写真をたくさん撮った。髙橋さんは途中で帰った。"
OTHER = "駅前の新しい食堂では、安くておいしい定食が毎日食べられる。昼時には長い列ができることもある。"
ENCODINGS = ("utf-8", "cp932", "euc_jp", "iso2022_jp")


def page(body: str, charset: str = "utf-8", extra: str = "") -> str:
    return (
        f'<!doctype html><html><head><meta charset="{charset}"><title>題名</title></head><body>'
        "<nav><ul><li><a href='/'>ホーム</a></li><li><a href='/x'>会社概要</a></li></ul></nav>"
        f"<main><article><h1>見出し</h1><p>{body}</p>{extra}<p>{body[:20]}のだった。</p></article></main>"
        "<footer><p>Copyright 2020 Example. <a href='/p'>プライバシーポリシー</a></p></footer></body></html>"
    )


def plain(body: str) -> str:
    return body.replace("①", "").replace("髙", "高")


@given(
    st.lists(
        st.sampled_from(["は", "の", "、", "「", "々", "…", "Ａ", "𠮷", "&#12398;", "&hellip;", " を ", "友人"]),
        max_size=8,
    )
)
def test_no_character_between_two_tags_is_lost(words: list[str]):
    body = (
        "昨日の" + "".join(f"<a href='/'>山</a>{word}<b>川</b>" for word in words) + "を見てから長い道を歩いて帰った。"
    )
    seen = body.replace("&#12398;", "の").replace("&hellip;", "…")
    text = "".join(re.sub("<[^>]*>", "", seen).split())
    assert text in "".join(text_of_html(page(body), "resiliparse").split())


def record(body: bytes, url: str, kind: WarcRecordType = WarcRecordType.response, headers: str = "text/html") -> bytes:
    one = WarcRecord()
    http = kind == WarcRecordType.response
    one.init_headers(record_type=kind)
    one.headers["WARC-Target-URI"] = url
    if http:
        one.headers["Content-Type"] = "application/http; msgtype=response"
        body = f"HTTP/1.1 200 OK\r\nContent-Type: {headers}\r\n\r\n".encode() + body
    one.set_bytes_content(body)
    out = io.BytesIO()
    one.write(out)
    return out.getvalue()


def archive(*bodies: str) -> bytes:
    return b"".join(record(page(body).encode(), f"https://example.jp/{n}") for n, body in enumerate(bodies))


def pdf(*lines: str, large: str = "") -> bytes:
    """A page of text in a font that every reader knows, laid out by hand; one line may be in larger letters."""
    shown = b" T* ".join(
        b"/F1 %d Tf <%s> Tj" % (14 if line == large else 12, line.encode("utf-16-be").hex().encode()) for line in lines
    )
    content = b"BT 16 TL 40 800 Td " + shown + b" ET"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type0 /BaseFont /HeiseiMin-W3 /Encoding /UniJIS-UCS2-H /DescendantFonts [6 0 R] >>",
        b"<< /Type /Font /Subtype /CIDFontType0 /BaseFont /HeiseiMin-W3 /CIDSystemInfo << /Registry (Adobe) /Ordering (Japan1) /Supplement 2 >> /FontDescriptor 7 0 R >>",
        b"<< /Type /FontDescriptor /FontName /HeiseiMin-W3 /Flags 4 /FontBBox [0 0 1000 1000] /ItalicAngle 0 /Ascent 800 /Descent -200 /CapHeight 700 /StemV 80 >>",
    )
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + b"xref\n0 8\n0000000000 65535 f \n%strailer << /Size 8 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (
        table,
        len(out),
    )


def failures(corpus: Artifact[Corpus]) -> dict[str, str]:
    if "failed" not in corpus.manifest.parts:
        return {}
    return {row["id"]: row["reason"] for row in read_rows(corpus, "failed", ("id", "reason"))}


@pytest.mark.parametrize("declared", ["utf-8", "shift_jis", "euc-jp", "iso-8859-1", "no-such-charset"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_page_is_decoded_by_its_bytes_whatever_it_says(encoding: str, declared: str):
    body = BODY if encoding in ("utf-8", "cp932") else plain(BODY)
    text = page(body, declared)
    decoded = decode(text.encode(encoding), declared)
    assert decoded.text == text and "\ufffd" not in decoded.text
    assert decoded.encoding == encoding


@given(st.text(st.sampled_from("①㈱髙﨑ｱｶﾞ～－∥，．亜腕弌熙Ａａa1 \n"), max_size=80))
def test_a_cp932_page_decodes_without_replacement_characters(text: str):
    whole = f"{BODY}{text}"
    assert decode(whole.encode("cp932")).text == whole
    assert decode(whole.encode("utf-8")).text == whole


@given(st.binary(max_size=200))
def test_any_bytes_decode_to_something(page: bytes):
    assert isinstance(decode(page).text, str)


@pytest.mark.parametrize("extractor", ["resiliparse", "trafilatura"])
def test_the_main_text_has_no_menu_and_no_footer(extractor: Extractor):
    text = text_of_html(page(BODY, extra="".join(f"<p>{n}日目。{OTHER}</p>" for n in range(9))), extractor)
    assert BODY in text and OTHER in text and "会社概要" not in text and "プライバシー" not in text


def test_archives_html_and_pdf_files_become_documents(tmp_path: Path):
    pages = tmp_path / "pages"
    pages.mkdir()
    wet = record(OTHER.encode(), "https://example.jp/wet", WarcRecordType.conversion)
    other = record(b"GIF89a", "https://example.jp/gif", headers="image/gif")
    english = record(page("It was a fine day.").replace("ホーム", "").encode("ascii", "ignore"), "https://example.com/")
    (pages / "a.warc.gz").write_bytes(gzip.compress(archive(BODY)) + gzip.compress(other + english))
    (pages / "b.warc.wet.zst").write_bytes(pa.compress(wet, "zstd", asbytes=True))
    (pages / "c.html").write_bytes(page(plain(OTHER), "utf-8").encode("euc_jp"))
    (pages / "d.pdf").write_bytes(pdf("この文は紙の幅で折り返されてい", "ます。ここで終わります。"))
    (pages / "notes.txt").write_text("これは読まれない。")
    corpus = extract(tmp_path / "out", ExtractConfig(licence="CC0-1.0"), pages)
    documents = list(read_documents(corpus))
    assert [one.source for one in documents] == ["a", "b", "c", "d"]
    assert [one.url for one in documents] == ["https://example.jp/0", "https://example.jp/wet", None, None]
    assert BODY in documents[0].text and documents[1].text == OTHER and plain(OTHER) in documents[2].text
    assert documents[3].text == "この文は紙の幅で折り返されています。ここで終わります。"
    assert corpus.spec == Corpus(languages=("und",), licences=("CC0-1.0",))
    metrics = corpus.manifest.metrics
    assert (metrics["skipped.other_type"], metrics["skipped.other_language"], metrics["failed"]) == (1, 1, 0)


def compressed(bodies: list[str], how: str) -> bytes:
    """An archive of the pages: as a whole, or a member or frame for each, as crawlers write them."""
    if how == "warc.gz":
        return b"".join(gzip.compress(archive(one)) for one in bodies)
    if how == "frames.warc.zst":
        return b"".join(pa.compress(archive(one), "zstd", asbytes=True) for one in bodies)
    return pa.compress(archive(*bodies), "zstd", asbytes=True) if how == "warc.zst" else archive(*bodies)


@pytest.mark.parametrize(
    ("how", "least"),
    # A block of zstd, 128 kB, is there as a whole or not at all; it has three to four of the pages.
    [("warc.gz", 20), ("frames.warc.zst", 20), ("warc.zst", 16), ("warc", 20)],
)
def test_what_an_archive_has_before_it_breaks_off_is_kept(make, tmp_path: Path, how: str, least: int):
    bodies = [f"{n}番目の頁である。{make.prose(n, 400)}" for n in range(40)]
    data, name = compressed(bodies, how), f"cut.{how}"
    before = len(compressed(bodies[:20], how))
    (tmp_path / "good.html").write_text(page(OTHER))
    (tmp_path / name).write_bytes(data[: (before + len(compressed(bodies[:21], how))) // 2])  # in the twenty-first
    corpus = extract(tmp_path / "out", ExtractConfig(files="*.*"), tmp_path)
    kept = [one.text for one in read_documents(corpus)]
    assert any(OTHER in one for one in kept)
    assert failures(corpus) and all(place.startswith(name) for place in failures(corpus))
    assert not any(str(tmp_path) in reason for reason in failures(corpus).values())
    found = [n for n in range(40) if any(one.startswith(f"見出し\n\n{n}番目の") for one in kept)]
    assert found == list(range(len(found))) and least <= len(found) <= 21


def test_damaged_and_hostile_files_are_failures_with_a_reason_or_nothing_at_all(tmp_path: Path):
    files = {
        "empty.warc.gz": b"",
        "empty.html": b"",
        "garbage.warc": b"no archive at all\r\n\r\n" * 20,
        "locked.pdf": b"%PDF-1.4 broken",
        "notgzip.html.gz": b"not gzip",
        "nul.html": page(BODY).replace("山", "\0山").encode(),
        "invalid.html": page(OTHER).encode() + b"\xff\xfe\x80<p>end</p>",
        "huge.html": b"<p>" + "あ".encode() * 400_000,
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    corpus = extract(tmp_path / "out", ExtractConfig(max_page_bytes=1_000_000), tmp_path)
    texts = {one.source: one.text for one in read_documents(corpus)}
    assert BODY in texts["nul"] and "\0" not in texts["nul"] and OTHER in texts["invalid"]
    assert set(failures(corpus)) >= {"garbage.warc", "locked.pdf", "notgzip.html.gz", "huge.html"}
    assert all(reason and "\n" not in reason for reason in failures(corpus).values())


def test_a_folder_without_pages_and_pages_without_japanese_are_one_sentence(tmp_path: Path):
    with pytest.raises(BunbukuError, match="no archive, HTML or PDF file"):
        (tmp_path / "a.txt").write_text("a")
        extract(tmp_path / "out", ExtractConfig(), tmp_path)
    (tmp_path / "en.html").write_text("<p>It was a fine day and we went for a walk.</p>")
    with pytest.raises(BunbukuError, match=r"not one document was found in 1 files: 1 other_language"):
        extract(tmp_path / "out", ExtractConfig(), tmp_path)
    corpus = extract(tmp_path / "out", ExtractConfig(min_kana=0), tmp_path)
    assert "fine day" in next(read_documents(corpus)).text


def test_the_same_page_in_two_archives_keeps_both_under_names_of_their_own(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.warc").write_bytes(archive(BODY))
    corpus = extract(tmp_path / "out", ExtractConfig(name="crawl"), tmp_path)
    first, second = (one.id for one in read_documents(corpus))
    assert second == f"{first}~2"


def test_a_run_that_was_stopped_goes_on_with_the_file_that_it_was_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = sys.modules["bunbuku_corpus.stages.extract"]
    pages = tmp_path / "pages"
    pages.mkdir()
    for n in range(4):
        (pages / f"{n}.warc.gz").write_bytes(
            gzip.compress(archive(f"{n}番目である。{BODY}", f"{n}番目である。{OTHER}"))
        )
    whole = extract(tmp_path / "whole", ExtractConfig(), pages)
    read: list[str] = []
    original = module.extracts

    def stopping(path: Path, shown: str, how: object) -> Iterator[object]:
        read.append(shown)
        for number, one in enumerate(original(path, shown, how)):
            if len(read) == 3 and number == 1:
                raise KeyboardInterrupt
            yield one

    monkeypatch.setattr(module, "extracts", stopping)
    with pytest.raises(KeyboardInterrupt):
        extract(tmp_path / "out", ExtractConfig(), pages)
    assert not (tmp_path / "out").exists() and read == ["0.warc.gz", "1.warc.gz", "2.warc.gz"]
    again = extract(tmp_path / "out", ExtractConfig(), pages)
    assert read[3:] == ["2.warc.gz", "3.warc.gz"]
    assert again.content == whole.content


def test_the_number_of_workers_changes_no_byte(tmp_path: Path):
    pages = tmp_path / "pages"
    pages.mkdir()
    for n in range(3):
        (pages / f"{n}.warc").write_bytes(archive(f"{n}番目である。{BODY}", OTHER))
    one = extract(tmp_path / "one", ExtractConfig(), pages)
    two = extract(tmp_path / "two", ExtractConfig(), pages, run=ExtractRun(workers=2))
    assert one.content == two.content


def test_a_pdf_without_text_says_so(tmp_path: Path):
    with pytest.raises(ValueError, match="no text"):
        text_of_pdf(pdf(""))


@pytest.mark.parametrize("gap", [[""], []])
def test_a_heading_that_the_paper_sets_apart_is_a_line_of_its_own(gap: list[str]):
    heading, end = "長い見出しには句点がないものである", "上の段落にも句点がなくここで終わり"
    before, after = (
        ("この文は紙の幅のところで折り返され", "て、まだ続いている。そして、やはり"),
        ("本文の一行目は紙の幅で折り返されて", "います。"),
    )
    text = text_of_pdf(pdf(*before, end, *gap, heading, *gap, *after, large="" if gap else heading))
    assert text.split("\n") == ["".join(before) + end, "", heading, "", "".join(after)]


@given(st.text("あいう。a\n", max_size=60))
def test_unwrapping_loses_no_character(text: str):
    assert unwrap(text).replace("\n", "") == text.replace("\n", "")
