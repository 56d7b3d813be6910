"""Who starts the ranks of a run. A launcher is its settings."""

import shlex
import socket
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from bunbuku_contracts import BunbukuError, RunSettings
from bunbuku_contracts.launch import Local, Process, Srun
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

RESILIENCY = "nvidia_resiliency_ext.fault_tolerance.launcher"


def has_resiliency() -> bool:
    """Whether nvidia-resiliency-ext is installed here, found out without importing it."""
    return find_spec(RESILIENCY.partition(".")[0]) is not None


class Elastic(RunSettings):
    """An agent on every node starts the ranks there. When a node is lost, those of the others go on with fewer ranks.

    The agents are torchrun's. They meet at a store that the publisher keeps, so that any of them can be lost.
    """

    type: Literal["torchrun"] = "torchrun"
    agents: tuple[str, ...] = ("{agent}",)
    """Shell commands, each of which starts one or more agents; `{agent}` stands for the program and its arguments. On
    Slurm: `["srun --ntasks-per-node=1 --no-kill --kill-on-bad-exit=0 {agent}"]`."""
    least_nodes: PositiveInt = 1
    """Fewer nodes than this are waited for."""
    most_nodes: PositiveInt = 1
    """`ranks` over this is the number of ranks on a node."""
    address: str | None = None
    """Where the agents find the publisher; its host name if left out."""
    node_restarts: NonNegativeInt = 3
    """How often the agents start their ranks again before they give up."""
    join_seconds: PositiveInt = 30
    """How long more nodes are waited for when there are enough."""
    program: Literal["auto", "torchrun", "ft_launcher"] = "auto"
    """`ft_launcher` is that of nvidia-resiliency-ext, `auto` takes it where it is installed."""

    @property
    def chosen_program(self) -> Literal["torchrun", "ft_launcher"]:
        if self.program == "auto":
            return "ft_launcher" if has_resiliency() else "torchrun"
        return self.program

    def processes(self, command: Sequence[str], *, ranks: int, log: Path) -> list[Process]:
        """The agents, each of which may be lost, and the store at which they meet.

        Raises:
            BunbukuError: The program is not installed.
        """
        del ranks  # the agents count by the nodes that there are
        if self.program == "ft_launcher" and not has_resiliency():
            raise BunbukuError(
                "`launcher.program` is ft_launcher, and nvidia-resiliency-ext is not installed",
                hint="pip install nvidia-resiliency-ext, or leave `program` out",
            )
        distributed: Any = import_module("torch.distributed")
        store = distributed.TCPStore("0.0.0.0", 0, is_master=True, wait_for_workers=False)
        endpoint = f"{self.address or socket.gethostname()}:{store.port}"
        agent = shlex.join([command[0], "-m", "bunbuku_pretrain.agent", command[-1], endpoint])
        return [
            Process(
                name=f"agent {number} of {len(self.agents)}",
                command=["/bin/sh", "-c", f"exec {line.replace('{agent}', agent)}"],
                log=log / f"agent-{number}.log",
                expendable=True,
                holds=store,
            )
            for number, line in enumerate(self.agents)
        ]

    @model_validator(mode="after")
    def _nodes_are_a_range(self) -> Self:
        if self.least_nodes > self.most_nodes:
            raise ValueError(f"`least_nodes` {self.least_nodes} is more than `most_nodes` {self.most_nodes}")
        return self


AnyLauncher = Annotated[Local | Srun | Elastic, Field(discriminator="type")]
