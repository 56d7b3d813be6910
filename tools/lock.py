"""Keep `uv.lock` free of registry addresses, so that one lock serves behind any mirror.

    python tools/lock.py strip    # take the addresses out of the working tree's uv.lock
    python tools/lock.py check    # the staged lock has none, and pins exactly what the working tree's one does

A plain `uv sync` or `uv run` fills the addresses in again, from whatever index is configured, with the same versions and
hashes. uv replaces a hash that was tampered with without a word; `check` is what notices.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "uv.lock"

_REGISTRY = re.compile(r'registry = "[^"]*"')
_URL = re.compile(r'url = "[^"]*/([^"/#]+)(?:#[^"]*)?"')
_METADATA = re.compile(r"^\[package\.metadata[^\]]*\]\n(?:(?!\[).*\n)*", re.MULTILINE)

type Pin = tuple[str, str, str, str]
"""Package, version, file name and hash."""


def strip(text: str) -> str:
    """The lock without addresses: names, versions, hashes and sizes stay."""
    text = _METADATA.sub("", text)
    text = _REGISTRY.sub('registry = "registry"', text)
    return _URL.sub(r'filename = "\1"', text)


def pins(text: str) -> set[Pin]:
    """Every file that the lock admits, whether its address is filled in or not."""
    return set(_pins(text))


def _pins(text: str) -> Iterator[Pin]:
    for package in tomllib.loads(text)["package"]:
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        for file in files:
            name = file.get("filename") or file["url"].rpartition("/")[2].partition("#")[0]
            yield package["name"], package.get("version", ""), name, file["hash"]


def problems(committed: str, working: str) -> list[str]:
    """What is wrong with the committed lock, given the one that uv made of it; nothing, if all is well."""
    found = [
        f"the committed uv.lock names an address: {line.strip()}" for line in committed.splitlines() if "://" in line
    ]
    found += [f"only in the committed uv.lock: {' '.join(pin)}" for pin in sorted(pins(committed) - pins(working))]
    found += [f"not in the committed uv.lock: {' '.join(pin)}" for pin in sorted(pins(working) - pins(committed))]
    return found


def staged() -> str:
    """The lock as it is in git's index, which is what a clone was given or a commit will have."""
    shown = subprocess.run(["git", "show", ":uv.lock"], cwd=ROOT, capture_output=True, text=True, check=True)
    return shown.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["strip", "check"])
    if parser.parse_args().command == "strip":
        LOCK.write_text(strip(LOCK.read_text(encoding="utf-8")), encoding="utf-8")
        return 0
    found = problems(staged(), LOCK.read_text(encoding="utf-8"))
    for problem in found[:20]:
        print(problem, file=sys.stderr)
    if found:
        print(
            f"{len(found)} problems; `just lock` makes the lock anew: read its diff before you commit it",
            file=sys.stderr,
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
