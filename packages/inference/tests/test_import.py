"""Importing the package is cheap."""

import subprocess
import sys

HEAVY = ("torch", "transformers", "tokenizers", "vllm", "aiohttp", "numpy")


def test_importing_the_package_loads_no_engine() -> None:
    code = f"import sys, bunbuku_inference; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
