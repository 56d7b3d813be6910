from bunbuku_contracts.cli import stage_cli

from bunbuku_tokenizer.stages import measure, train

main = stage_cli(train, measure)
