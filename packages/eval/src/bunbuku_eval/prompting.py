"""A question as a model is asked it: as plain text to go on with, or as a conversation through its chat template.

What was said before (a system prompt, turns that have been taken, worked examples) comes before it in the same form.
"""

from collections.abc import Sequence

from bunbuku_inference import Message, Prompt

from bunbuku_eval.tasks.task import Phrasing, Question, filled

HEAD = "以下は、タスクを説明する指示と、入力の組み合わせです。要求を満たす応答を書いてください。"

type Turn = tuple[str, str]
"""What the user said, and what was answered."""


def prompt_of(phrasing: Phrasing, question: Question, shots: Sequence[Question], *, style: str) -> Prompt:
    """What the model sees."""
    history = question.history
    if style == "chat":
        turns = [(_asked(phrasing, example), example.gold[0]) for example in shots]
        return talked([*turns, *history], _asked(phrasing, question), system=question.system)
    if history or question.system:
        return transcript(history, _asked(phrasing, question), system=question.system)
    blocks = [f"{_block(phrasing, one)}{one.gold[0] if one is not question else ''}" for one in (*shots, question)]
    return "\n\n".join([phrasing.head or HEAD, f"### 指示:\n{phrasing.instruction}", *blocks])


def talked(history: Sequence[Turn], asked: str, *, system: str = "") -> tuple[Message, ...]:
    """A conversation up to the answer, as messages.

    >>> [one.role for one in talked([("猫は？", "にゃあ")], "犬は？", system="短く")]
    ['system', 'user', 'assistant', 'user']
    """
    messages = [Message(role="system", content=system)] if system else []
    for said, answered in history:
        messages += [Message(role="user", content=said), Message(role="assistant", content=answered)]
    return (*messages, Message(role="user", content=asked))


def transcript(history: Sequence[Turn], asked: str, *, system: str = "") -> str:
    r"""The same as text to go on with.

    >>> transcript([("猫は？", "にゃあ")], "犬は？").split("\n\n")[1:]
    ['### 利用者:\n猫は？', '### 応答:\nにゃあ', '### 利用者:\n犬は？', '### 応答:\n']
    """
    head = system or "以下は、利用者との会話です。利用者に役立つ応答を書いてください。"
    turns = [f"### 利用者:\n{said}\n\n### 応答:\n{answered}" for said, answered in (*history, (asked, ""))]
    return "\n\n".join([head, *turns])


def shown(prompt: Prompt) -> str:
    """The prompt as text, for the log."""
    return prompt if isinstance(prompt, str) else "\n\n".join(f"[{one.role}]\n{one.content}" for one in prompt)


def _asked(phrasing: Phrasing, question: Question) -> str:
    said = filled(phrasing.input, question.fields)
    return f"{phrasing.instruction}\n\n{said}" if phrasing.instruction else said


def _block(phrasing: Phrasing, question: Question) -> str:
    return f"### 入力:\n{filled(phrasing.input, question.fields)}\n\n### 応答:\n"
