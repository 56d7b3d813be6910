import os
import subprocess
import sys
from pathlib import Path


def test_importing_it_brings_in_no_torch():
    code = "import sys, bunbuku_synth, bunbuku_synth.cli; print({'torch', 'transformers', 'vllm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_hash_seeds_and_locales_do_not_change_a_byte(tmp_path: Path, corpus, pairs_of_all_blocks):
    config = tmp_path / "generate.toml"
    tasks = ("translate", "cloze", "multiple_choice", "arithmetic")
    config.write_text("\n".join(f'[[tasks]]\ntype = "{task}"\ncount = 30' for task in tasks))
    code = """
import sys
from pathlib import Path
from bunbuku_contracts import Dialogues, load
from bunbuku_synth.cli import main
main(sys.argv[1:])
print(load(Path(sys.argv[-1]), Dialogues).content)
"""
    contents: set[str] = set()
    for hash_seed, locale in (("1", "C"), ("2", "ja_JP.UTF-8")):
        out = tmp_path / f"out-{hash_seed}"
        inputs = ["--corpus", str(corpus.dir), "--parallel", str(pairs_of_all_blocks.dir)]
        done = subprocess.run(
            [sys.executable, "-c", code, "generate", str(config), *inputs, "--out", str(out)],
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "LC_ALL": locale},
            capture_output=True,
            text=True,
            check=True,
        )
        contents.add(done.stdout.split()[-1])
    assert len(contents) == 1
