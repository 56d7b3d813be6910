"""Training in many layouts from one full state, side by side: `python layouts.py PLAN.json`.

The plan has cases; each is a job that begins from a saved state (weights, moments, step) and takes some steps in its own
layout. Cases with as many ranks share a launch, since starting a rank costs more than the steps do. What every case did
is read from `results.json`: losses and gradient norms of the steps, and the weights afterwards (for a mixture also the
gradient of its load-balancing loss alone), each compared whole with those of the case it names. A case that `saves` also
writes down, before its first step, what it loaded: the folder `loaded`.

Tests and `benchmarks/bench_layouts.py` run this file.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

type Tensors = dict[str, torch.Tensor]

STRONG = 1.0  # coefficient under which the gradient of the load-balancing loss is looked at


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    if "RANK" in os.environ:
        act(plan)
        return
    folder = Path(plan["folder"])
    for ranks in sorted({case["settings"].get("ranks", 1) for case in plan["cases"].values()}):
        launch(ranks, folder)
    results = {name: compare(folder, name, case) for name, case in plan["cases"].items()}
    (folder / "results.json").write_text(json.dumps(results, indent=2))


def launch(ranks: int, folder: Path) -> None:
    shared = {**os.environ, "WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1"}
    shared |= {"TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, __file__, sys.argv[1]]
    logs = [(folder / f"rank-{rank}-of-{ranks}.log").open("wb") for rank in range(ranks)]
    running = [
        subprocess.Popen(
            command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stdout=logs[rank], stderr=logs[rank]
        )
        for rank in range(ranks)
    ]
    for process in running:
        if process.wait() != 0:
            for other in running:
                other.kill()
            tails = [Path(log.name).read_text()[-2000:] for log in logs]
            sys.exit("\n\n".join(tails))


def meet(folder: Path, what: str) -> None:
    """Agree on a port: the ranks of a launch must not meet where their last meeting is still ending."""
    agreed = folder / f"port-{what}"
    if os.environ["RANK"] == "0":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            (partial := folder / "partial").write_text(str(free.getsockname()[1]))
        partial.rename(agreed)
    while not agreed.exists():
        time.sleep(0.01)
    os.environ["MASTER_PORT"] = agreed.read_text()


def act(plan: dict[str, Any]) -> None:
    """Take this rank's part in every case of its launch."""
    from bunbuku_pretrain.mcore import compiler

    compiler.leave_out()
    folder, rank = Path(plan["folder"]), int(os.environ["RANK"])
    for name, case in plan["cases"].items():
        if case["settings"].get("ranks", 1) != int(os.environ["WORLD_SIZE"]):
            continue
        own = folder / name
        own.mkdir(exist_ok=True)
        records, weights = train(job_of(case, own), case["steps"], saves=case.get("saves", False))
        torch.save(weights, own / f"weights-{rank}.pt")
        if rank == 0:
            (own / "records.json").write_text(json.dumps(records))
        # A distributed optimizer leaves each rank with the sum of its own share of the gradient.
        if records[0]["mixture"] is not None and not case["settings"].get("distributed_optimizer"):
            for coefficient in (0.0, STRONG):
                torch.save(gradient(job_of(case, own, coefficient)), own / f"gradient-{coefficient:g}-{rank}.pt")


def job_of(case: dict[str, Any], folder: Path, coefficient: float | None = None) -> Any:
    from bunbuku_pretrain.job import Job

    base = json.loads(Path(case["job"]).read_text())
    base["settings"] |= {"checkpoint_interval_steps": 1000, "time_limit_seconds": None, **case["settings"]}
    base["config"] |= case.get("config", {})
    if coefficient is not None:
        base["architecture"]["experts"]["aux_loss_coefficient"] = coefficient
        base["config"]["optimizer"]["clip"] = 1e9
    base |= {"resume": case["state"], "scratch": str(folder), "log": str(folder)}
    return Job.model_validate(base)


def train(job: Any, steps: int, *, saves: bool) -> tuple[list[dict[str, Any]], list[Any]]:
    from bunbuku_pretrain.mcore import checkpoint
    from bunbuku_pretrain.mcore.loop import Trainer
    from bunbuku_pretrain.mcore.runtime import started

    meet(job.scratch, "train")
    with started(job.settings) as runtime:
        trainer = Trainer(job, runtime)
        if saves:
            optimizer, folder = trainer.optimizer, job.scratch / "loaded"
            checkpoint.save(folder, trainer.state, model=trainer.weights, optimizer=optimizer, runtime=runtime)
        records = [trainer.train_step().model_dump(mode="json") for _ in range(steps)]
        return records, slices(trainer.weights)


def gradient(job: Any) -> list[Any]:
    from bunbuku_pretrain.mcore.loop import Trainer
    from bunbuku_pretrain.mcore.runtime import started

    meet(job.scratch, f"gradient-{job.architecture.experts.aux_loss_coefficient:g}")
    with started(job.settings) as runtime:
        trainer = Trainer(job, runtime)
        trainer.train_step()
        for parameter in trainer.weights.parameters():
            parameter.data.copy_(parameter.main_grad)
        return slices(trainer.weights)


def slices(model: Any) -> list[Any]:
    """Of every whole tensor the slice that this rank holds: key, whole shape, place in the stack, offset, numbers."""
    from bunbuku_pretrain.mcore.weights import shards

    return [
        (
            shard.key,
            tuple(shard.global_shape),
            tuple(shard.global_offset),
            shard.prepend_axis_num,
            shard.data.clone(),  # pyright: ignore[reportOptionalMemberAccess],
        )
        for shard in shards(model)
    ]


def whole(folder: Path, name: str) -> tuple[Tensors, float]:
    """Whole tensors from the slices of all ranks, and how far replicas of the same slice are apart."""
    found: Tensors = {}
    apart = 0.0
    seen: dict[Any, torch.Tensor] = {}
    for path in sorted(folder.glob(f"{name}-*.pt")):
        for key, shape, offset, stacked, data in torch.load(path):
            if key not in found:
                found[key] = torch.full(shape, torch.nan)
            place = (
                *offset[:stacked],
                *(slice(at, at + n) for at, n in zip(offset[stacked:], data.shape, strict=True)),
            )
            found[key][place] = data.float()
            if (twin := seen.setdefault((key, offset), data)) is not data:
                apart = max(apart, (twin - data).abs().max().item())
    assert found and not any(tensor.isnan().any() for tensor in found.values())
    return found, apart


def farthest(ours: Tensors, theirs: Tensors) -> float:
    assert ours.keys() == theirs.keys()
    return max((ours[key] - theirs[key]).abs().max().item() for key in theirs)


def compare(folder: Path, name: str, case: dict[str, Any]) -> dict[str, float]:
    """How far a case is from the one it is compared with."""
    ours, theirs = (json.loads((folder / which / "records.json").read_text()) for which in (name, case["against"]))
    differences = defaultdict[str, list[float]](list)
    for mine, other in zip(ours, theirs, strict=True):
        differences["loss"].append(abs(mine["loss"] - other["loss"]))
        differences["norm"].append(abs(mine["gradient_norm"] / other["gradient_norm"] - 1))
        if mine["mixture"] is not None:
            differences["balance"].append(abs(mine["mixture"]["balance"] - other["mixture"]["balance"]))
    weights, apart = whole(folder / name, "weights")
    result = {
        "first_loss": differences["loss"][0],
        "loss": max(differences["loss"]),
        "first_norm": differences["norm"][0],
        "norm": max(differences["norm"]),
        "weights": farthest(weights, whole(folder / case["against"], "weights")[0]),
        "replicas": apart,
        "learned": ours[0]["loss"] - ours[-1]["loss"],
    }
    if "balance" in differences:
        result |= {"first_balance": differences["balance"][0], "balance": max(differences["balance"])}
    if list((folder / name).glob("gradient-*")):
        mine, other = (balancing(folder / which) for which in (name, case["against"]))
        largest = max(tensor.abs().max().item() for tensor in other.values())
        result |= {"balancing_gradient": farthest(mine, other) / largest, "balancing_largest": largest}
    return result


def balancing(folder: Path) -> Tensors:
    """The gradient of the load-balancing loss alone: with it, less without it."""
    without, with_it = (whole(folder, f"gradient-{coefficient:g}")[0] for coefficient in (0.0, STRONG))
    return {key: with_it[key] - without[key] for key in with_it}


if __name__ == "__main__":
    main()
