"""Every block of Python and of shell on the documentation's pages and in the READMEs runs, in order, in one folder."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("packages/*/README.md")])
_BLOCK = re.compile(r"^```(?P<language>python|bash)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_page_shows_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = page.read_text(encoding="utf-8")
    blocks = list(_BLOCK.finditer(text))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        line = text[: block.start()].count("\n") + 2
        code = "\n" * (line - 1) + block["code"]  # so that a traceback names the page's own line
        if block["language"] == "python":
            exec(compile(code, str(page), "exec"), names)
        else:
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", block["code"]], capture_output=True, text=True)
            assert done.returncode == 0, f"{page}:{line}\n{done.stdout}\n{done.stderr}"


def test_every_link_between_pages_leads_somewhere():
    for page in [*PAGES, ROOT / "README.md"]:
        prose = re.sub(r"^```.*?^```$|`[^`\n]+`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", prose):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"
