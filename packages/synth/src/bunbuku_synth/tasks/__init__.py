"""The tasks. One file each: a config with its templates and one method. To add one, write it and name it here."""

from typing import Annotated

from pydantic import Field

from bunbuku_synth.tasks.arithmetic import Arithmetic
from bunbuku_synth.tasks.cloze import Cloze
from bunbuku_synth.tasks.instruct import Instruct
from bunbuku_synth.tasks.multiple_choice import MultipleChoice
from bunbuku_synth.tasks.question_answer import QuestionAnswer
from bunbuku_synth.tasks.rephrase import Rephrase
from bunbuku_synth.tasks.rewrite import Rewrite
from bunbuku_synth.tasks.translate import Translate

AnyTask = Annotated[
    Translate | Cloze | MultipleChoice | Arithmetic | Rewrite | QuestionAnswer | Rephrase | Instruct,
    Field(discriminator="type"),
]

__all__ = [
    "AnyTask",
    "Arithmetic",
    "Cloze",
    "Instruct",
    "MultipleChoice",
    "QuestionAnswer",
    "Rephrase",
    "Rewrite",
    "Translate",
]
