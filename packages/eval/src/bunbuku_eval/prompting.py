"""A question as a model is asked it: as plain text to go on with, or as a conversation through its chat template.

Worked examples come before it in the same form: as more text, or as turns that have been taken.
"""

from collections.abc import Sequence

from bunbuku_inference import Message, Prompt

from bunbuku_eval.tasks.task import Phrasing, Question, filled

HEAD = "以下は、タスクを説明する指示と、入力の組み合わせです。要求を満たす応答を書いてください。"


def prompt_of(phrasing: Phrasing, question: Question, shots: Sequence[Question], *, style: str) -> Prompt:
    """What the model sees."""
    if style == "chat":
        messages: list[Message] = []
        for example in shots:
            messages += [
                Message(role="user", content=_asked(phrasing, example)),
                Message(role="assistant", content=example.gold[0]),
            ]
        return (*messages, Message(role="user", content=_asked(phrasing, question)))
    blocks = [f"{_block(phrasing, one)}{one.gold[0] if one is not question else ''}" for one in (*shots, question)]
    return "\n\n".join([HEAD, f"### 指示:\n{phrasing.instruction}", *blocks])


def shown(prompt: Prompt) -> str:
    """The prompt as text, for the log."""
    return prompt if isinstance(prompt, str) else "\n\n".join(f"[{one.role}]\n{one.content}" for one in prompt)


def _asked(phrasing: Phrasing, question: Question) -> str:
    return f"{phrasing.instruction}\n\n{filled(phrasing.input, question.fields)}"


def _block(phrasing: Phrasing, question: Question) -> str:
    return f"### 入力:\n{filled(phrasing.input, question.fields)}\n\n### 応答:\n"
