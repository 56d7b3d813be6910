"""Documents packed into sequences: ours against OLMo-core's best-fit decreasing, on the same lengths.

    python benchmarks/bench_packing.py TOKENS_DIR --olmo OLMO_CORE_CHECKOUT [--part train] [--sequence 2048]

OLMo-core (github.com/allenai/OLMo-core) is needed as a checkout alone: its packer is read out of
`src/olmo_core/data/utils.py`, so that nothing has to be installed. Both get the same pieces, cut to the sequence length by
us. Processes take turns. Also shown: the sequences that cutting one long text makes, and how many documents that cuts.
"""

import argparse
import ast
import math
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np
from bunbuku_pretrain.indexed import IndexedFile
from bunbuku_pretrain.packing import best_fit, cut, whole_documents
from bunbuku_pretrain.supply import lengths_cut

WANTED = ("SegmentTreeNode", "SegmentTree", "InstancePacker")


def packer(checkout: Path) -> Any:
    """OLMo-core's `InstancePacker`, without what the rest of its module imports."""
    tree = ast.parse((checkout / "src/olmo_core/data/utils.py").read_text())
    tree.body = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name in WANTED]
    names: dict[str, Any] = {
        "__name__": "__main__",
        "np": np, "math": math, "deque": deque, "defaultdict": defaultdict, "dataclass": dataclass,
        "Dict": dict, "List": list, "Optional": Optional, "Tuple": tuple,
    }  # fmt: skip
    exec(compile(tree, "olmo_core", "exec"), names)
    return names["InstancePacker"]


def ours(lengths: np.ndarray, capacity: int) -> int:
    return int(best_fit(lengths, capacity).max()) + 1


def theirs(found: Any, lengths: np.ndarray, capacity: int) -> int:
    ends = np.cumsum(lengths)
    instances, _, _ = found(capacity).pack_documents(np.stack([ends - lengths, ends], axis=1))
    return len(instances)


def interval(ratios: list[float]) -> tuple[float, float]:
    """95 % of the means of ratios drawn again."""
    chance = np.random.default_rng(0)
    means = chance.choice(ratios, (2000, len(ratios))).mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", type=Path)
    parser.add_argument("--olmo", type=Path, required=True)
    parser.add_argument("--part", default="train")
    parser.add_argument("--sequence", type=int, default=2048)
    parser.add_argument(
        "--times", type=int, default=1, help="how often the documents are repeated, to have more of them"
    )
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    documents = np.tile(IndexedFile(args.tokens / args.part).lengths, args.times)
    pieces = cut(whole_documents(documents), args.sequence)
    found, capacity = packer(args.olmo), args.sequence
    seconds: dict[str, list[float]] = {"ours": [], "OLMo-core": []}
    bins: dict[str, int] = {}
    for _ in range(args.rounds):
        for name in seconds:
            clock = time.process_time()
            bins[name] = ours(pieces.lengths, capacity) if name == "ours" else theirs(found, pieces.lengths, capacity)
            seconds[name].append(time.process_time() - clock)
    total = int(pieces.lengths.sum())
    print(f"{len(documents):,} documents, {total:,} predictions, sequences of {capacity}")
    for name, times in seconds.items():
        rate = len(documents) / float(np.median(times))
        print(f"{name:10} fill {total / (bins[name] * capacity):.5f}  {rate:14,.0f} documents/s of CPU")
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["OLMo-core"], strict=True)]
    low, high = interval(ratios)
    print(f"ratio {np.mean(ratios):.1f} (95 %: {low:.1f} to {high:.1f})")
    for packed, name in ((True, "packed"), (False, "one long text")):
        print(f"documents cut, {name}: {100 * lengths_cut(documents, capacity, packed=packed):.2f} %")


if __name__ == "__main__":
    main()
