"""How fast ranks add up numbers over the network, before they do it for days."""

import time

import torch
import torch.distributed as dist
from bunbuku_contracts import BunbukuError

from bunbuku_pretrain.mcore.runtime import Runtime

PROBE_BYTES = 64 << 20
ROUNDS = 5


def measure(runtime: Runtime) -> float:
    """Gigabytes a second through the slowest link while all ranks add up 64 MiB: the best of a few rounds.

    What NCCL's own tests call bus bandwidth: 2 (n - 1) / n times the bytes, over the time.
    """
    numbers = torch.zeros(PROBE_BYTES // 4, device=runtime.device)
    best = float("inf")
    for _ in range(ROUNDS + 1):  # the first one opens connections
        runtime.wait()
        clock = time.perf_counter()
        dist.all_reduce(numbers)
        runtime.settle()
        best = min(best, time.perf_counter() - clock)
    slowest = runtime.largest(torch.tensor(best, dtype=torch.float64, device=runtime.device)).item()
    return 2 * (runtime.world - 1) / runtime.world * PROBE_BYTES / slowest / 1e9


def insist(runtime: Runtime, expected_gb: float) -> float:
    """The bandwidth, if it is what is expected.

    Raises:
        BunbukuError: It is less.
    """
    found = measure(runtime)
    if found < expected_gb:
        raise BunbukuError(
            f"{runtime.world} ranks add up {found:.3g} GB a second, `expected_bandwidth_gb` is {expected_gb:g}",
            hint="look whether the network's plugin and its background process run on every node (`required_processes`), "
            "whether a node is slow (`excluded_hosts`), or expect less",
        )
    return found
