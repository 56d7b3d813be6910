"""Problems of mathematics by level: drawn backwards from whole or exact answers, with the steps that lead there.

Nothing is rounded: an answer is an integer or a fraction in lowest terms.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from bunbuku_synth.tasks.entailment import PEOPLE
from bunbuku_synth.tasks.family import Dice


@dataclass(frozen=True, slots=True)
class Problem:
    """A question, the way to its answer, and the answer."""

    question: str
    steps: tuple[str, ...]
    answer: Fraction
    unit: str = ""

    @property
    def written(self) -> str:
        """The answer as it is written.

        >>> Problem("", (), Fraction(6, 8)).written, Problem("", (), Fraction(-3), "人").written
        ('3/4', '-3人')
        """
        return f"{self.answer}{self.unit}"


def expression(d: Dice) -> Problem:
    a, b, c, e = (d.number(name, 2, 19) for name in "abce")
    first, second = a + b, c * e
    if d.number("shape", 0, 1):
        question = f"{a} × ({b} + {c}) - {e} を計算しなさい。"
        return Problem(
            question,
            (f"{b} + {c} = {b + c}", f"{a} × {b + c} = {a * (b + c)}", f"{a * (b + c)} - {e} = {a * (b + c) - e}"),
            Fraction(a * (b + c) - e),
        )
    question = f"({a} + {b}) × {c} - {c} × {e} を計算しなさい。"
    value = first * c - second
    return Problem(
        question,
        (
            f"{a} + {b} = {first}",
            f"{first} × {c} = {first * c}",
            f"{c} × {e} = {second}",
            f"{first * c} - {second} = {value}",
        ),
        Fraction(value),
    )


def change(d: Dice) -> Problem:
    price, count = d.number("price", 3, 24) * 10, d.number("count", 2, 7)
    other = d.number("other", 2, 30) * 10
    total = price * count + other
    paid = math.ceil(total / 1000) * 1000 + d.one("more", (0, 1000))
    thing, second = d.some("things", ("鉛筆", "消しゴム", "ノート", "パン", "牛乳", "りんご", "電池"), 2)
    question = (
        f"1つ{price}円の{thing}を{count}つと、{other}円の{second}を1つ買い、{paid}円を出しました。お釣りは何円ですか。"
    )
    return Problem(
        question,
        (
            f"{price} × {count} = {price * count}",
            f"{price * count} + {other} = {total}",
            f"{paid} - {total} = {paid - total}",
        ),
        Fraction(paid - total),
        "円",
    )


def mean(d: Dice) -> Problem:
    count = d.number("count", 3, 6)
    values = [d.number(f"value{n}", 40, 99) for n in range(count)]
    average = Fraction(sum(values), count)
    listed = "、".join(map(str, values))
    question = f"{count}回の試験の点数は {listed} でした。平均点を、割り切れないときは分数で求めなさい。"
    return Problem(
        question,
        (f"合計は {' + '.join(map(str, values))} = {sum(values)}", f"{sum(values)} ÷ {count} = {average}"),
        average,
    )


def percent(d: Dice) -> Problem:
    rate, base = d.number("rate", 1, 19) * 5, d.number("base", 2, 60) * 100
    part = Fraction(base * rate, 100)
    question = f"定価{base}円の品物を{rate}%引きで買うと、何円になりますか。"
    return Problem(
        question, (f"値引きは {base} × {rate}/100 = {part}", f"{base} - {part} = {base - part}"), base - part, "円"
    )


def linear(d: Dice) -> Problem:
    x, a = d.number("x", -12, 12), d.number("a", 2, 9)
    c = d.number("c", 1, a - 1) if a > 2 else 1
    b = d.number("b", 1, 20)
    e = (a - c) * x + b
    question = f"方程式 {a}x + {b} = {_term(c, 'x')} {_signed(e)} を解きなさい。"
    steps = (f"{_term(c, 'x')} を左辺へ、{b} を右辺へ移すと {_term(a - c, 'x')} = {e - b}",)
    return Problem(question, (*steps, *((f"両辺を {a - c} で割ると x = {x}",) if a - c > 1 else ())), Fraction(x))


def speed(d: Dice) -> Problem:
    first, second, minutes = d.number("first", 50, 90), d.number("second", 120, 260), d.number("minutes", 4, 20)
    who, other = d.some("who", PEOPLE, 2)
    lead = first * minutes
    time = Fraction(lead, second - first)
    question = f"{who}さんは分速{first}mで家を出ました。{minutes}分後に{other}さんが分速{second}mで同じ道を追いかけました。{other}さんは出発してから何分後に追いつきますか。割り切れないときは分数で答えなさい。"
    return Problem(
        question,
        (
            f"{minutes}分の間に進んだ道のりは {first} × {minutes} = {lead} m",
            f"1分に縮まる差は {second} - {first} = {second - first} m",
            f"{lead} ÷ {second - first} = {time}",
        ),
        time,
        "分後",
    )


def share(d: Dice) -> Problem:
    a, b = d.number("a", 1, 7), d.number("b", 1, 7)
    unit = d.number("unit", 2, 40) * 10
    who, other = d.some("who", PEOPLE, 2)
    total = (a + b) * unit
    question = f"{total}円を{who}さんと{other}さんで {a}:{b} の比に分けます。{who}さんはいくらもらえますか。"
    return Problem(
        question,
        (f"比の合計は {a} + {b} = {a + b}", f"{total} ÷ {a + b} = {unit}", f"{unit} × {a} = {unit * a}"),
        Fraction(unit * a),
        "円",
    )


def simultaneous(d: Dice) -> Problem:
    x, y = d.number("x", -9, 9), d.number("y", -9, 9)
    a, b, c, e = (d.number(name, 1, 6) for name in ("a", "b", "c", "e"))
    first, second = a * x + b * y, c * x - e * y
    question = f"連立方程式 {_term(a, 'x')} + {_term(b, 'y')} = {first}、{_term(c, 'x')} - {_term(e, 'y')} = {second} を解き、x + y の値を答えなさい。"
    total = a * e + b * c
    steps = (
        f"一つ目の式を{e}倍し、二つ目の式を{b}倍して足すと {_term(total, 'x')} = {first * e + second * b}",
        f"x = {x}",
        f"一つ目の式に入れると {_term(b, 'y')} = {first} - {a * x if x >= 0 else f'({a * x})'} = {b * y}",
        f"y = {y}",
        f"x + y = {x + y}",
    )
    return Problem(question, steps, Fraction(x + y))


def common(d: Dice) -> Problem:
    factor = d.number("factor", 2, 18)
    a, b = factor * d.number("a", 2, 13), factor * d.number("b", 2, 13)
    gcd = math.gcd(a, b)
    lcm = a * b // gcd
    if d.number("which", 0, 1):
        return Problem(f"{a} と {b} の最大公約数を求めなさい。", _euclid(a, b), Fraction(gcd))
    return Problem(
        f"{a} と {b} の最小公倍数を求めなさい。",
        (*_euclid(a, b), f"最小公倍数は {a} × {b} ÷ {gcd} = {lcm}"),
        Fraction(lcm),
    )


def together(d: Dice) -> Problem:
    a, b = d.number("a", 3, 24), d.number("b", 3, 24)
    rate = Fraction(1, a) + Fraction(1, b)
    who, other = d.some("who", PEOPLE, 2)
    question = f"ある仕事を、{who}さん一人では{a}日、{other}さん一人では{b}日で終えます。二人ですると何日で終わりますか。割り切れないときは分数で答えなさい。"
    return Problem(question, (f"1日に進むのは 1/{a} + 1/{b} = {rate}", f"1 ÷ {rate} = {1 / rate}"), 1 / rate, "日")


def quadratic(d: Dice) -> Problem:
    roots = tuple(n for n in range(-9, 10) if n)
    p, q = d.one("p", roots), d.one("q", roots)
    q = p if p + q == 0 else q  # so that no term is zero
    b, c = -(p + q), p * q
    question = f"2次方程式 x^2 {_signed(b) if abs(b) > 1 else _signed(b)[0] + ' '}x {_signed(c)} = 0 の解のうち、大きい方（重解のときはその値）を答えなさい。"
    return Problem(
        question,
        (f"左辺を因数分解すると (x {_signed(-p)})(x {_signed(-q)}) = 0", f"x = {p}, {q}" if p != q else f"x = {p}"),
        Fraction(max(p, q)),
    )


def choosing(d: Dice) -> Problem:
    n = d.number("n", 4, 9)
    r = d.number("r", 2, min(4, n - 1))
    if d.number("which", 0, 1):
        value = math.comb(n, r)
        top, below = " × ".join(str(n - k) for k in range(r)), " × ".join(str(r - k) for k in range(r))
        return Problem(
            f"{n}人の中から当番を{r}人選びます。選び方は何通りありますか。",
            (f"{n}人から{r}人を選ぶ組合せなので ({top}) ÷ ({below}) = {value}",),
            Fraction(value),
            "通り",
        )
    value = math.perm(n, r)
    top = " × ".join(str(n - k) for k in range(r))
    return Problem(
        f"{n}人の中から{r}人を選んで一列に並べます。並べ方は何通りありますか。",
        (f"順番を区別するので {top} = {value}",),
        Fraction(value),
        "通り",
    )


def series(d: Dice) -> Problem:
    first, step, count = d.number("first", -5, 20), d.number("step", 2, 9), d.number("count", 8, 30)
    last = first + step * (count - 1)
    total = Fraction(count * (first + last), 2)
    question = f"初項 {first}、公差 {step} の等差数列の、初項から第{count}項までの和を求めなさい。"
    return Problem(
        question,
        (
            f"第{count}項は {first} + {step} × {count - 1} = {last}",
            f"和は {count} × ({first} + {last}) ÷ 2 = {total}" if last >= 0 else f"和は {total}",
        ),
        total,
    )


def power(d: Dice) -> Problem:
    base, exponent, modulus = d.number("base", 2, 12), d.number("exponent", 5, 60), d.number("modulus", 3, 17)
    seen: list[int] = []
    value = base % modulus
    while value not in seen:
        seen.append(value)
        value = value * base % modulus
    answer = pow(base, exponent, modulus)
    shown = "、".join(map(str, seen))
    question = f"{base}^{exponent} を {modulus} で割った余りを求めなさい。"
    return Problem(
        question,
        (
            f"{base} の累乗を {modulus} で割った余りは、順に {shown}、次は {value} に戻る",
            f"したがって {exponent} 乗の余りは {answer}",
        ),
        Fraction(answer),
    )


def drawing(d: Dice) -> Problem:
    red, white = d.number("red", 2, 7), d.number("white", 2, 7)
    both = math.comb(red, 2) + math.comb(white, 2)
    every = math.comb(red + white, 2)
    question = (
        f"赤玉{red}個と白玉{white}個が入った袋から、同時に2個取り出します。2個が同じ色である確率を分数で求めなさい。"
    )
    return Problem(
        question,
        (
            f"すべての取り出し方は {every} 通り",
            f"同じ色になるのは {math.comb(red, 2)} + {math.comb(white, 2)} = {both} 通り",
            f"確率は {both}/{every} = {Fraction(both, every)}",
        ),
        Fraction(both, every),
    )


def binary(d: Dice) -> Problem:
    base, value = d.one("base", (2, 3, 5, 8)), d.number("value", 20, 500)
    digits, left = "", value
    while left:
        digits, left = str(left % base) + digits, left // base
    terms = " + ".join(f"{digit} × {base}^{len(digits) - 1 - at}" for at, digit in enumerate(digits) if digit != "0")
    return Problem(
        f"{base}進法で {digits} と表される数を、10進法で表しなさい。", (f"{terms} = {value}",), Fraction(value)
    )


def legs(d: Dice) -> Problem:
    cranes, turtles = d.number("cranes", 2, 20), d.number("turtles", 2, 20)
    heads, feet = cranes + turtles, 2 * cranes + 4 * turtles
    question = f"鶴と亀が合わせて{heads}匹いて、足の数は全部で{feet}本です。亀は何匹いますか。"
    return Problem(
        question,
        (
            f"すべて鶴なら足は 2 × {heads} = {2 * heads} 本",
            f"足りないのは {feet} - {2 * heads} = {feet - 2 * heads} 本",
            f"{feet - 2 * heads} ÷ (4 - 2) = {turtles}",
        ),
        Fraction(turtles),
        "匹",
    )


LEVELS: dict[int, dict[str, Callable[[Dice], Problem]]] = {
    1: {"expression": expression, "change": change},
    2: {"mean": mean, "percent": percent, "share": share},
    3: {"linear": linear, "speed": speed, "legs": legs},
    4: {"simultaneous": simultaneous, "common": common, "together": together},
    5: {"quadratic": quadratic, "choosing": choosing, "series": series},
    6: {"power": power, "drawing": drawing, "base": binary},
}
"""Kinds of problems by level."""


def _signed(number: int) -> str:
    """With its sign and a space.

    >>> _signed(3), _signed(-3)
    ('+ 3', '- 3')
    """
    return f"{'-' if number < 0 else '+'} {abs(number)}"


def _term(coefficient: int, name: str) -> str:
    """A term of an equation; one is not written.

    >>> _term(3, "x"), _term(1, "x")
    ('3x', 'x')
    """
    return name if coefficient == 1 else f"{coefficient}{name}"


def _euclid(a: int, b: int) -> tuple[str, ...]:
    steps: list[str] = []
    a, b = max(a, b), min(a, b)
    while b:
        steps.append(f"{a} ÷ {b} = {a // b} 余り {a % b}")
        a, b = b, a % b
    return (*steps, f"最大公約数は {a}")
