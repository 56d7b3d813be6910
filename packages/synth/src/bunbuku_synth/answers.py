"""Whether two written answers to a problem are the same: worked out as mathematics, and only else compared as text.

An answer is a number, a fraction, a percentage or an expression, with or without a unit; or a row of them. It is read here, by a grammar of
its own, because a teacher wrote it: nothing of it is ever run. SymPy says whether two that were read are equal, exactly. What
cannot be read is a text, and equal only to the same text; no sign inside it is left out.
"""

import ast
import importlib
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bunbuku_synth.numerals import parse

ANSWER = re.compile(r"答え\s*[:：]\s*(.+?)\s*$", re.MULTILINE)
"""How a solution says what it comes to."""
_LONGEST = 120
"""Letters of an answer that is read as mathematics."""
_DIGITS = 30
_EXPONENT = 64
_UNITS = (
    *(
        "円",
        "ドル",
        "人",
        "名",
        "個",
        "本",
        "枚",
        "匹",
        "頭",
        "羽",
        "台",
        "冊",
        "回",
        "点",
        "歳",
        "才",
        "通り",
        "組",
        "倍",
        "つ",
    ),
    *("年後", "日後", "時間後", "分後", "秒後", "年", "か月", "ヶ月", "週間", "日間", "日", "時間", "分間", "分", "秒"),
    *(
        "度",
        "°",
        "℃",
        "mm",
        "cm",
        "km",
        "m",
        "mg",
        "kg",
        "g",
        "t",
        "ml",
        "dl",
        "l",
        "cm^2",
        "m^2",
        "km^2",
        "cm^3",
        "m^3",
    ),
    *(
        "平方センチメートル",
        "平方メートル",
        "立方センチメートル",
        "センチメートル",
        "キロメートル",
        "メートル",
        "リットル",
        "グラム",
    ),
    *("キログラム", "m/分", "km/h", "km/時", "m/秒"),
)
_UNIT = re.compile(
    rf"^(?P<value>.*[0-9)])\s*(?P<unit>{'|'.join(sorted(map(re.escape, _UNITS), key=len, reverse=True))})$"
)
_ENDING = re.compile(r"(?:です|だ|になります|となります|である)?[。.]*$")
_NAME = re.compile(r"^[a-z]\s*=\s*")
_THOUSANDS = re.compile(r"(?<![0-9,.])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,])")
_MIXED = re.compile(r"^(-?)([0-9]+)\s*(?:と|\s)\s*([0-9]+)/([0-9]+)$")
_PARTS_OF = re.compile(r"(\d+)分の(-?\d+)")
_KANJI = re.compile(r"[〇零一二三四五六七八九十百千万億]+")
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")
_ROOT = re.compile(r"(?:\\sqrt|√)(?:\{([^{}]*)\}|(\d+))")
_SIGNS = str.maketrans({"−": "-", "–": "-", "×": "*", "÷": "/", "⁄": "/", "π": " pi ", "·": "*"})
_LATEX = (
    (r"\times", "*"),
    (r"\cdot", "*"),
    (r"\div", "/"),
    (r"\pi", " pi "),
    (r"\left", ""),
    (r"\right", ""),
    (r"\%", "%"),
)
_PRODUCT = re.compile(r"(?<=[0-9)])\s*(?=[a-z(])|(?<=\))\s*(?=[0-9])")


@dataclass(frozen=True, slots=True)
class Value:
    """An answer as mathematics."""

    parts: tuple[Any, ...]
    """Expressions of SymPy, in their order."""
    unit: str = ""


def same_answer(right: str, given: str) -> bool:
    """Whether two answers say the same.

    >>> same_answer("3/4", "34"), same_answer("1.5", "15"), same_answer("25%", "25")
    (False, False, False)
    >>> same_answer("340", "340円です。"), same_answer("3/4", "0.75"), same_answer("3/4", "4分の3"), same_answer("25%", "1/4")
    (True, True, True, True)
    >>> same_answer("3日", "3時間"), same_answer("田中、佐藤", "田中、 佐藤。"), same_answer("2√3", "√12")
    (False, True, True)
    """
    ours, theirs = value_of(right), value_of(given)
    if ours is None or theirs is None:
        return ours is theirs and _letters(right) == _letters(given) != ""
    if len(ours.parts) != len(theirs.parts) or (ours.unit and theirs.unit and ours.unit != theirs.unit):
        return False
    return all(_equal(one, other) for one, other in zip(ours.parts, theirs.parts, strict=True))


@lru_cache(maxsize=10_000)
def value_of(text: str) -> Value | None:
    """An answer as mathematics; `None` if it is none.

    >>> value_of("3/4"), value_of("今日"), value_of("9**9**9")
    (Value(parts=(3/4,), unit=''), None, None)
    """
    said = _ENDING.sub("", _plain(text)).strip()
    said, unit = _without_unit(said)
    if not 0 < len(said) <= _LONGEST:
        return None
    parts = tuple(_expression(part) for part in re.split(r"\s*[、,]\s*", said))
    return None if any(part is None for part in parts) else Value(parts, unit)


def _plain(text: str) -> str:
    """In half width, lower case, without LaTeX's dress and thousands' commas."""
    text = unicodedata.normalize("NFKC", text).lower().strip().strip("$").strip()
    boxed = re.fullmatch(r"\\boxed\{(.*)\}", text)
    text = boxed[1] if boxed else text
    for sign, plain in _LATEX:
        text = text.replace(sign, plain)
    text = _FRACTION.sub(r"((\1)/(\2))", text.translate(_SIGNS))
    text = _ROOT.sub(lambda found: f" sqrt({found[1] or found[2]})", text)
    text = _THOUSANDS.sub(lambda found: found[0].replace(",", ""), text)
    text = re.sub(r"^マイナス", "-", text)
    return re.sub(r"\*\*", "", text) if text.startswith("**") and text.endswith("**") else text


def _without_unit(said: str) -> tuple[str, str]:
    said = _NAME.sub("", said)
    said = _KANJI.sub(lambda found: str(number) if (number := parse(found[0])) is not None else found[0], said)
    said = _PARTS_OF.sub(r"\2/\1", said)
    found = _UNIT.fullmatch(said)
    said, unit = (found["value"], found["unit"]) if found else (said, "")
    if mixed := _MIXED.fullmatch(said):
        sign, whole, over, under = mixed.groups()
        said = f"{sign}({whole}+{over}/{under})"
    return said, unit


def _expression(said: str) -> Any | None:
    """An expression of SymPy, exact; `None` if it is not one, or too large to work out."""
    percent = said.endswith("%")
    said = _PRODUCT.sub("*", said.removesuffix("%").replace("^", "**").strip())
    said = said.replace("sqrt*(", "sqrt(")
    if re.search(r"[^0-9a-z+\-*/().\s]", said):
        return None
    try:
        value = _worked_out(ast.parse(said, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError):
        return None
    return value / 100 if percent else value


def _worked_out(node: ast.expr) -> Any:
    """One node of the grammar: numbers, single letters, pi, roots, and the five operations.

    Raises:
        ValueError: It is something else.
    """
    sympy = _sympy()
    match node:
        case ast.Constant(value=int() | float()):
            return _number(node)
        case ast.Name(id="pi"):
            return sympy.pi
        case ast.Name(id=name) if len(name) == 1:
            return sympy.Symbol(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_worked_out(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _worked_out(operand)
        case ast.Call(func=ast.Name(id="sqrt"), args=[one], keywords=[]):
            return sympy.sqrt(_worked_out(one))
        case ast.BinOp(left=left, op=operator, right=right):
            return _joined(_worked_out(left), operator, _worked_out(right))
        case _:
            raise ValueError("no answer is written like this")


def _number(node: ast.Constant) -> Any:
    """Exactly what is written: 0.1 is a tenth."""
    if isinstance(node.value, int):
        if abs(node.value) >= 10**_DIGITS:
            raise ValueError("too large")
        return _sympy().Integer(node.value)
    written = repr(node.value)
    if "e" in written or len(written) > 17:
        raise ValueError("more digits than are exact")
    return _sympy().Rational(written)


def _joined(left: Any, operator: ast.operator, right: Any) -> Any:
    match operator:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div() if not right.is_zero:
            return left / right
        case ast.Pow() if right.is_Integer and abs(right) <= _EXPONENT and (right > 0 or not left.is_zero):
            return _powered(left, int(right))
        case _:
            raise ValueError("no such operation")


def _powered(base: Any, exponent: int) -> Any:
    if base.is_Rational and max(abs(int(base.p)), int(base.q)).bit_length() * abs(exponent) > 4000:
        raise ValueError("too large")
    return base**exponent


def _equal(one: Any, other: Any) -> bool:
    """Whether two expressions are equal whatever their letters stand for."""
    difference = one - other
    return difference == 0 or _sympy().simplify(difference) == 0


def _letters(text: str) -> str:
    """A text as it is compared: half width, lower case, without spaces, quotation marks and the full stop at its end."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[\s「」『』\"'“”]", "", folded).rstrip("。.")


def _sympy() -> Any:
    """The sympy package. It takes seconds to import, which only those wait for whose answers are worked out."""
    return importlib.import_module("sympy")
