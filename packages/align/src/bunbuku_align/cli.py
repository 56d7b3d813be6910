"""The `bunbuku-align` command."""

from bunbuku_contracts.cli import stage_cli

from bunbuku_align.chat.views import chat, talk
from bunbuku_align.show import show
from bunbuku_align.stages import combine, dpo, merge, sft

main = stage_cli(sft, dpo, merge, combine, chat, talk, show)
