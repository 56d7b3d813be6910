"""The command `bunbuku-moe-upcycle`."""

from bunbuku_contracts.cli import stage_cli

from bunbuku_moe_upcycle.stages import advise, routing, ship, similarity, upcycle

main = stage_cli(advise, upcycle, similarity, routing, ship)
