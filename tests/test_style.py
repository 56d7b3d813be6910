"""House rules that no linter checks."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(path for path in (ROOT / "packages").iterdir() if (path / "pyproject.toml").is_file())
MODULES = sorted(path for package in PACKAGES for path in package.glob("src/**/*.py"))
HEAVY = {"torch", "transformers", "megatron", "vllm", "trl", "peft", "datasets", "matplotlib"}
NAMELESS = {"utils", "util", "helpers", "common", "base", "misc"}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_fits_in_the_head(module: Path):
    assert len(module.read_text(encoding="utf-8").splitlines()) <= 400
    assert module.stem not in NAMELESS


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_is(module: Path):
    tree = ast.parse(module.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree) or module.name == "cli.py"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_package_is_whole(package: Path):
    name = f"bunbuku_{package.name}"
    for needed in ("pyproject.toml", "README.md", "CHANGELOG.md", f"src/{name}/py.typed", "tests"):
        assert (package / needed).exists(), needed
    assert (ROOT / "docs" / f"{package.name}.md").is_file()
    assert len((package / "README.md").read_text(encoding="utf-8").splitlines()) <= 70  # a screen


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_importing_a_package_imports_no_accelerator(package: Path):
    commands = "" if package.name in ("contracts", "inference") else f", bunbuku_{package.name}.cli"
    probe = f"import json, sys, bunbuku_{package.name}{commands}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert not HEAVY & set(json.loads(done.stdout))


def test_only_the_mcore_subpackage_names_megatron():
    naming = [path for path in MODULES if "import megatron" in path.read_text() or "from megatron" in path.read_text()]
    assert naming
    assert all("mcore" in path.parts for path in naming)
