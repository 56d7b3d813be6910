"""Send many random and adversarial strings through both forms of a tokenizer: equal ids, and every string back.

    python benchmarks/bench_tokenizer_fuzz.py TOKENIZER [--count 100000] [--seed 1]

Ends with status 1 and the first string that fails.
"""

import argparse
import sys
import time
from itertools import batched
from pathlib import Path

from bunbuku_tokenizer import Encoder
from bunbuku_tokenizer.adversarial import adversarial


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    encoder, began, done = Encoder.open(options.tokenizer), time.monotonic(), 0
    for strings in batched(adversarial(options.count, options.seed), 10_000):
        if problem := encoder.first_failure(strings):
            print(problem)
            return 1
        done += len(strings)
    print(f"{done:,} strings, no failure, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
