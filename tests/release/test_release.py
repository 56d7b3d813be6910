"""A package is released on its own: its version by its CHANGELOG, its wheel installable and working alone."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))
IDENTITY = ["-c", "user.name=n", "-c", "user.email=e@example.org"]


def run(*command: object, cwd: Path = ROOT) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace as it is now, in a git repository of its own; nothing of the corpus package is unreleased."""
    copy = tmp_path_factory.mktemp("checkout") / "bunbuku"
    ignore = shutil.ignore_patterns(".git", ".venv*", "out", "__pycache__", ".hypothesis", ".*_cache", "dist")
    shutil.copytree(ROOT, copy, ignore=ignore)
    changelog = copy / "packages" / "corpus" / "CHANGELOG.md"
    text = changelog.read_text(encoding="utf-8")
    released = re.sub(r"(?<=## \[Unreleased\]\n).*?(?=^## \[)", "\n", text, count=1, flags=re.MULTILINE | re.DOTALL)
    changelog.write_text(released, encoding="utf-8")
    run("git", "init", "-q", cwd=copy)
    run("git", "add", ".", cwd=copy)
    run("git", *IDENTITY, "commit", "-qm", "all", cwd=copy)
    for key, value in (("user.name", "n"), ("user.email", "e@example.org")):
        run("git", "config", key, value, cwd=copy)
    return copy


def release(checkout: Path, package: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/release.py", package, *options]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True)


def test_a_release_bumps_tags_and_builds_and_is_made_once(checkout: Path):
    first = release(checkout, "corpus")
    assert first.returncode == 0, first.stderr
    assert first.stdout == "corpus-v0.1.0: first release\n"
    assert release(checkout, "corpus").returncode == 1
    changelog = checkout / "packages" / "corpus" / "CHANGELOG.md"
    text = changelog.read_text(encoding="utf-8").replace("## [Unreleased]\n", "")
    news = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- A sieve for rain.\n"
    changelog.write_text(text.replace("# Changelog\n", news, 1), encoding="utf-8")
    refused = release(checkout, "corpus")
    assert "commit them first" in refused.stderr
    run("git", "commit", "-qam", "news", cwd=checkout)
    assert release(checkout, "corpus", "--dry-run").stdout == "corpus-v0.2.0: 0.1.0 -> 0.2.0\n"
    second = release(checkout, "corpus")
    assert second.returncode == 0, second.stderr
    assert run("git", "tag", cwd=checkout).split() == ["corpus-v0.1.0", "corpus-v0.2.0"]
    assert (checkout / "dist" / "bunbuku_corpus-0.2.0-py3-none-any.whl").is_file()
    assert "## [Unreleased]\n\n## [0.2.0] - " in changelog.read_text(encoding="utf-8")
    lock = run("git", "show", "HEAD:uv.lock", cwd=checkout)
    assert "://" not in lock
    assert next(p["version"] for p in tomllib.loads(lock)["package"] if p["name"] == "bunbuku-corpus") == "0.2.0"


@pytest.mark.parametrize(("package", "says"), [("corpse", "there are align, contracts"), ("contracts", "")])
def test_a_package_is_known_or_the_known_ones_are_named(checkout: Path, package: str, says: str):
    done = release(checkout, package, "--dry-run")
    assert (done.returncode == 1) == bool(says)
    assert says in done.stderr


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    run("uv", "build", "--quiet", "--all-packages", "--wheel", "--out-dir", folder)
    return folder


GATHER = """
import sys
from pathlib import Path
from bunbuku_contracts import Config, Corpus, Draft, stage

@stage("contracts.lines")
def lines(draft: Draft, config: Config, words: Path) -> Corpus:
    (draft.dir / "data").write_bytes(words.read_bytes())
    return Corpus()

print(lines(Path(sys.argv[1]), Config(), Path(sys.argv[2])).content)
"""


@pytest.mark.parametrize("package", PACKAGES)
def test_a_wheel_installs_alone_from_a_folder_and_teaches(wheels: Path, tmp_path: Path, package: str):
    name = f"bunbuku-{package.replace('_', '-')}"
    pins = tmp_path / "pins.txt"
    exported = run("uv", "export", "--quiet", "--package", name, "--no-dev", "--no-hashes", "--no-emit-workspace")
    pins.write_text("\n".join(line for line in exported.splitlines() if line[:1].isalpha()))
    run("uv", "venv", "--quiet", "--python", "3.12", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    options = ["--python", python, "--find-links", wheels, "--constraints", pins]
    run("uv", "pip", "install", "--quiet", *options, name, cwd=tmp_path)
    run("uv", "pip", "check", "--quiet", "--python", python, cwd=tmp_path)
    probe = f"import importlib.metadata as m, json, bunbuku_{package} as p; print(json.dumps([m.version('{name}'), p.__file__]))"
    version, file = json.loads(run(python, "-I", "-c", probe, cwd=tmp_path))
    assert version == tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text())["project"]["version"]
    assert str(tmp_path) in file
    installed = {path.name for path in python.parent.glob("bunbuku*")}
    for command in installed:
        assert "usage:" in run(python.parent / command, "--help", cwd=tmp_path)
    (tmp_path / "gather.py").write_text(GATHER)
    (tmp_path / "words").write_text("分福茶釜")
    here, there = (
        run(interpreter, "gather.py", tmp_path / place, "words", cwd=tmp_path)
        for interpreter, place in ((sys.executable, "here"), (python, "there"))
    )
    assert here == there
