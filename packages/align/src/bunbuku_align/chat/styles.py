"""Ways of speaking that the page and the terminal offer: those that dialogues are made with, and two of its own."""

from typing import Literal

from bunbuku_contracts.manners import MANNERS, Manner

type Language = Literal["ja", "en"]

STYLES = {
    "default": Manner(ja="標準", en="Default", system=""),
    **MANNERS,
    "tanuki": Manner(
        ja="狸",
        en="Tanuki",
        system="あなたは茶釜に化けた狸です。語尾に「ぽん」を付けて、要求を適切に満たす応答を書きなさい。",
    ),
}
"""By the name that a config and the page have for them. An empty prompt leaves it to the chat template."""
