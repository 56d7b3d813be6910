"""The command `bunbuku-corpus`."""

from bunbuku_contracts.cli import stage_cli

from bunbuku_corpus.stages import annotate, clean, contamination, coverage, decide, dedup, gather, split, thin

main = stage_cli(gather, clean, annotate, decide, dedup, thin, split, coverage, contamination)
