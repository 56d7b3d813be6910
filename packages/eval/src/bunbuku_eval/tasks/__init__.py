"""The tasks. One of ours is a file of this folder and a name in `TASKS`; other packages declare theirs as entry points.

[project.entry-points."bunbuku.tasks"]
riddles = "their_package.riddles:Riddles"
"""

from importlib.metadata import entry_points
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from bunbuku_eval.tasks.forms import Graded, Labelled, Numeric, ShortAnswer
from bunbuku_eval.tasks.instructions import Instructions
from bunbuku_eval.tasks.jcola import JCoLA
from bunbuku_eval.tasks.jcommonsenseqa import JCommonsenseQA
from bunbuku_eval.tasks.jemhopqa import JEMHopQA
from bunbuku_eval.tasks.jhumaneval import JHumanEval, pass_at_k
from bunbuku_eval.tasks.jmmlu import JMMLU, JMMLURobust
from bunbuku_eval.tasks.jnli import JNLI
from bunbuku_eval.tasks.jsquad import JSQuAD
from bunbuku_eval.tasks.jsts import JSTS
from bunbuku_eval.tasks.made import Made
from bunbuku_eval.tasks.mawps import MAWPS
from bunbuku_eval.tasks.memory import Memory
from bunbuku_eval.tasks.mgsm import MGSM
from bunbuku_eval.tasks.morality import Morality
from bunbuku_eval.tasks.niilc import NIILC
from bunbuku_eval.tasks.plain import Questions
from bunbuku_eval.tasks.system_prompts import SystemPrompts
from bunbuku_eval.tasks.task import Hub, Phrasing, Question, Task, field
from bunbuku_eval.tasks.translation import IntoEnglish, IntoJapanese
from bunbuku_eval.tasks.truth import JTruthfulQA, Truth

GROUP = "bunbuku.tasks"
TASKS: tuple[type[Task], ...] = (
    JCommonsenseQA,
    JNLI,
    JSQuAD,
    JSTS,
    JCoLA,
    JEMHopQA,
    NIILC,
    JMMLU,
    JMMLURobust,
    MGSM,
    MAWPS,
    Morality,
    JHumanEval,
    IntoEnglish,
    IntoJapanese,
    Truth,
    JTruthfulQA,
    Instructions,
    SystemPrompts,
    Memory,
    Questions,
)

_OURS = {one.model_fields["type"].default: one for one in TASKS}


def task_class(type: str) -> type[Task]:
    """The class of that type, ours or declared by another package.

    Raises:
        ValueError: There is none, or what is declared under the name is no task.
    """
    if type in _OURS:
        return _OURS[type]
    for declared in entry_points(group=GROUP, name=type):
        found = declared.load()
        if not (isinstance(found, _TYPE) and issubclass(found, Task)):
            raise ValueError(f"{declared.value} is declared as the task {type!r} and is no subclass of `Task`")
        return found
    others = sorted({one.name for one in entry_points(group=GROUP)})
    raise ValueError(f"there is no task {type!r}; there are {', '.join([*_OURS, *others])}")


def _task(value: Any) -> Any:
    """A table with a `type`, or the type alone, as the task it names."""
    if isinstance(value, str):
        value = {"type": value}
    if isinstance(value, dict):
        if "type" not in value:
            raise ValueError("a task needs a `type`")
        return task_class(str(value["type"])).model_validate(value)
    return value


_TYPE = type

type AnyTask = Annotated[SerializeAsAny[Task], BeforeValidator(_task)]
"""A task by its `type`."""

__all__ = [
    "JMMLU",
    "JNLI",
    "JSTS",
    "MAWPS",
    "MGSM",
    "NIILC",
    "TASKS",
    "AnyTask",
    "Graded",
    "Hub",
    "Instructions",
    "IntoEnglish",
    "IntoJapanese",
    "JCoLA",
    "JCommonsenseQA",
    "JEMHopQA",
    "JHumanEval",
    "JMMLURobust",
    "JSQuAD",
    "JTruthfulQA",
    "Labelled",
    "Made",
    "Memory",
    "Morality",
    "Numeric",
    "Phrasing",
    "Question",
    "Questions",
    "ShortAnswer",
    "SystemPrompts",
    "Task",
    "Truth",
    "field",
    "pass_at_k",
    "task_class",
]
