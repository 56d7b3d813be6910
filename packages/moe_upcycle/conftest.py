# ruff: noqa: INP001 -- it belongs to pytest, to no package
"""What cannot be collected where its library is not installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("vllm") else ["src/bunbuku_moe_upcycle/vllm.py"]
