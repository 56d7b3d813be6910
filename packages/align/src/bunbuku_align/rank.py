"""One process of a training by several: `python -m bunbuku_align.rank SCRATCH`."""

import json
import os
import pickle
import sys
from pathlib import Path

from bunbuku_contracts import BunbukuError
from bunbuku_contracts.launch import follow_parent, slurm_rank


def main() -> None:
    """Do the job; an error that a person can mend goes to the publisher, any other keeps its traceback."""
    follow_parent()
    slurm_rank()
    scratch = Path(sys.argv[1])
    from bunbuku_align.launching import Job, failed_file, job_file, result_file
    from bunbuku_align.loading import on_gpu
    from bunbuku_align.ranks import first, joined

    job: Job = pickle.loads(job_file(scratch).read_bytes())
    try:
        with joined(gpu=on_gpu(job.run)):
            training = job.train()
            if first():
                result_file(scratch).write_bytes(pickle.dumps(training))
    except BunbukuError as error:
        said = {"problem": str(error), "hint": error.hint}
        failed_file(scratch, int(os.environ["RANK"])).write_text(json.dumps(said), encoding="utf-8")
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
