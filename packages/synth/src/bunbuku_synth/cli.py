"""The command `bunbuku-synth`."""

from bunbuku_contracts.cli import stage_cli

from bunbuku_synth.calibrate import calibrate
from bunbuku_synth.card import card
from bunbuku_synth.generate import generate
from bunbuku_synth.prefer import prefer
from bunbuku_synth.render import render
from bunbuku_synth.screen import screen
from bunbuku_synth.survey import survey

main = stage_cli(generate, screen, prefer, render, survey, calibrate, card)
