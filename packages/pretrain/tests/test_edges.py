"""Where the code may ask for a device, and where it may know what is inside Megatron."""

import re
from pathlib import Path

import bunbuku_pretrain

SOURCE = Path(bunbuku_pretrain.__file__).parent


def lines_with(pattern: str, *, but: set[str]) -> list[str]:
    files = sorted(path for path in SOURCE.rglob("*.py") if path.name not in but)
    return [
        f"{path.relative_to(SOURCE)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(pattern, line)
    ]


def test_only_the_runtime_asks_for_a_device() -> None:
    asking = r"torch\.cuda|cuda\.is_available|\.device\.type|/proc/driver/nvidia"
    assert lines_with(asking, but={"runtime.py", "shims.py", "devices.py"}) == []
    assert lines_with(asking, but=set())


def test_only_the_shims_know_what_is_inside_megatron() -> None:
    private = (
        r"chained_optimizers|model_param_group_index_map|decoupled_grad|\.main_param\b|async_fn|preload_fn|inv_freq"
    )
    assert lines_with(private, but={"shims.py"}) == []
    assert lines_with(private, but=set())
