"""Kill the tiny run at random moments, start it again each time, and compare what it made with an uninterrupted run.

    python benchmarks/bench_kills.py REFERENCE --out DIR [--kills 5] [--seed 0] [-- options of runs/tiny.sh]

REFERENCE is the folder of a finished run of the same configs. Every kill is SIGKILL to the script and everything it
started, after a random share of the time that the reference took. Prints a line an artifact and ends with status 1 if an
artifact that promises the same bytes has others; of those that promise no more than the same up to rounding, it says
which were equal all the same.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from bunbuku_contracts import Artifact, Spec, load

ROOT = Path(__file__).parents[1]


def artifacts(folder: Path) -> dict[str, Artifact[Spec]]:
    """Every artifact of a run by the name of its folder."""
    return {path.parent.name: load(path.parent, Spec) for path in sorted(folder.glob("*/manifest.json"))}


def seconds(made: dict[str, Artifact[Spec]]) -> float:
    """How long the stages of a run took together."""
    return sum(artifact.manifest.run.seconds for name, artifact in made.items() if "@" not in name)


def start(out: Path, options: list[str]) -> subprocess.Popen[bytes]:
    command = [str(ROOT / "runs" / "tiny.sh"), "--out", str(out), *options]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"PATH": path}, start_new_session=True)


def kill(run: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the script's whole session, ranks in sessions of their own left to notice by themselves."""
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path, help="folder of an uninterrupted run")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run that is killed")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args, options = parser.parse_known_args()
    options = [option for option in options if option != "--"]
    expected = artifacts(args.reference)
    draw = random.Random(args.seed)
    for number in range(args.kills):
        run = start(args.out, options)
        delay = draw.uniform(0.02, 1.5 / args.kills) * seconds(expected)
        time.sleep(delay)
        if run.poll() is None:
            kill(run)
            time.sleep(3)  # ranks look for their parent once a second
        elif run.returncode:
            return run.returncode
        done = sorted(artifacts(args.out))
        print(f"kill {number + 1} after {delay:.0f} s: {len(done)} artifacts, each as published", flush=True)
        for name in done:
            load(args.out / name, Spec).verify()
    if status := start(args.out, options).wait():
        return status
    return compare(expected, artifacts(args.out))


def compare(expected: dict[str, Artifact[Spec]], found: dict[str, Artifact[Spec]]) -> int:
    broken = sorted(expected.keys() ^ found.keys())
    for name in sorted(expected.keys() & found.keys()):
        same = expected[name].content == found[name].content
        promised = expected[name].manifest.run.bitwise
        print(f"{'equal' if same else 'DIFFERS'}  {'promised' if promised else 'not promised'}  {name}")
        broken += [name] * (promised and not same)
    print(f"{len(broken)} broken promises {broken}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
