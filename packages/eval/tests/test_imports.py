"""Importing any module asks the network for nothing and writes nothing, as reading a package must."""

import subprocess
import sys
from pathlib import Path

PROBE = """
import importlib, pkgutil, socket, sys, urllib.request

def refuse(*args, **kwargs):
    raise SystemExit(f"the network was asked: {args}")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
urllib.request.urlopen = refuse
import bunbuku_eval
names = [one.name for one in pkgutil.walk_packages(bunbuku_eval.__path__, "bunbuku_eval.")]
for name in names:
    importlib.import_module(name)
heavy = sorted({"torch", "transformers", "lm_eval", "umap", "numba", "datasets"} & set(sys.modules))
print(len(names), ",".join(heavy))
"""


def test_importing_every_module_asks_the_network_for_nothing_and_loads_nothing_heavy(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    said = subprocess.run(
        [sys.executable, "-c", PROBE],
        env={"HOME": str(home), "HF_HOME": str(home / "hf"), "PATH": ""},
        capture_output=True, text=True, check=True, cwd=tmp_path,
    ).stdout.strip()  # fmt: skip
    count, _, heavy = said.partition(" ")
    assert int(count) > 80
    assert heavy == ""
    assert not list(home.rglob("*"))
