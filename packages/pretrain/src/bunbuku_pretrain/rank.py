"""One process of a launch: `python -m bunbuku_pretrain.rank JOB.json`."""

import os
import sys
import warnings
from pathlib import Path

from bunbuku_contracts import BunbukuError
from bunbuku_contracts.launch import follow_parent, slurm_rank

from bunbuku_pretrain.job import Job, Outcome, outcome_file


def main() -> None:
    """Do the job; an error that a person can mend goes to the publisher, any other keeps its traceback."""
    follow_parent()
    slurm_rank()
    # What is absent by choice (Transformer Engine, Apex), or announced for later versions than the pinned one.
    warnings.filterwarnings("ignore", module=r"megatron\.")
    job = Job.model_validate_json(Path(sys.argv[1]).read_bytes())
    from bunbuku_pretrain.mcore import compiler

    compiler.leave_out()
    from bunbuku_pretrain.mcore.running import run

    try:
        run(job)
    except BunbukuError as error:
        if os.environ["RANK"] == "0":
            failed = Outcome(status="failed", step=0, problem=str(error), hint=error.hint)
            outcome_file(job.scratch).write_text(failed.model_dump_json(), encoding="utf-8")
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
