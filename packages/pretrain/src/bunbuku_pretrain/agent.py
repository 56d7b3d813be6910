"""What runs on every node of an elastic launch: `python -m bunbuku_pretrain.agent JOB.json ENDPOINT [--host NAME]`.

An agent of torchrun, or of nvidia-resiliency-ext, which starts the ranks of its node and meets the others at the
publisher's store. When a node is lost, the agents of the others start their ranks anew, as many as there are then.
"""

import argparse
import os
import runpy
import socket
import sys
from pathlib import Path

from bunbuku_contracts.launch import follow_parent

from bunbuku_pretrain.blame import excluded
from bunbuku_pretrain.job import Job
from bunbuku_pretrain.launching import RESILIENCY, Elastic

MODULES = {"torchrun": "torch.distributed.run", "ft_launcher": RESILIENCY}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path)
    parser.add_argument("endpoint")
    parser.add_argument("--host", default=socket.gethostname(), help="what this node is called, if not its host name")
    parser.add_argument("--address", help="where the other nodes find this one, if not by its host name")
    args = parser.parse_args()
    follow_parent()
    job = Job.model_validate_json(args.job.read_bytes())
    launcher = job.settings.launcher
    assert isinstance(launcher, Elastic)
    if args.host in excluded(job.scratch, job.settings):
        sys.exit(f"{args.host} is among the excluded hosts")
    os.environ["BUNBUKU_HOST"] = args.host
    # Each round of ranks gets a store of its own: the keys of an earlier round would be in the way.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    program = launcher.chosen_program
    sys.argv = [program, *options(launcher, args, job)]
    runpy.run_module(MODULES[program], run_name="__main__", alter_sys=True)


def options(launcher: Elastic, args: argparse.Namespace, job: Job) -> list[str]:
    """The command line of the agent's program, whichever of the two it is."""
    meeting = f"is_host=false,last_call_timeout={launcher.join_seconds},join_timeout=3600"
    return [
        f"--nnodes={launcher.least_nodes}:{launcher.most_nodes}",
        f"--nproc-per-node={job.settings.ranks // launcher.most_nodes}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={args.endpoint}",
        f"--rdzv-id={job.scratch.name}",
        f"--rdzv-conf={meeting}",
        f"--max-restarts={launcher.node_restarts}",
        *([f"--local-addr={args.address}"] if args.address else []),
        "--module",
        "bunbuku_pretrain.rank",
        str(args.job),
    ]


if __name__ == "__main__":
    main()
