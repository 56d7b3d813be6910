"""JHumanEval: Python functions described in Japanese, whose programs are run on the tests of the set (Sato et al. 2024)."""

import ast
import hashlib
import re
from functools import lru_cache
from typing import Any, ClassVar, Literal

from bunbuku_inference.sandbox import Limits, run_program
from pydantic import PositiveInt

from bunbuku_eval.degenerate import Flag
from bunbuku_eval.tasks.task import Category, Phrasing, Question, Task, field

LIMITS = Limits(cpu_seconds=10, wall_seconds=60.0, memory_mebibytes=1024)
_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:\n```|\Z)", re.DOTALL | re.IGNORECASE)
_BEGINS = re.compile(r"^(?:from |import |def |class |@)", re.MULTILINE)


class JHumanEval(Task):
    """A program is right if every assertion of its tests holds, in a sandbox without files, network or processes.

    It is taken as it came, alone or behind the given head; a patient reader takes it out of a fenced block, or leaves out
    what is said around it. `pass@k` is over the seeds of a run with a temperature.
    """

    type: Literal["jhumaneval"] = "jhumaneval"
    file: str = "jhumaneval.jsonl"
    phrasings: tuple[Phrasing, ...] = (
        Phrasing(
            name="whole",
            instruction="次の Python の関数を完成させ、関数の全体を出力してください。コードのほかには何も書かないでください。",
            input="{prompt}",
        ),
    )
    max_tokens: PositiveInt = 512
    stop: tuple[str, ...] | None = ("\n### ",)

    compared: ClassVar[bool] = False
    category: ClassVar[Category] = "code"
    licence: ClassVar[str] = "MIT"
    origin: ClassVar[str] = "github.com/KuramitsuLab/jhuman-eval"

    def question(self, row: dict[str, Any], place: str) -> Question:
        prompt, name = field(row, "prompt", place), field(row, "entry_point", place)
        return Question(
            id=field(row, "task_id", place),
            fields={"prompt": prompt, "test": field(row, "test", place), "entry_point": name},
            gold=(f"{_mended(prompt, name)}{field(row, 'canonical_solution', place)}",),
        )

    def prepare(self) -> None:
        """Learn before any model is asked whether programs can be run here."""
        run_program("def f():\n    return 1", "f", [[]])

    def flags(self, text: str, question: Question) -> tuple[Flag, ...]:
        return () if re.search(r"[^\W_]", text) else ("empty",)

    def well_formed(self, text: str, question: Question) -> bool:
        return _program(text, question) is not None

    def understood(self, text: str, question: Question) -> str | None:
        blocks = [found[1] for found in _FENCED.finditer(text)]
        if begun := _BEGINS.search(text):
            blocks.append(_longest(text[begun.start() :]))
        whole = "\n\n".join(blocks[:-1] if begun and len(blocks) > 1 else blocks)
        return next((one for one in (*blocks, whole) if _program(one, question) is not None), None)

    def score(self, answer: str, question: Question) -> float:
        program = _program(answer, question)
        return float(program is not None and passes(program, question.fields["test"], question.fields["entry_point"]))


@lru_cache(4096)
def passes(program: str, test: str, function: str) -> bool:
    """Whether a program passes `check` of the test, in the sandbox.

    The call gives back a token that the program is not told, so that ending early or writing a result passes nothing.
    """
    token = hashlib.sha256(f"{program}\0{test}".encode()).hexdigest()
    source = f"{program}\n\n{test}\n\ndef _passed_(token):\n    check({function})\n    return token\n"
    return run_program(source, "_passed_", [[token]], LIMITS).passes([token])


def pass_at_k(samples: int, right: int, k: int) -> float:
    """The chance that of `k` samples drawn from these one is right, without bias (Chen et al. 2021).

    >>> round(pass_at_k(10, 3, 1), 4), round(pass_at_k(10, 3, 5), 4), pass_at_k(4, 0, 2), pass_at_k(4, 3, 2)
    (0.3, 0.9167, 0.0, 1.0)
    """
    if not 1 <= k <= samples or not 0 <= right <= samples:
        raise ValueError(f"pass@{k} of {samples} samples with {right} right")
    missed = 1.0
    for at in range(samples - right + 1, samples + 1):
        missed *= max(0.0, 1 - k / at)
    return 1 - missed if samples - right >= k else 1.0


def _program(text: str, question: Question) -> str | None:
    """The text as a program that defines the function: alone, with what the head imports, or as the rest of the head."""
    name = question.fields["entry_point"]
    head = _mended(question.fields["prompt"], name)
    before = head[: head.find(f"def {name}")]
    for source in (f"{before}\n{text}", f"{head}{text}"):
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        if any(isinstance(node, ast.FunctionDef) and node.name == name and _does(node) for node in tree.body):
            return source
    return None


def _mended(head: str, name: str) -> str:
    """The head with its function on a line of its own: that of problem 64 is no Python as it is published."""
    return re.sub(rf'(?<=""")(?=def {re.escape(name)}\b)', "\n", head)


def _does(node: ast.FunctionDef) -> bool:
    """Whether it is more than a head: a description alone does nothing."""
    return any(not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)) for one in node.body)


def _longest(text: str) -> str:
    """The longest beginning, line by line, that is Python."""
    lines = text.split("\n")
    for end in range(len(lines), 0, -1):
        try:
            ast.parse("\n".join(lines[:end]))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        return "\n".join(lines[:end])
    return ""
