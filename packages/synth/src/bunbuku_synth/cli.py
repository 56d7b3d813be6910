"""The command `bunbuku-synth`."""

from bunbuku_contracts.cli import stage_cli

from bunbuku_synth.generate import generate
from bunbuku_synth.prefer import prefer

main = stage_cli(generate, prefer)
