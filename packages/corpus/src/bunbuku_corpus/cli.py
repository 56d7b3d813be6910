"""The command `bunbuku-corpus`."""

from bunbuku_contracts.cli import stage_cli

from bunbuku_corpus.stages import (
    annotate,
    classify,
    clean,
    contamination,
    coverage,
    decide,
    dedup,
    gather,
    learn,
    split,
    thin,
)

main = stage_cli(gather, clean, annotate, decide, dedup, thin, split, coverage, contamination, learn, classify)
