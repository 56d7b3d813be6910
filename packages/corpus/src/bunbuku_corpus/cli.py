"""The command `bunbuku-corpus`."""

from bunbuku_contracts.cli import stage_cli

from bunbuku_corpus.stages import (
    annotate,
    balance,
    blend,
    classify,
    clean,
    contamination,
    coverage,
    decide,
    dedup,
    draw_map,
    explain,
    extract,
    gather,
    label,
    learn,
    mix,
    perplexity,
    split,
    thin,
    topics,
)

main = stage_cli(
    gather,
    extract,
    clean,
    annotate,
    decide,
    explain,
    dedup,
    thin,
    split,
    mix,
    blend,
    coverage,
    contamination,
    learn,
    classify,
    topics,
    balance,
    draw_map,
    label,
    perplexity,
)
