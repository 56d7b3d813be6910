"""The pages as a browser shows them: whole, without an error, and no wider than the window."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from bunbuku_contracts import Artifact, Report
from bunbuku_corpus import (
    AnnotateConfig,
    BalanceConfig,
    ExplainConfig,
    MapConfig,
    annotate,
    balance,
    draw_map,
    explain,
)

SHOP = "【本日限定】大特価セール開催中！送料無料、ポイント10倍。お買い得な商品を今すぐ購入してください。"
LESSON = "この授業では、分数の足し算を学習します。教科書の例題を解いてみましょう。宿題は練習問題の三番です。"
WIDTH = 1000


@pytest.fixture(scope="module")
def browser() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium here")
    return found


def made(make, folder: Path, name: str) -> Artifact[Report]:
    """A page of prose, lessons, shops, and a text that would break out of its page if it could."""
    evil = "</table><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"
    texts = [f"{(SHOP, LESSON)[n % 2] if n % 3 else make.prose(n, 6)}{n}" for n in range(60)]
    raw = make.corpus(folder, [*texts, evil + "あ" * 3000, "短い"])
    if name == "explain":
        annotated = annotate(folder / "annotated", AnnotateConfig(), raw)
        return explain(folder / "explain", ExplainConfig.model_validate({"preset": "web"}), annotated)
    if name == "balance":
        return balance(folder / "balance", BalanceConfig(), raw)
    pytest.importorskip("sklearn")
    return draw_map(folder / "map", MapConfig(dimensions=6, slot_bits=12, documents=40), {"全部": raw})


def seen(browser: str, page: Path, folder: Path) -> tuple[dict[str, Any], str]:
    """What a browser measures of a page once it is laid out, and what it complains of."""
    probe = """<script>addEventListener("load", () => {
      const said = {
        title: document.title, wide: document.documentElement.scrollWidth, tall: document.documentElement.scrollHeight,
        scripts: document.querySelectorAll("body script").length, headings: [...document.querySelectorAll("h2")].map(h => h.innerText),
        pictures: [...document.querySelectorAll("figure svg")].map(svg => {
          const box = svg.getBoundingClientRect();
          const outside = [...svg.querySelectorAll("text")].filter(text => {
            const one = text.getBoundingClientRect();
            return one.left < box.left - 1 || one.right > box.right + 1 || one.top < box.top - 1 || one.bottom > box.bottom + 1;
          });
          return { label: svg.getAttribute("aria-label"), texts: [...svg.querySelectorAll("text")].map(t => t.textContent),
            outside: outside.map(t => t.textContent), marks: svg.querySelectorAll("rect, circle").length };
        }),
      };
      const out = document.createElement("pre");
      out.id = "probe"; out.textContent = JSON.stringify(said); document.body.append(out);
    });</script></head>"""
    # The page lets no script run; a copy of it lets ours.
    text = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", page.read_text(encoding="utf-8"))
    copy = folder / "page.html"
    copy.write_text(text.replace("</head>", probe, 1), encoding="utf-8")
    quiet = (
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--hide-scrollbars",
    )
    rest = ("--disable-component-update", "--disable-sync", f"--window-size={WIDTH},900")
    where = (f"--user-data-dir={folder / 'browser'}", "--enable-logging=stderr", "--v=0", "--dump-dom", copy.as_uri())
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", *quiet, *rest, *where], capture_output=True, text=True, timeout=90
    )
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr
    return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")), done.stderr


@pytest.mark.chromium
@pytest.mark.parametrize("name", ["explain", "balance", "map"])
def test_a_browser_shows_the_page_whole(make, browser: str, tmp_path: Path, name: str):
    report = made(make, tmp_path, name)
    assert report.spec.page is not None
    said, complaints = seen(browser, report.dir / report.spec.page, tmp_path)
    assert "CONSOLE" not in complaints and said["title"] == report.spec.title
    assert said["wide"] <= WIDTH and said["tall"] > 500 and said["scripts"] == 0
    pictures = said["pictures"]
    for one in pictures:
        assert one["marks"] > 3 and not one["outside"], one
    if name == "explain":
        funnel = pictures[0]
        assert funnel["label"] == "What is left after each filter"
        assert {"all documents", "too_short", "other_language", "listed_words_advertising"} <= set(funnel["texts"])
        assert "Where the thresholds lie" in said["headings"] and "Samples" in said["headings"]
    elif name == "balance":
        names = [text for text in pictures[0]["texts"] if text.isalpha()]
        assert names[:2] == ["advertising", "education"]
    else:
        assert {"全部"} <= set(pictures[0]["texts"])
