"""The `bunbuku-align` command."""

from bunbuku_contracts.cli import stage_cli

from bunbuku_align.stages import dpo, merge, sft

main = stage_cli(sft, dpo, merge)
