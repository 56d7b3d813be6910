# ruff: noqa: INP001 -- it belongs to pytest, to no package
"""What cannot be imported without an extra is not looked through for doctests where the extra is missing."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("ray") else ["src/bunbuku_corpus/ray_engine.py"]
