"""The committed lock names no host, and pins what uv makes of it."""

import importlib.util
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_spec = importlib.util.spec_from_file_location("lock_tool", ROOT / "tools" / "lock.py")
assert _spec and _spec.loader
lock = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(lock)

FULL = """\
version = 1

[[package]]
name = "six"
version = "1.16.0"
source = { registry = "https://index.example/simple" }
sdist = { url = "https://files.example/ab/six-1.16.0.tar.gz", hash = "sha256:aa", size = 3 }
wheels = [
    { url = "https://files.example/cd/six-1.16.0-py3-none-any.whl", hash = "sha256:bb", size = 4 },
]

[package.metadata]
requires-dist = [{ name = "x" }]

[package.metadata.requires-dev]
dev = [{ name = "y" }]

[[package]]
name = "bunbuku"
source = { virtual = "." }
"""


def test_stripping_removes_addresses_and_nothing_that_pins():
    stripped = lock.strip(FULL)
    assert "://" not in stripped
    assert "requires-d" not in stripped
    assert 'filename = "six-1.16.0-py3-none-any.whl", hash = "sha256:bb"' in stripped
    assert lock.pins(stripped) == lock.pins(FULL) != set()
    assert lock.strip(stripped) == stripped
    assert lock.problems(stripped, FULL) == []


@pytest.mark.parametrize(
    ("was", "becomes"), [("sha256:bb", "sha256:cc"), ("1.16.0.tar.gz", "1.16.1.tar.gz"), ('"six"', '"seven"')]
)
def test_a_lock_that_was_tampered_with_is_noticed(was: str, becomes: str):
    assert lock.problems(lock.strip(FULL).replace(was, becomes), FULL)


def test_a_lock_with_an_address_is_noticed():
    assert "https://index.example/simple" in lock.problems(FULL, FULL)[0]


def test_the_staged_lock_is_stripped_and_pins_what_is_installed_from():
    if subprocess.run(["git", "ls-files", "--error-unmatch", "uv.lock"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("not a git checkout")
    assert lock.problems(lock.staged(), (ROOT / "uv.lock").read_text(encoding="utf-8")) == []
