"""The tasks. One file each: a config with its templates and one method. To add one, write it and name it here."""

from typing import Annotated

from pydantic import Field

from bunbuku_synth.tasks.arithmetic import Arithmetic
from bunbuku_synth.tasks.classification import Classification
from bunbuku_synth.tasks.cloze import Cloze
from bunbuku_synth.tasks.code import Code
from bunbuku_synth.tasks.debate import Debate
from bunbuku_synth.tasks.entailment import Entailment
from bunbuku_synth.tasks.extraction import Extraction
from bunbuku_synth.tasks.facts import Facts
from bunbuku_synth.tasks.instruct import Instruct
from bunbuku_synth.tasks.logic import Logic
from bunbuku_synth.tasks.mathematics import Mathematics
from bunbuku_synth.tasks.multiple_choice import MultipleChoice
from bunbuku_synth.tasks.question_answer import QuestionAnswer
from bunbuku_synth.tasks.rephrase import Rephrase
from bunbuku_synth.tasks.rewrite import Rewrite
from bunbuku_synth.tasks.solve import Solve
from bunbuku_synth.tasks.textbook import Textbook
from bunbuku_synth.tasks.translate import Translate

AnyTask = Annotated[
    Translate
    | Cloze
    | MultipleChoice
    | Arithmetic
    | Entailment
    | Extraction
    | Classification
    | Mathematics
    | Logic
    | Code
    | Rewrite
    | QuestionAnswer
    | Rephrase
    | Instruct
    | Solve
    | Textbook
    | Debate
    | Facts,
    Field(discriminator="type"),
]

__all__ = [
    "AnyTask",
    "Arithmetic",
    "Classification",
    "Cloze",
    "Code",
    "Debate",
    "Entailment",
    "Extraction",
    "Facts",
    "Instruct",
    "Logic",
    "Mathematics",
    "MultipleChoice",
    "QuestionAnswer",
    "Rephrase",
    "Rewrite",
    "Solve",
    "Textbook",
    "Translate",
]
