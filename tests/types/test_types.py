"""A stage's types reach whoever calls it: the probe's wrong calls must be refused by the type checker, the others not."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

PROBE = """
from pathlib import Path
from typing import assert_type
from bunbuku_contracts import Artifact, Config, Corpus, Draft, Report, RunSettings, Spec, Tokenizer, load, stage

class C(Config):
    x: int = 1

@stage("probe.train")
def train(draft: Draft, config: C, corpus: Artifact[Corpus], anything: Artifact[Spec] | None = None) -> Tokenizer:
    return Tokenizer(vocab_size=9)

corpus = load(Path("corpus"), Corpus)
assert_type(corpus, Artifact[Corpus])
made = train(Path("out"), C(), corpus, corpus)
assert_type(made, Artifact[Tokenizer])
assert_type(made.spec.vocab_size, int)
train(Path("out"), C(), made)  # wrong: a tokenizer where a corpus is wanted
train(Path("out"), Config(), corpus)  # wrong: another config
train(Path("out"), C())  # wrong: no corpus
"""


def test_a_stage_called_wrongly_does_not_check(tmp_path: Path):
    pyright = shutil.which("pyright")
    if pyright is None:
        pytest.skip("no pyright")
    probe = tmp_path / "probe.py"
    probe.write_text(PROBE)
    done = subprocess.run([pyright, "--outputjson", str(probe)], capture_output=True, text=True)
    found = {error["range"]["start"]["line"] for error in json.loads(done.stdout)["generalDiagnostics"]}
    wrong = {number for number, line in enumerate(PROBE.splitlines()) if "# wrong" in line}
    assert found == wrong
