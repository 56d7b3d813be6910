"""More text that no threshold was found on, from the folder that BUNBUKU_MORE names; nothing of it if it names none.

jsquad-v1.3-test.json    of yahoojapan/JGLUE, `datasets/jsquad-v1.3/test-v1.3.json`
aozora.jsonl             works of aozorahack/aozorabunko_text in an order by a hash of their paths, a row each with `id`, `text`
<package>/               Debian packages unpacked with `dpkg -x`: apache2-doc, debian-faq-ja, debian-reference-ja,
                         developers-reference-ja, gimp-help-ja, maint-guide-ja and lilypond-doc-html-ja; and three whose menus
                         nobody has looked at: aptitude-doc-ja, debian-policy-ja and installation-guide-amd64
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

from lxml import html

_FOLDER = os.environ.get("BUNBUKU_MORE")
MORE = Path(_FOLDER) if _FOLDER else None
AOZORA_TUNED = 1_000
"""So many works of `aozora.jsonl`, the first, are for tuning."""
AOZORA_CHARS = 4_000
"""Characters of a work that are taken."""
_PAGES = 100


class _Site(NamedTuple):
    pages: str
    frame: str
    """XPath of what is no text of the page; the text is what is left of `body`, or of what `text` leads to."""
    text: str = "//body"


_DOCBOOK = "//div[@class='navheader' or @class='navfooter' or @class='toc']"
_SITES = {
    "apache2-doc": _Site("**/manual/ja/**/*.html", "//div[@class='toplang' or @class='bottomlang']", "//*[@id='page-content']"),
    "debian-faq-ja": _Site("**/*.ja.html", _DOCBOOK),
    "debian-reference-ja": _Site("**/*.ja.html", _DOCBOOK),
    "developers-reference-ja": _Site("**/ja/*.html", "//a[@class='headerlink']", "//div[@role='main']"),
    "gimp-help-ja": _Site("**/ja/*.html", _DOCBOOK),
    "maint-guide-ja": _Site("**/*.ja.html", _DOCBOOK),
    "lilypond-doc-html-ja": _Site("**/*.ja.html", "//*[@id='tocframe' or @id='footer' or contains(@class, 'nav')]"),
    "aptitude-doc-ja": _Site("**/ja/**/*.html", "//table[starts-with(@summary, 'Navigation')]|//div[@class='toc']"),
    "debian-policy-ja": _Site("**/ja/**/*.html", "//a[@class='headerlink']", "//div[@class='body']"),
    "installation-guide-amd64": _Site("**/ja/*.html", _DOCBOOK),
}  # fmt: skip


def jsquad() -> list[dict[str, Any]]:
    """Articles of JSQuAD's test split."""
    if MORE is None:
        return []
    return json.loads((MORE / "jsquad-v1.3-test.json").read_text(encoding="utf-8"))["data"]


def aozora(tuning: bool) -> Iterator[str]:
    """The beginnings of works of Aozora Bunko, other works for tuning than for the report."""
    if MORE is None:
        return
    with (MORE / "aozora.jsonl").open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if (number < AOZORA_TUNED) is tuning:
                yield json.loads(line)["text"][:AOZORA_CHARS]


def sites() -> Iterator[tuple[str, bytes, bytes]]:
    """Pages of manuals: of which package, the page, and the page without its frame."""
    if MORE is None:
        return
    for name, site in _SITES.items():
        pages = sorted((MORE / name).glob(site.pages), key=lambda page: hashlib.blake2b(page.name.encode()).digest())
        for page in [page for page in pages if page.is_file()][:_PAGES]:
            root = html.document_fromstring(page.read_bytes(), parser=html.HTMLParser(encoding="utf-8"))
            whole = cast("bytes", html.tostring(root, encoding="utf-8"))
            for one in root.xpath(site.frame):
                one.drop_tree()
            found = root.xpath(site.text)
            if found:
                yield name, whole, cast("bytes", html.tostring(found[0], encoding="utf-8"))
