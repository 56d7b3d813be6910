"""The tasks. One of ours is a file of this folder and a name in `TASKS`; other packages declare theirs as entry points.

[project.entry-points."bunbuku.recipes"]
riddle = "their_package.riddle:Riddle"
"""

from importlib.metadata import entry_points
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from bunbuku_synth.tasks.arithmetic import Arithmetic
from bunbuku_synth.tasks.chained import Chained
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
from bunbuku_synth.tasks.self_reward import SelfReward
from bunbuku_synth.tasks.solve import Solve
from bunbuku_synth.tasks.task import Task
from bunbuku_synth.tasks.textbook import Textbook
from bunbuku_synth.tasks.transcript import Transcript
from bunbuku_synth.tasks.translate import Translate

GROUP = "bunbuku.recipes"
TASKS: tuple[type[Task], ...] = (
    Translate,
    Cloze,
    MultipleChoice,
    Arithmetic,
    Entailment,
    Extraction,
    Classification,
    Mathematics,
    Logic,
    Code,
    Rewrite,
    QuestionAnswer,
    Rephrase,
    Instruct,
    Solve,
    SelfReward,
    Textbook,
    Debate,
    Transcript,
    Facts,
    Chained,
)
_OURS = {one.model_fields["type"].default: one for one in TASKS}


def task_class(name: str) -> type[Task]:
    """The class of that type, ours or declared by another package.

    Raises:
        ValueError: There is none, or what is declared under the name is no task.
    """
    if name in _OURS:
        return _OURS[name]
    for declared in entry_points(group=GROUP, name=name):
        found = declared.load()
        if not (isinstance(found, type) and issubclass(found, Task)):
            raise ValueError(f"{declared.value} is declared as the recipe {name!r} and is no subclass of `Task`")
        return found
    others = sorted({one.name for one in entry_points(group=GROUP)})
    raise ValueError(f"there is no task {name!r}; there are {', '.join([*_OURS, *others])}")


def _task(value: Any) -> Any:
    """A table with a `type` as the task it names."""
    if isinstance(value, dict):
        if "type" not in value:
            raise ValueError("a task needs a `type`")
        return task_class(str(value["type"])).model_validate(value)
    return value


type AnyTask = Annotated[SerializeAsAny[Task], BeforeValidator(_task)]
"""A task by its `type`."""

__all__ = [
    "GROUP",
    "TASKS",
    "AnyTask",
    "Arithmetic",
    "Chained",
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
    "SelfReward",
    "Solve",
    "Task",
    "Textbook",
    "Transcript",
    "Translate",
    "task_class",
]
