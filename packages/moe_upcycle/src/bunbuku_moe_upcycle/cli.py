"""The command `bunbuku-moe-upcycle`."""

from bunbuku_contracts.cli import stage_cli

from bunbuku_moe_upcycle.stages import routing, ship, similarity, upcycle

main = stage_cli(upcycle, similarity, routing, ship)
