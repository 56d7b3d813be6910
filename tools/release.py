"""Release one package: version by its CHANGELOG, commit, tag, wheel.

    python tools/release.py corpus            # bump, commit, tag corpus-v0.2.0, build dist/*.whl
    python tools/release.py corpus --dry-run  # say what would be done

What stands under `## [Unreleased]` decides: anything under Removed or Changed or Added raises the minor version (before
1.0.0 a minor version may break), Fixed alone the patch version. A version that the CHANGELOG names and that has no tag
yet is released as it is.
"""

import argparse
import datetime
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
_UNRELEASED = re.compile(r"^## \[Unreleased\]\n(?P<body>.*?)(?=^## \[|\Z)", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^### (\w+)\n+(?=[-*])", re.MULTILINE)


class Plan(NamedTuple):
    """What a release of one package will do."""

    package: str
    old: str
    new: str

    @property
    def tag(self) -> str:
        return f"{self.package}-v{self.new}"


class ReleaseError(Exception):
    """A release that cannot be made; the message says why and what to do."""


def next_version(version: str, changelog: str) -> str:
    r"""The version after `version`, given what the CHANGELOG has unreleased; `version` itself if that is nothing.

    >>> next_version("0.1.2", "## [Unreleased]\n\n### Fixed\n\n- A thing.\n\n## [0.1.2]\n")
    '0.1.3'
    >>> next_version("0.1.2", "## [Unreleased]\n\n### Added\n\n- A thing.\n")
    '0.2.0'
    """
    unreleased = _UNRELEASED.search(changelog)
    kinds = set(_HEADING.findall(unreleased["body"])) if unreleased else set[str]()
    major, minor, patch = (int(number) for number in version.split("."))
    if kinds & {"Added", "Changed", "Removed", "Deprecated"}:
        breaking = major > 0 and kinds & {"Changed", "Removed"}
        return f"{major + 1}.0.0" if breaking else f"{major}.{minor + 1}.0"
    return f"{major}.{minor}.{patch + 1}" if kinds else version


def plan(package: str) -> Plan:
    folder = ROOT / "packages" / package
    if not (folder / "pyproject.toml").is_file():
        known = ", ".join(sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml")))
        raise ReleaseError(f"no package {package!r}; there are {known}")
    old = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    changelog = (folder / "CHANGELOG.md").read_text(encoding="utf-8")
    made = Plan(package, old, next_version(old, changelog))
    if f"## [{old}]" not in changelog and made.new == old:
        raise ReleaseError(f"packages/{package}/CHANGELOG.md does not say what is new: write it under ## [Unreleased]")
    if _git("tag", "--list", made.tag):
        raise ReleaseError(f"{made.tag} is released already: write what is new under ## [Unreleased]")
    return made


def bump(made: Plan) -> None:
    """Write the new version and date into pyproject.toml and CHANGELOG.md."""
    folder = ROOT / "packages" / made.package
    project = folder / "pyproject.toml"
    text = project.read_text(encoding="utf-8")
    project.write_text(text.replace(f'version = "{made.old}"', f'version = "{made.new}"', 1), encoding="utf-8")
    changelog = folder / "CHANGELOG.md"
    heading = f"## [Unreleased]\n\n## [{made.new}] - {datetime.date.today().isoformat()}"
    text = changelog.read_text(encoding="utf-8")
    changelog.write_text(text.replace("## [Unreleased]", heading, 1), encoding="utf-8")


def release(made: Plan, dist: Path) -> None:
    """Bump if there is something to bump, commit, tag, and build the wheel into `dist`."""
    if _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)uv.lock"):
        raise ReleaseError("the checkout has changes: commit them first, a tag names a commit")
    distribution = f"bunbuku-{made.package.replace('_', '-')}"
    if made.new != made.old:
        bump(made)
        subprocess.run(["uv", "lock", "--quiet"], cwd=ROOT, check=True)
        subprocess.run([sys.executable, "tools/lock.py", "strip"], cwd=ROOT, check=True)
        _git("add", "uv.lock", f"packages/{made.package}")
        _git("commit", "--quiet", "--message", f"Release {distribution} {made.new}")
    subprocess.run(
        ["uv", "build", "--quiet", "--wheel", "--package", distribution, "--out-dir", dist], cwd=ROOT, check=True
    )
    _git("tag", "--annotate", made.tag, "--message", f"{distribution} {made.new}")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise ReleaseError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", help="its folder's name, for example corpus")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", metavar="DIR", help="where the wheel goes")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    args = parser.parse_args()
    try:
        made = plan(args.package)
        if not args.dry_run:
            release(made, args.out)
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{made.tag}: {made.old} -> {made.new}" if made.new != made.old else f"{made.tag}: first release")
    return 0


if __name__ == "__main__":
    sys.exit(main())
