"""What presets reject of clean text, and what they let through of boilerplate, spam and mojibake.

    python benchmarks/bench_corpus_rejections.py tune [PRESET…]      # the data that thresholds of `web` are found on
    python benchmarks/bench_corpus_rejections.py report [PRESET…]    # other data: what is published
    …  --only "bad spam"                                             # clean, bad, or some of either by their names

Text: the folder that BUNBUKU_DATA names, with `dev_corpus.jsonl.zst`, `html_samples.jsonl.zst`, `instructions_ja.jsonl.zst` and
`eval/jsquad-v1.3-valid.json`, and the one that BUNBUKU_MORE names (`rejections_more.py`). The two sides share nothing. For tuning are
the development text (of Aozora an eighth by a hash of ids), a thousand other works of Aozora, three sites, every second page of eleven
sites whose menus were looked at, and the spam of `rejections_spam.py` and `rejections_unseen.py`. Reported are the rest of Aozora, JSQuAD,
FAQs, the other pages of the eleven sites, three sites more, and the spam of `rejections_fresh.py`. A bad page counts as caught if a filter drops
it, or if it comes out as what it should be: mojibake as the same text decoded rightly does, menus with no more than a tenth of them
left, a page with no more than a tenth of its menus and no less than nine tenths of its text. Pages that went through `extract` are
caught if no more than a tenth of what comes out is none of their text, whatever of it is lost, which is said beside it.
"""

import argparse
import base64
import hashlib
import json
import os
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from io import BufferedReader
from itertools import batched
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from bunbuku_contracts.intervals import wilson
from bunbuku_corpus.cleaning import Judge, Judged
from bunbuku_corpus.document import Document
from bunbuku_corpus.normalization import Changes
from bunbuku_corpus.pages import text_of_html
from bunbuku_corpus.policy import Policy
from bunbuku_corpus.preparation import Preparation
from bunbuku_corpus.presets import presets
from bunbuku_corpus.vocabulary import fold, searcher
from lxml import html
from rejections_fresh import FRESH, results, stirred
from rejections_more import aozora, jsquad
from rejections_more import sites as manuals
from rejections_spam import SPAM
from rejections_unseen import UNSEEN, shuffled, snippets

DATA = Path(os.environ.get("BUNBUKU_DATA", "."))
CHARS = 800
TOGETHER = 200
TUNED_SITES = ("boostjp", "rust_book_ja", "egov_law")
FRESH_SITES = ("aptitude-doc-ja", "debian-policy-ja", "installation-guide-amd64")
WINDOW = 20
PAGES = 200
"""Spam pages of a kind."""


class Page(NamedTuple):
    """A text, and what a bad one should become: its lines that should stay, and those that should go."""

    text: str
    stays: tuple[str, ...] = ()
    goes: tuple[str, ...] = ()


# ── data ──


def rows(name: str) -> Iterator[dict[str, Any]]:
    with pa.input_stream(str(DATA / name), compression="zstd") as stream:
        for line in BufferedReader(stream, 1 << 20):
            yield json.loads(line)


def tuned(id: str) -> bool:
    """Whether a document of the development text is among the eighth that thresholds were found on."""
    return hashlib.blake2b(id.encode(), digest_size=4).digest()[0] % 8 == 0


def contexts() -> list[list[str]]:
    """Paragraphs of Wikipedia, by article, of JSQuAD's validation and test splits."""
    articles = [*json.loads((DATA / "eval/jsquad-v1.3-valid.json").read_text(encoding="utf-8"))["data"], *jsquad()]
    return [[one["context"].split("[SEP]")[-1].strip() for one in article["paragraphs"]] for article in articles]


def joined(paragraphs: Sequence[str]) -> Iterator[str]:
    """The paragraphs of an article in documents of about 800 characters."""
    text = ""
    for paragraph in paragraphs:
        text += ("\n" if text else "") + paragraph
        if len(text) >= CHARS:
            yield text
            text = ""


class Site(NamedTuple):
    """A page as it is, its text as somebody cut it out, and all of its lines as a browser breaks them, menus included."""

    source: str
    html: str
    main_text: str
    lines: list[str]


def sites(tuning: bool) -> Iterator[Site]:
    """Japanese pages of one half of the sites; of sites whose menus were looked at, every second page."""
    others = 0
    for site in _all_sites():
        half = site.source in TUNED_SITES
        if not half:
            half = site.source not in FRESH_SITES and others % 2 == 0
            others += 1
        if half is tuning:
            yield site


def _all_sites() -> Iterator[Site]:
    for row in rows("html_samples.jsonl.zst"):
        if row["lang"] == "ja":
            page = base64.b64decode(row["html_b64"]).decode(row["encoding"], "replace")
            yield Site(row["source"], page, row["main_text"], lines_of(page.encode()))
    for name, page, text in manuals():
        yield Site(name, page.decode(), "\n".join(lines_of(text)), lines_of(page))


_BLOCKS = {
    "address",
    "article",
    "aside",
    "blockquote",
    "br",
    "dd",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "li",
    "main",
    "nav",
    "ol",
    "option",
    "p",
    "pre",
    "section",
    "table",
    "td",
    "th",
    "tr",
    "ul",
}


def lines_of(page: bytes) -> list[str]:
    """The page's text, every block element on a line of its own."""
    root = html.document_fromstring(page, parser=html.HTMLParser(encoding="utf-8"))
    parts: list[str] = []

    def walk(node: Any) -> None:
        if not isinstance(node.tag, str) or node.tag in ("script", "style", "noscript", "head", "template"):
            parts.append(node.tail or "")
            return
        edge = "\n" if node.tag in _BLOCKS else ""
        parts.append(edge + (node.text or ""))
        for child in node:
            walk(child)
        parts.append(edge + (node.tail or ""))

    walk(root)
    return [line for line in (re.sub(r"\s+", " ", part).strip() for part in "".join(parts).split("\n")) if line]


def divided(site: Site) -> tuple[list[str], list[str]]:
    """The page's lines that are its text, and those that frame it."""
    lines, text = site.lines, squeezed(site.main_text)
    inside = [squeezed(line) in text for line in lines]
    return [line for line, there in zip(lines, inside, strict=True) if there], [
        line for line, there in zip(lines, inside, strict=True) if not there
    ]


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def clean(tuning: bool) -> dict[str, list[Page]]:
    found: dict[str, list[Page]] = defaultdict(list)
    for row in rows("dev_corpus.jsonl.zst"):
        if row["lang"] != "ja" or row["source"].endswith("naive"):
            continue
        if (row["source"] != "aozora" and tuning) or (row["source"] == "aozora" and tuning is tuned(row["id"])):
            found[row["source"]].append(Page(row["text"]))
    found["aozora, other works"] += map(Page, aozora(tuning))
    for site in sites(tuning):
        if len(site.main_text) >= 100:
            found[f"text of {site.source}"].append(Page(site.main_text))
    if not tuning:
        for article in contexts():
            found["jsquad, joined to 800"] += map(Page, joined(article))
            found["jsquad, alone"] += map(Page, article)
        for row in rows("instructions_ja.jsonl.zst"):
            if row["source"] in ("bitcoin_optech_qa", "perlfaq_ja", "python_faq_ja") and len(row["output"]) >= 100:
                found["answers of FAQs"].append(Page(row["output"]))
    return found


def bad(tuning: bool) -> dict[str, list[Page]]:
    found: dict[str, list[Page]] = defaultdict(list)
    for site in sites(tuning):
        text, frame = divided(site)
        if frame:
            found[f"menus of {site.source}"].append(Page("\n".join(frame), (), tuple(frame)))
        if frame and sum(map(len, text)) >= 200:
            found[f"pages of {site.source}"].append(Page("\n".join(site.lines), tuple(text), tuple(frame)))
            extracted = Page(text_of_html(site.html, "resiliparse"), (site.main_text,), tuple(frame))
            found[f"extracted pages of {site.source}"].append(extracted)
    texts = [page.text[:2000] for pages in clean(tuning).values() for page in pages if len(page.text) >= 100]
    for kind, make in ({**SPAM, **UNSEEN} if tuning else FRESH).items():
        found[f"spam: {kind}"] = list(map(Page, unlisted(make, random.Random(7))))
    chance = random.Random(7)
    cut, mixed = (snippets, shuffled) if tuning else (results, stirred)
    for kind, make in (("search snippets", cut(texts)), ("shuffled texts", mixed(texts))):
        found[f"spam: {kind}"] = [Page(make(chance)) for _ in range(PAGES)]
    random.Random(3).shuffle(texts)
    for kind, spoil in MOJIBAKE.items():
        if kind.startswith("tune ") is tuning:
            name = f"mojibake: {kind.removeprefix('tune ')}"
            found[name] = [Page(spoil(text), (text,)) for text in texts[:PAGES]]
    return found


def unlisted(make: Callable[[random.Random], str], chance: random.Random) -> Iterator[str]:
    """Pages in which no word stands that our lists of adult, advertising or boilerplate words have."""
    lists = [searcher(name) for name in ("adult", "violence", "discrimination", "advertising", "boilerplate")]
    for _ in range(PAGES):
        page = make(chance)
        listed = [one for one in lists if one.find(fold(page)).words]
        if listed:
            raise SystemExit(f"a word of our lists stands in {page[:200]!r}")
        yield page


def _as(wrong: str, encoding: str = "utf-8", errors: str = "replace") -> Callable[[str], str]:
    return lambda text: text.encode(encoding, "ignore").decode(wrong, errors)


def _half(wrong: Callable[[str], str]) -> Callable[[str], str]:
    """Every second line is spoilt: a page joined from two sources."""
    return lambda text: "\n".join(
        wrong(one) if n % 2 else one for n, one in enumerate(re.split(r"(?<=。)|\n", text)) if one
    )


MOJIBAKE: dict[str, Callable[[str], str]] = {
    "tune utf-8 as cp932": _as("cp932"),
    "tune utf-8 as latin-1": _as("latin-1"),
    "tune euc-jp as cp932": _as("cp932", "euc_jp"),
    "tune cp932 as utf-8": _as("utf-8", "cp932"),
    "utf-8 as cp932, bytes lost": _as("cp932", errors="ignore"),
    "utf-8 as euc-jp": _as("euc_jp"),
    "utf-8 as cp1252, bytes lost": _as("cp1252", errors="ignore"),
    "utf-8 twice as latin-1": lambda text: _as("latin-1")(_as("latin-1")(text)),
    "cp932 as latin-1": _as("latin-1", "cp932"),
    "cp932 as euc-jp": _as("euc_jp", "cp932"),
    "euc-jp as latin-1": _as("latin-1", "euc_jp"),
    "euc-jp as utf-8": _as("utf-8", "euc_jp"),
    "iso-2022-jp without escapes": lambda text: text.encode("iso2022_jp", "ignore").decode("ascii").replace("\x1b", ""),
    "utf-8 as gb18030": _as("gb18030"),
    "utf-8 as big5": _as("big5"),
    "utf-8 as cp932, every second sentence": _half(_as("cp932", errors="ignore")),
}


# ── judging ──


def judged(preset: str, pages: Sequence[Page]) -> Iterator[tuple[Page, Judged]]:
    policy = Policy.model_validate({"preset": preset})
    judge = Judge(_preparation(preset), policy.filters)
    for batch in batched(enumerate(pages), TOGETHER):
        documents = [Document(str(n), page.text, "", None, "", "ja") for n, page in batch]
        yield from zip((page for _, page in batch), judge(documents).judged, strict=True)


def _preparation(preset: str) -> Preparation:
    return Preparation(edits=presets()[preset].edits)


def cleaned(preset: str, page: Page, text: str) -> bool:
    """Whether what came out is as it should be."""
    if not page.goes:
        whole = Document("", "".join(page.stays), "", None, "", "ja")
        return bool(page.stays) and text == _preparation(preset).prepare(whole, Changes()).text
    kept, left = shares(page, text)
    return kept >= 0.9 and left <= 0.1


def windowed(preset: str, page: Page, text: str) -> bool:
    """Whether no more than a tenth of what came out of extraction and cleaning is none of the page's text."""
    return _overlap(page, text)[1] <= 0.1


def overlap(page: Page, one: Judged) -> tuple[float, float]:
    """How much of the page's text came out, nothing if it was dropped; and how much of what came out is something else."""
    return (0.0, 0.0) if one.objections else _overlap(page, one.document.text)


def _overlap(page: Page, text: str) -> tuple[float, float]:
    wanted, found = windows("".join(page.stays)), windows(text)
    return len(wanted & found) / len(wanted), len(found - wanted) / len(found)


def windows(text: str) -> set[str]:
    text = squeezed(text)
    return {text[place : place + WINDOW] for place in range(max(len(text) - WINDOW + 1, 1))}


def shares(page: Page, text: str) -> tuple[float, float]:
    """How much of a page's text is still there, and how much of its frame."""
    there = Counter(squeezed(line) for line in text.split("\n"))
    there_of = [sum(len(line) for line in part if there[squeezed(line)]) for part in (page.stays, page.goes)]
    return there_of[0] / sum(map(len, page.stays)) if page.stays else 1.0, there_of[1] / sum(map(len, page.goes))


def show(hits: int, trials: int) -> str:
    low, high = wilson(hits, trials)
    return f"{hits / trials:7.2%} ({low:.2%} to {high:.2%}) of {trials:5,}"


def measure(preset: str, tuning: bool, only: str) -> None:
    filters = Policy.model_validate({"preset": preset}).filters
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    named = {
        (what, name): pages
        for what, sets in (("clean", clean), ("bad", bad))
        if only.startswith(what) or not only
        for name, pages in sorted(sets(tuning).items())
    }
    for (what, name), pages in named.items():
        if f"{what} {name}".startswith(only):
            verdicts = list(judged(preset, pages))
            dropped = [one for _, one in verdicts if one.objections]
            caught = len(dropped)
            come = windowed if name.startswith("extracted") else cleaned
            if what == "bad":
                caught += sum(not one.objections and come(preset, page, one.document.text) for page, one in verdicts)
            first = Counter(filters[one.objections[0]].name for one in dropped).most_common(3)
            lost = sum(len(page.text) - len(one.document.text) for page, one in verdicts if not one.objections)
            extra = f" edits take {lost / sum(len(page.text) for page in pages):.3%}" if what == "clean" else ""
            if name.startswith("pages"):
                both = [shares(page, one.document.text) for page, one in verdicts if not one.objections] or [(0.0, 0.0)]
                extra = f" text kept {sum(a for a, _ in both) / len(both):.1%}, frame left {sum(b for _, b in both) / len(both):.1%}"
            if name.startswith("extracted"):
                extra = f" text kept {sum(overlap(page, one)[0] for page, one in verdicts) / len(verdicts):.1%}"
            say(f"{preset:12} {what:5} {name:42} {show(caught, len(pages))}{extra} {first}")
            for total in (what, f"{what}: {name.partition(':')[0].partition(' ')[0]}"):
                totals[total][0] += caught
                totals[total][1] += len(pages)
    for total, (hits, trials) in totals.items():
        say(f"{preset:12} {total:30} {show(hits, trials)}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=("tune", "report"))
    parser.add_argument("presets", nargs="*", default=["web"])
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    for preset in given.presets:
        measure(preset, given.side == "tune", given.only)


if __name__ == "__main__":
    main()
