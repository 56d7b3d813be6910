"""Ways of speaking that a system prompt asks for."""

from typing import Literal, NamedTuple

type Language = Literal["ja", "en"]


class Style(NamedTuple):
    """A system prompt with a name in either language."""

    ja: str
    en: str
    prompt: str


STYLES = {
    "default": Style("標準", "Default", ""),
    "polite": Style(
        "丁寧", "Polite", "以下は、タスクを説明する指示です。丁寧な敬語で、要求を適切に満たす応答を書きなさい。"
    ),
    "brief": Style(
        "簡潔", "Brief", "以下は、タスクを説明する指示です。要点だけを一文で、要求を適切に満たす応答を書きなさい。"
    ),
    "detailed": Style(
        "詳しく",
        "Detailed",
        "以下は、タスクを説明する指示です。理由と例を挙げながら、要求を適切に満たす応答を詳しく書きなさい。",
    ),
    "friendly": Style(
        "くだけた", "Friendly", "以下は、タスクを説明する指示です。友人に話すようなくだけた口調で応答を書きなさい。"
    ),
    "tanuki": Style(
        "狸", "Tanuki", "あなたは茶釜に化けた狸です。語尾に「ぽん」を付けて、要求を適切に満たす応答を書きなさい。"
    ),
}
"""By the name that a config and the page have for them. An empty prompt leaves it to the chat template."""
