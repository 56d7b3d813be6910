"""Run each package's tests with only its own dependencies, as a team would that installs one package alone.

    python tools/isolate.py            # every package
    python tools/isolate.py corpus     # one

uv cannot tell that a package imports what another workspace member declares; an environment that lacks it can.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(folder.name for folder in (ROOT / "packages").iterdir() if (folder / "pyproject.toml").is_file())
TEST_TOOLS = ("hypothesis", "pytest", "pytest-timeout", "pytest-xdist")
EXTRAS = {
    "corpus": ("extract", "learn"),
    "eval": ("transformers",),
    "inference": ("transformers",),
    "moe_upcycle": ("hf",),
}
"""Extras without which a package's tests have nothing to run."""
KEPT = "not slow and not long and not vllm and not peer"
"""What shows that a package imports nothing but its own: `just test` has run the slow ones in the whole environment."""
ORACLES = {"eval": ("nltk",)}
"""Peers that a package's tests hold it against."""


def command(package: str) -> list[str]:
    """The command that runs one package's tests in an environment made for it."""
    isolated = ["uv", "run", "--isolated", "--no-dev", "--package", f"bunbuku-{package.replace('_', '-')}"]
    extras = [word for extra in EXTRAS.get(package, ()) for word in ("--extra", extra)]
    tools = [word for tool in (*TEST_TOOLS, *ORACLES.get(package, ())) for word in ("--with", tool)]
    return [
        *isolated,
        *extras,
        *tools,
        "python",
        "-m",
        "pytest",
        "-q",
        "-n",
        "auto",
        "--dist",
        "loadfile",
        "-m",
        KEPT,
        f"packages/{package}",
    ]


def main() -> int:
    wanted = sys.argv[1:] or PACKAGES
    if unknown := set(wanted) - set(PACKAGES):
        print(f"no package {', '.join(sorted(unknown))}; there are {', '.join(PACKAGES)}", file=sys.stderr)
        return 1
    failed = [package for package in wanted if _run(package)]
    print(f"isolated: {len(wanted) - len(failed)} of {len(wanted)} packages pass" + f"; not {failed}" * bool(failed))
    return 1 if failed else 0


def _run(package: str) -> int:
    print(f"== {package}", flush=True)
    return subprocess.run(command(package), cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
