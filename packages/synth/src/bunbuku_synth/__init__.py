"""Synthetic dialogues and preferences whose every item can be traced to its source.

A task (`tasks`) is a config that writes items (`item`) from a `Library` (`sources`), or asks a `teacher` for them and
judges its `replies`. `keys` names every item and gives it its chance; `checkers` say whether an answer is right, and
`contrasts` set right answers against wrong ones. The stages are `generate`, `screen` and `prefer`.
"""

from bunbuku_synth.generate import GenerateConfig, GenerateRun, generate
from bunbuku_synth.item import Item, Preference, Turn, read_items
from bunbuku_synth.prefer import PreferConfig, PreferRun, prefer
from bunbuku_synth.screen import ScreenConfig, screen

__all__ = [
    "GenerateConfig",
    "GenerateRun",
    "Item",
    "PreferConfig",
    "PreferRun",
    "Preference",
    "ScreenConfig",
    "Turn",
    "generate",
    "prefer",
    "read_items",
    "screen",
]
