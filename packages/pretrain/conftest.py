# ruff: noqa: INP001
"""Modules that know Megatron hold no doctests; importing them here would cost seconds in every test process."""

collect_ignore_glob = ["src/bunbuku_pretrain/mcore/*", "tests/probe.py", "tests/layouts.py"]
