"""`bunbuku-pretrain tokenize|train|seen|export|import|plan|lr-range`."""

from bunbuku_contracts.cli import stage_cli

from bunbuku_pretrain.stages.export import export
from bunbuku_pretrain.stages.import_ import import_
from bunbuku_pretrain.stages.lr_range import lr_range
from bunbuku_pretrain.stages.plan import plan
from bunbuku_pretrain.stages.seen import seen
from bunbuku_pretrain.stages.tokenize import tokenize
from bunbuku_pretrain.stages.train import train

main = stage_cli(tokenize, train, seen, export, import_, plan, lr_range)
