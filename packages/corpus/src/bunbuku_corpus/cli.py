"""The command `bunbuku-corpus`."""

from bunbuku_contracts.cli import stage_cli

from bunbuku_corpus.stages import clean, coverage, dedup, gather, split

main = stage_cli(gather, clean, dedup, split, coverage)
