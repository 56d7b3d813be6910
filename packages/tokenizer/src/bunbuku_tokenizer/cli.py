from bunbuku_contracts.cli import stage_cli

from bunbuku_tokenizer.stages import compare, measure, train

main = stage_cli(train, measure, compare)
