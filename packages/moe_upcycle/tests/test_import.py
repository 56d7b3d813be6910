import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "safetensors", "matplotlib", "vllm"}


@pytest.mark.parametrize("module", ["bunbuku_moe_upcycle", "bunbuku_moe_upcycle.cli"])
def test_importing_brings_in_nothing_heavy(module: str):
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & sys.modules.keys()))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
