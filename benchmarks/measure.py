"""Run a command and say how long it took and how much memory it and everything it started held together at most.

    python benchmarks/measure.py uv run runs/tiny.sh

Memory is the proportional set size (a page shared by n processes counts 1/n in each), summed over the command's process
tree every two seconds; shorter peaks are missed. Ends with the command's own exit status. Linux only.
"""

import sys
import time

import psutil

EVERY = 2.0  # seconds; looking costs a tenth of a second a large process


def held(tree: psutil.Process) -> int:
    """Bytes of proportional set size of a process and its descendants; what ends meanwhile counts nothing."""
    total = 0
    for process in [tree, *tree.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    began, peak = time.monotonic(), 0
    with psutil.Popen(sys.argv[1:]) as run:
        while run.poll() is None:
            peak = max(peak, held(run))
            time.sleep(EVERY)
    print(f"{time.monotonic() - began:.0f} s, {peak / 2**30:.2f} GiB at most, exit {run.returncode}", file=sys.stderr)
    sys.exit(run.returncode)


if __name__ == "__main__":
    main()
