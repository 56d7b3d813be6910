"""Which commit made it: the one of the checkout the code is in, the filled-in lock not counted as a change."""

import subprocess
from pathlib import Path

import pytest
from bunbuku_contracts import provenance


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "one", "--allow-empty"]):
        (tmp_path / "stages.py").write_text("x = 1\n")
        (tmp_path / "uv.lock").write_text("version = 1\n")
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        subprocess.run(["git", *identity, *command], cwd=tmp_path, check=True)
    return tmp_path


def test_a_commit_is_named_and_changes_are_owned_up_to(checkout: Path):
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True).stdout.strip()
    assert provenance.commit(checkout / "stages.py") == head
    (checkout / "uv.lock").write_text("version = 1\n# filled in\n")
    assert provenance.commit(checkout / "stages.py") == head
    (checkout / "stages.py").write_text("x = 2\n")
    assert provenance.commit(checkout / "stages.py") == f"{head}+dirty"


def test_code_that_no_checkout_tracks_has_no_commit(checkout: Path):
    installed = checkout / "site-packages" / "stages.py"
    installed.parent.mkdir()
    installed.write_text("x = 1\n")
    assert provenance.commit(installed) is None


def test_a_stage_knows_its_package_and_version():
    source = provenance.source(provenance.source)
    assert source.package == "bunbuku-contracts"
    assert source.version[0].isdigit()
    assert provenance.peak_bytes() > 1_000_000
