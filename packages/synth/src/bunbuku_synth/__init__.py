"""Synthetic dialogues and preferences whose every item can be traced to its source.

A task (`tasks`) is a config that writes items (`item`) from a `Library` (`sources`), or has a teacher or a chain of teachers
(`tasks.chain`, `faculty`) write them, and judges the `replies`. `keys` names every item and gives it its chance; `checkers` say
whether an answer is right, `contrasts` and `best_of` set right answers against wrong ones; `filters`, `near` and `exams` say what
may not stay. `scripts` tell dialogues as plain text.
The stages are `generate`, `screen`, `prefer`, `render`, `survey` and `calibrate`; `card` is a view.
"""

from bunbuku_synth.calibrate import CalibrateConfig, CalibrateRun, calibrate
from bunbuku_synth.card import CardConfig, card
from bunbuku_synth.generate import GenerateConfig, GenerateRun, generate
from bunbuku_synth.item import Item, Preference, Turn, read_items
from bunbuku_synth.prefer import PreferConfig, PreferRun, prefer
from bunbuku_synth.render import RenderConfig, render
from bunbuku_synth.screen import ScreenConfig, screen
from bunbuku_synth.survey import SurveyConfig, survey

__all__ = [
    "CalibrateConfig",
    "CalibrateRun",
    "CardConfig",
    "GenerateConfig",
    "GenerateRun",
    "Item",
    "PreferConfig",
    "PreferRun",
    "Preference",
    "RenderConfig",
    "ScreenConfig",
    "SurveyConfig",
    "Turn",
    "calibrate",
    "card",
    "generate",
    "prefer",
    "read_items",
    "render",
    "screen",
    "survey",
]
