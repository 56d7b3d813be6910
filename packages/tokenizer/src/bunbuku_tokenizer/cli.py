from bunbuku_contracts.cli import stage_cli

from bunbuku_tokenizer.stages import compare, extend, measure, train

main = stage_cli(train, measure, compare, extend)
