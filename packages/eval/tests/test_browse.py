"""The page of answers: what a model wrote is shown as text, whatever it wrote."""

import json
import re
import shutil
import subprocess

import pytest
from bunbuku_eval.browse import as_json, page
from hypothesis import given
from hypothesis import strategies as st

HOSTILE = (
    "</script><script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "<!--<script>",
    "\u2028\u2029\ud800",
    "'\"`${document.title='owned'}",
)


def row(**changes) -> dict:
    given = {
        "model": "dense", "task": "jnli", "mode": "generation", "style": "chat", "phrasing": "terse", "id": "1",
        "seed": 0, "category": "", "prompt": "質問", "gold": ["3"], "output": "3. 机", "understood": "3", "strict": 0.0,
        "lenient": 1.0, "format_ok": False, "degenerate": False, "flags": [], "contaminated": None, "flipped": False,
        "failure": None, "finish": "stop", "tokens": 3,
    }  # fmt: skip
    return given | changes


@given(st.text())
def test_data_in_the_page_is_the_data_and_no_markup(text) -> None:
    written = as_json({"text": text})
    assert not set("<>&") & set(written)
    assert json.loads(written) == {"text": re.sub("[\ud800-\udfff]", "\ufffd", text)}


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_answer_adds_no_element(text) -> None:
    harmless, hostile = page("t", [row()], total=1), page("t", [row(output=text, prompt=text, id=text)], total=1)
    for tag in ("<script", "</script", "<img", "<!--"):
        assert hostile.count(tag) == harmless.count(tag)


def test_only_the_pages_own_script_may_run_and_nothing_is_fetched() -> None:
    written = page("t", [row()], total=1)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', written)
    assert policy.startswith("default-src 'none'")
    assert re.search(r"script-src 'sha256-[\w+/=]+'$", policy)
    assert not re.search(r"""(?:src|href)=["']?https?:""", written)


def test_prompts_are_written_once() -> None:
    long = "とても長い問い" * 100
    assert page("t", [row(prompt=long, id=str(n)) for n in range(20)], total=20).count(long) == 1


@pytest.mark.chromium
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs headless Chromium")
def test_a_browser_shows_the_answers_and_runs_nothing_of_them(tmp_path) -> None:
    rows = [row(output=text, prompt=text, id=str(n)) for n, text in enumerate(HOSTILE)]
    (tmp_path / "items.html").write_text(page("Answers", rows, total=9), encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=3000", "--dump-dom"]
    done = subprocess.run(
        [*command, f"file://{tmp_path / 'items.html'}"], capture_output=True, text=True, timeout=120, check=True
    )
    assert "<title>Answers</title>" in done.stdout
    assert done.stdout.count("<article>") == len(HOSTILE)
    assert "5 of 5 answers (the page holds 5 of 9)" in done.stdout
    assert "<img" not in done.stdout.partition("<article>")[2].partition("<script")[0]
