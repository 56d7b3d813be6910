"""How much disk a fine-tuning and a preference training take at most, as seen from outside.

    python benchmarks/bench_align_disk.py --checkpoint DIR --dialogues DIR --preferences DIR [--steps 40] [--every 5]

Each training is a command with an empty folder for its output, its home and its temporary files; a hundred times a second
all three are measured. The bound is what docs/align.md states: three states (weights that are trained and AdamW's two moments, in
float32, and the tokenizer's files) and what is published.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from bunbuku_contracts import Checkpoint, load
from safetensors import safe_open

COMMAND = [sys.executable, "-c", "import sys; from bunbuku_align.cli import main; sys.exit(main(sys.argv[1:]))"]
SETTINGS = """
max_tokens = 128
max_steps = {steps}
batch_examples = 8
evaluations = 1
samples = 0
[adapter]
type = "{adapter}"
"""


class Most(NamedTuple):
    """What lay under a folder at most, at any one time."""

    megabytes: float
    files: int


def look(folder: Path) -> Most:
    """What lies there now."""
    sizes: list[int] = []
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append((Path(parent) / name).stat().st_size)
            except FileNotFoundError:  # gone in between
                continue
    return Most(sum(sizes) / 1e6, len(sizes))


def weights(folder: Path) -> int:
    """Weights in all safetensors files of a folder."""
    count = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 it is no mapping
                count += file.get_tensor(name).numel()
    return count


def run(root: Path, command: list[str], steps: int, every: int, adapter: str) -> dict[str, Most]:
    """The most of each place while a training runs."""
    places = {name: root / name for name in ("out", "home", "tmp")}
    for place in places.values():
        place.mkdir()
    (root / "config.toml").write_text(SETTINGS.format(steps=steps, adapter=adapter))
    (root / "run.toml").write_text(f'device = "cpu"\nthreads = 1\nsave_every_steps = {every}\n')
    own = {"HOME": str(places["home"]), "TMPDIR": str(places["tmp"]), "OMP_NUM_THREADS": "1"}
    asked = [*COMMAND, command[0], str(root / "config.toml"), *command[1:], "--run", str(root / "run.toml")]
    most = dict.fromkeys(places, Most(0, 0))
    with (root / "said").open("wb") as said:
        process = subprocess.Popen(
            [*asked, "--out", str(places["out"] / "made")], env=os.environ | own, stdout=said, stderr=said
        )
        while process.poll() is None:
            for name, place in places.items():
                before, now = most[name], look(place)
                most[name] = Most(max(before.megabytes, now.megabytes), max(before.files, now.files))
            time.sleep(0.01)
    if process.returncode:
        sys.exit((root / "said").read_text()[-2000:])
    return most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("checkpoint", "dialogues", "preferences"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--every", type=int, default=5)
    options = parser.parse_args()
    print("training | trained weights | states | MB at most | bound | files at most | MB, files in home | in tmp")
    for stage, role in (("sft", "dialogues"), ("dpo", "preferences")):
        for adapter in ("lora", "full"):
            with tempfile.TemporaryDirectory() as folder:
                root = Path(folder).resolve()
                command = [stage, "--checkpoint", str(options.checkpoint.resolve())]
                command += [f"--{role}", str(getattr(options, role).resolve())]
                most = run(root, command, options.steps, options.every, adapter)
                made = load(root / "out" / "made", Checkpoint)
                trained, published = weights(made.dir), look(made.dir).megabytes
            tokenizer = sum(path.stat().st_size for path in options.checkpoint.glob("tokenizer*"))
            bound = 3 * (12 * trained + tokenizer) / 1e6 + published
            cells = [f"{most[name].megabytes:.1f}, {most[name].files}" for name in ("home", "tmp")]
            print(
                f"{stage}, {adapter} | {trained:,} | {options.steps // options.every} | {most['out'].megabytes:.1f} | {bound:.1f}"
                f" | {most['out'].files} | " + " | ".join(cells),
                flush=True,
            )


if __name__ == "__main__":
    main()
