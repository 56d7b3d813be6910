"""One process of a launch: `python -m bunbuku_pretrain.rank JOB.json`."""

import faulthandler
import os
import signal
import sys
import warnings
from pathlib import Path

from bunbuku_contracts import BunbukuError
from bunbuku_contracts.launch import follow_parent, slurm_rank

from bunbuku_pretrain.job import Job, Outcome, outcome_file
from bunbuku_pretrain.lines import replace
from bunbuku_pretrain.preflight import Refused, insist_on_node


def main() -> None:
    """Do the job; an error that a person can mend goes to the publisher, any other keeps its traceback."""
    follow_parent()
    slurm_rank()
    # What is absent by choice (Transformer Engine, Apex), or announced for later versions than the pinned one.
    warnings.filterwarnings("ignore", module=r"megatron\.")
    job = Job.model_validate_json(Path(sys.argv[1]).read_bytes())
    _write_into_own_log(job)
    faulthandler.register(signal.SIGUSR2)
    if outcome_file(job.scratch).is_file():
        sys.exit("the run has ended")  # an agent starts a rank again, whatever it ended for
    from bunbuku_pretrain.mcore import compiler

    compiler.leave_out()
    from bunbuku_pretrain.mcore.running import run

    try:
        if os.environ["LOCAL_RANK"] == "0":
            insist_on_node(job)
        run(job)
    except BunbukuError as error:
        if os.environ["RANK"] == "0" or isinstance(error, Refused):
            failed = Outcome(status="failed", step=0, problem=str(error), hint=error.hint)
            replace(outcome_file(job.scratch), failed.model_dump_json())
        sys.exit(f"error: {error}")


def _write_into_own_log(job: Job) -> None:
    """Under an agent: the publisher opens the logs of ranks that it starts itself."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        handle = os.open(job.log / f"rank-{os.environ['RANK']}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(handle, 1)
        os.dup2(handle, 2)


if __name__ == "__main__":
    main()
