# Every check there is, each by its name. `just check` is what CI holds the code to.

_default:
    @just --list --unsorted

# Everything CI runs on the code: format, lint, import rules, lock, types, tests.
check: lint types test

lint:
    ruff format --check
    ruff check
    lint-imports
    python tools/lock.py check
    uv pip check

types:
    pyright

# The default suite on every core, a file on one of them; `just test -m long` runs the studies.
test *args:
    pytest -n auto --dist loadfile --no-loadscope-reorder {{args}}

# Each package's tests, the slow ones left out, with its own dependencies and nothing else's.
isolate *packages:
    python tools/isolate.py {{packages}}

# The engines that need vLLM, in an environment of their own made from the same lock.
vllm *args:
    python tools/vllm.py {{args}}

# From Japanese sentences to an aligned mixture of experts on a laptop, and a report about it.
tiny *args:
    runs/tiny.sh {{args}}

# One number with its unit and its opponent, by name: `just bench tokenizer`.
bench name *args:
    python benchmarks/bench_{{name}}.py {{args}}

# The documentation as a site, served while you write.
docs:
    uv run --group docs mkdocs serve

# Resolve anew and stage the lock without addresses.
lock *args:
    uv lock {{args}}
    python tools/lock.py strip
    git add uv.lock

# Version by the CHANGELOG, tag, wheel: `just release corpus`.
release package *args:
    python tools/release.py {{package}} {{args}}

# Run `just lint` and strip the lock before every commit.
hooks:
    git config core.hooksPath .githooks
