"""Twenty steps in every parallel layout beside one rank, as a table.

    python benchmarks/bench_layouts.py [--out TABLE.json]

Runs the test of `packages/pretrain` that holds the layouts to their bars (a few minutes on two cores, gloo, fp32, one thread a
rank). All begin from one full state: weights, moments of AdamW, step 1. The model has two layers of width 32, the mixture four
experts with normalised routers; learning rate 1e-2, z-loss 1e-2, micro-batches of 4 sequences. What is compared, whole tensors
put together from the slices of all ranks: losses, gradient norms (relative), weights after the last step, copies of the same
slice on different ranks, and for mixtures the load-balancing loss and its gradient alone (relative to its largest number).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
COLUMNS = {
    "first_loss": "loss, first step",
    "loss": "loss, 20 steps",
    "norm": "gradient norm",
    "weights": "weights after",
    "replicas": "copies",
    "balance": "balancing loss",
    "balancing_gradient": "its gradient",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out or Path(tempfile.mkdtemp()) / "table.json"
    test = "packages/pretrain/tests/test_layouts.py"
    command = [sys.executable, "-m", "pytest", test, "-m", "long", "-k", "every_layout", "-q"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "LAYOUTS_TABLE": str(out.resolve())}, check=False)
    print("| layout | " + " | ".join(COLUMNS.values()) + " |\n|---" + "|---" * len(COLUMNS) + "|")
    for name, found in json.loads(out.read_text()).items():
        if not name.endswith(("alone", "alone shared")):
            cells = (f"{found[column]:.0e}".replace("0e+00", "0") if column in found else "" for column in COLUMNS)
            print(f"| {name} | " + " | ".join(cells) + " |")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
