"""Where a mixture's routers send tokens: which expert takes which domain's, and which kind of sign's.

Counted are choices: a token sent to two experts counts once for each. Figures of a layer follow from the counts and from the
gates; nothing here knows a model.
"""

# Shapes: L layers, G groups of tokens, T tokens, E experts.

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

type Matrix = NDArray[np.float64]

DEAD = 0.01
"""An expert with less than this share of an even load is called dead."""
CLASSES = ("kana", "kanji", "digits", "latin", "code", "other")
"""Kinds of tokens, by most of their characters; `code` is punctuation and symbols of ASCII."""


def class_of(piece: str) -> str:
    """Which kind of signs most of a token's characters are; of two as frequent, the one that comes first.

    >>> [class_of(piece) for piece in ("食べ", "たべる", "茶釜", "２０", " the", "();", "。", "")]
    ['kanji', 'kana', 'kanji', 'digits', 'latin', 'code', 'other', 'other']
    """
    found = [_class_of_sign(sign) for sign in piece if not sign.isspace()]
    return max(found, key=found.count) if found else "other"


def _class_of_sign(sign: str) -> str:
    name = unicodedata.name(sign, "")
    if name.startswith(("HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA")) or sign == "ー":
        return "kana"
    if name.startswith("CJK UNIFIED") or sign in "々〇":
        return "kanji"
    if unicodedata.category(sign) == "Nd":
        return "digits"
    if "LATIN" in name:
        return "latin"
    return "code" if "!" <= sign <= "~" else "other"


@dataclass
class Routing:
    """What was counted of one model."""

    layers: tuple[int, ...]
    """Those with experts, from 0; L counts them."""
    experts: int
    active: int
    domains: dict[str, Matrix] = field(default_factory=dict)
    """Choices of each domain's tokens: layers by experts."""
    classes: dict[str, Matrix] = field(default_factory=dict)
    """The same of each class's tokens."""
    tokens: int = 0
    _ratio_L: Matrix = field(default_factory=lambda: np.zeros(()))
    _entropy_L: Matrix = field(default_factory=lambda: np.zeros(()))

    def add(self, domain: str, classes: Sequence[str], logits: Sequence[NDArray[np.float32]]) -> None:
        """Count a window's tokens: a class for each, and the router's logits layer by layer."""
        logits_LTE = np.stack(logits).astype(np.float64)
        top_LTE = -np.sort(-logits_LTE, axis=2)
        shifted_LTE = logits_LTE - top_LTE[:, :, :1]
        gates_LTE = np.exp(shifted_LTE)
        sums_LT1 = gates_LTE.sum(axis=2, keepdims=True)
        entropy_LT = np.log(sums_LT1[:, :, 0]) - (gates_LTE * shifted_LTE).sum(axis=2) / sums_LT1[:, :, 0]
        self._entropy_L = self._entropy_L + entropy_LT.sum(axis=1)
        self._ratio_L = self._ratio_L + (top_LTE[:, :, 0] - top_LTE[:, :, 1]).sum(axis=1)
        self.tokens += len(classes)
        chosen_LTK = np.argsort(-logits_LTE, axis=2, kind="stable")[:, :, : self.active]
        choices_LTE = np.zeros(logits_LTE.shape)
        np.put_along_axis(choices_LTE, chosen_LTK, 1.0, axis=2)
        self._count(self.domains, domain, choices_LTE)
        of_token = np.array(classes)
        for name in sorted(set(classes)):
            self._count(self.classes, name, choices_LTE[:, of_token == name])

    def _count(self, into: dict[str, Matrix], name: str, choices_LTE: Matrix) -> None:
        into[name] = into.get(name, np.zeros((len(self.layers), self.experts))) + choices_LTE.sum(axis=1)

    @property
    def load_LE(self) -> Matrix:
        """Tokens of every expert over an even share."""
        counts_LE = sum(self.domains.values(), np.zeros((len(self.layers), self.experts)))
        return counts_LE / counts_LE.mean(axis=1, keepdims=True)

    @property
    def dead_L(self) -> NDArray[np.int64]:
        """Experts of each layer that hardly any token is sent to."""
        return (self.load_LE < DEAD).sum(axis=1)

    @property
    def ratio_L(self) -> Matrix:
        """Max1/Max2 of Skywork-MoE (arXiv:2406.06563): the largest gate over the next, before the choice.

        Departs: the geometric mean over tokens, which one token without doubt does not carry away.
        """
        return np.exp(self._ratio_L / self.tokens)

    @property
    def entropy_L(self) -> Matrix:
        """Mean entropy of a token's gates over all experts, in nats; that of even ones is the logarithm of their number."""
        return self._entropy_L / self.tokens


def shares(counts: Mapping[str, Matrix]) -> dict[str, Matrix]:
    """Of each group the share of its choices that an expert gets, over an even share: 1 where the group has no preference."""
    return {name: count_LE / count_LE.mean(axis=1, keepdims=True) for name, count_LE in counts.items()}


def information(counts: Iterable[Matrix]) -> Matrix:
    """Bits that a choice tells of its group, layer by layer, if all groups were as frequent: mutual information.

    >>> information([np.array([[4.0, 0.0]]), np.array([[0.0, 9.0]])]).tolist()
    [1.0]
    >>> information([np.array([[4.0, 4.0]]), np.array([[9.0, 9.0]])]).tolist()
    [0.0]
    """
    counts_GLE = np.stack(list(counts))
    joint_GLE = counts_GLE / counts_GLE.sum(axis=2, keepdims=True) / len(counts_GLE)
    expected_LE = joint_GLE.sum(axis=0)
    ratio_GLE = np.divide(joint_GLE * len(counts_GLE), expected_LE, out=np.ones_like(joint_GLE), where=joint_GLE > 0)
    return (joint_GLE * np.log2(ratio_GLE)).sum(axis=(0, 2))
