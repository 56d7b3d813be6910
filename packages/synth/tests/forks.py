"""Forks a run of `generate` for every line on its input, and tells each one's process id and how it ended.

Imports are done once, vLLM's too, and where transformers is to run it so is the reading of weights: a model of 135 million weights takes a
minute to unpack, and what is to be killed is the run. Everything else is done by each fork: opening the engine and the stores, asking, publishing.
"""

import functools
import importlib
import json
import os
import sys
from pathlib import Path
from typing import IO

from bunbuku_contracts import Corpus, load
from bunbuku_synth import GenerateConfig, GenerateRun, generate


def tell(said: IO[str], what: object) -> None:
    said.write(f"{what}\n")
    said.flush()


def read_once(weights: Path) -> None:
    """Have every fork find the weights read."""
    # Here, since the file itself is imported where there is no torch.
    import torch
    from bunbuku_inference import hf

    torch.set_num_threads(1)  # a fork has one thread
    read = functools.cache(hf._open)
    hf._open = read
    read(weights, torch.float32)


def main() -> None:
    # vLLM writes its log to standard output, and what is told there must stand alone.
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    job = json.loads(Path(sys.argv[1]).read_text())
    weights = Path(job["weights"]) if job["weights"] else None
    config, run = GenerateConfig.model_validate(job["config"]), GenerateRun.model_validate(job["run"])
    corpus = load(Path(job["corpus"]), Corpus)
    if run.engine.type == "vllm":
        _ = importlib.import_module("vllm").LLM  # which it imports when it is asked for
    elif weights:
        read_once(weights)
    tell(said, "ready")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            generate(Path(line.strip()), config, corpus, teacher_file=weights, run=run)
            os._exit(0)
        tell(said, child)
        tell(said, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
