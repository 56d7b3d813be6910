"""Reasoning items, worked out anew from their questions by a solver of the test's own that shares nothing with what made them.

Where the maker works backwards from an answer, the solver tries every candidate, simulates or counts.
"""

import ast
import itertools
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from bunbuku_inference.sandbox import run_program
from bunbuku_synth import GenerateConfig, GenerateRun, generate, read_items
from bunbuku_synth.item import Item, Turn
from bunbuku_synth.sources import Library
from bunbuku_synth.tasks import Code, Logic, Mathematics, Solve
from bunbuku_synth.tasks.family import Family


def _scribe() -> Any:
    spec = spec_from_file_location("scribe", Path(__file__).with_name("scribe.py"))
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIBE = _scribe()


def made(task: Family, count: int, seed: int = 3) -> list[Item]:
    """Candidates of a task, as a run would draw them."""
    return list(itertools.islice(task.write(None, seed=seed, tally=Counter()), count))  # pyright: ignore[reportArgumentType]


def ints(text: str) -> list[int]:
    return [int(found) for found in re.findall(r"\d+", text)]


def solve_expression(q: str) -> Fraction:
    return Fraction(eval(compile(q.split(" を計算")[0].replace("×", "*"), "q", "eval"), {"__builtins__": {}}))


def solve_change(q: str) -> Fraction:
    price, count, other, _, paid = ints(re.sub(r"^1つ", "", q))
    for _ in range(count):
        paid -= price
    return Fraction(paid - other)


def solve_mean(q: str) -> Fraction:
    values = ints(q.split("点数は")[1])
    return next(
        Fraction(n, len(values)) for n in range(10_000) if Fraction(n, len(values)) * len(values) == sum(values)
    )


def solve_percent(q: str) -> Fraction:
    base, rate = ints(q)
    return Fraction(base) * (100 - rate) / 100


def solve_share(q: str) -> Fraction:
    total, a, b = ints(q)
    return next(Fraction(n) for n in range(total + 1) if n * b == (total - n) * a)


def equation(text: str) -> Callable[[Fraction, Fraction], Fraction]:
    """Left side minus right side, for x and y."""
    left, right = (re.sub(r"(\d)([xy])", r"\1*\2", side.replace("^", "**")) for side in text.split("="))
    return lambda x, y: eval(f"({left}) - ({right})", {"x": x, "y": y, "__builtins__": {}})


def solve_linear(q: str) -> Fraction:
    zero = equation(re.findall(r"方程式 (.*) を解", q)[0])
    return next(Fraction(x) for x in range(-40, 41) if zero(Fraction(x), Fraction(0)) == 0)


def solve_simultaneous(q: str) -> Fraction:
    first, second = (equation(one) for one in re.findall(r"連立方程式 (.*) を解", q)[0].split("、"))
    grid = itertools.product(range(-20, 21), repeat=2)
    found = [(x, y) for x, y in grid if first(Fraction(x), Fraction(y)) == 0 == second(Fraction(x), Fraction(y))]
    [(x, y)] = found
    return Fraction(x + y)


def solve_quadratic(q: str) -> Fraction:
    zero = equation(re.findall(r"方程式 (.*) の解", q)[0])
    return Fraction(max(x for x in range(-30, 31) if zero(Fraction(x), Fraction(0)) == 0))


def solve_speed(q: str) -> Fraction:
    first, minutes, second = ints(q)[:3]
    # By halving, then exactly: both have come equally far.
    low, high = 0.0, 1e4
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if first * (minutes + middle) > second * middle else (low, middle)
    t = Fraction(low).limit_denominator(300)
    assert first * (minutes + t) == second * t
    return t


def solve_legs(q: str) -> Fraction:
    heads, feet = ints(q)[:2]
    [turtles] = [n for n in range(heads + 1) if 4 * n + 2 * (heads - n) == feet]
    return Fraction(turtles)


def solve_common(q: str) -> Fraction:
    a, b = ints(q)
    if "公約数" in q:
        return Fraction(max(n for n in range(1, min(a, b) + 1) if a % n == 0 == b % n))
    return Fraction(next(n for n in range(max(a, b), a * b + 1, max(a, b)) if n % a == 0 == n % b))


def solve_together(q: str) -> Fraction:
    a, b = ints(q)[:2]
    # In a times b days one does b of it and the other a.
    return Fraction(a * b) / (a + b)


def solve_choosing(q: str) -> Fraction:
    n, r = ints(q)
    count = itertools.permutations if "一列" in q else itertools.combinations
    return Fraction(sum(1 for _ in count(range(n), r)))


def solve_series(q: str) -> Fraction:
    first, step, count = (int(n) for n in re.findall(r"初項 (-?\d+)、公差 (\d+).*第(\d+)項", q)[0])
    return Fraction(sum(first + step * n for n in range(count)))


def solve_power(q: str) -> Fraction:
    base, exponent, modulus = ints(q)
    return Fraction(base**exponent % modulus)


def solve_drawing(q: str) -> Fraction:
    red, white = ints(q)[:2]
    balls = "r" * red + "w" * white
    drawn = list(itertools.combinations(balls, 2))
    return Fraction(sum(a == b for a, b in drawn), len(drawn))


def solve_base(q: str) -> Fraction:
    base, digits = re.findall(r"(\d)進法で (\d+)", q)[0]
    return Fraction(int(digits, int(base)))


SOLVERS: dict[str, Callable[[str], Fraction]] = {
    name.removeprefix("solve_"): solver for name, solver in list(globals().items()) if name.startswith("solve_")
}


def check_mathematics(item: Item) -> bool:
    kind, shown = item.template.split("@")[0].split("-")
    question = item.prompt[0].content.split("\n")[0]
    last = item.said.split("\n")[-1]
    if shown == "steps":
        assert last.startswith("答え: ")
    said = re.fullmatch(r"(?:答え: )?(-?\d+(?:/\d+)?)\D*", last)
    assert said, item
    return Fraction(said[1]) == SOLVERS[kind](question)


def check_row(item: Item) -> bool:
    question = item.prompt[0].content
    names = question.split("の")[0].split("、")
    lines = re.findall(r"^- (.*)$", question, re.MULTILINE)

    def holds(row: tuple[str, ...], line: str) -> bool:
        if found := re.fullmatch(r"(.+)は端にいない。", line):
            return row[0] != found[1] != row[-1]
        if found := re.fullmatch(r"(.+)と(.+)は隣り合っていない。", line):
            return {found[1], found[2]} not in [set(pair) for pair in itertools.pairwise(row)]
        if found := re.fullmatch(r"(.+)は(.+)のすぐ左にいる。", line):
            return (found[1], found[2]) in itertools.pairwise(row)
        found = re.fullmatch(r"(.+)は(.+)より左にいる。", line)
        assert found, line
        return found[2] in row[row.index(found[1]) :]

    left = [row for row in itertools.permutations(names) if all(holds(row, line) for line in lines)]
    return left == [tuple(item.said.split("、"))]


def check_liars(item: Item) -> bool:
    question = item.prompt[0].content
    said = dict(re.findall(r"^(.+?)「(.*)」$", question, re.MULTILINE))
    names = list(said)

    def true(line: str, honest: set[str]) -> bool:
        if found := re.fullmatch(r"(.+)と(.+)の少なくとも一人は嘘つきだ。", line):
            return not {found[1], found[2]} <= honest
        if found := re.fullmatch(r"(.+)と(.+)は同じ種類だ。", line):
            return len({found[1], found[2]} & honest) != 1
        if found := re.fullmatch(r"(.+)は(正直者|嘘つき)だ。", line):
            return (found[1] in honest) == (found[2] == "正直者")
        found = re.fullmatch(r"私たちの中に正直者はちょうど(\d)人いる。", line)
        assert found, line
        return len(honest) == int(found[1])

    worlds = [
        {n for n, tells in zip(names, bits, strict=True) if tells}
        for bits in itertools.product((0, 1), repeat=len(names))
    ]
    left = [honest for honest in worlds if all(true(said[name], honest) == (name in honest) for name in names)]
    answer = set() if item.said == "なし" else set(item.said.split("、"))
    return left == [answer]


def check_code(item: Item) -> bool:
    """Interpret what the question says, clause by clause, over inputs of the test's own, beside the program in the sandbox."""
    question = item.prompt[0].content
    name = re.findall(r"関数 (\w+) を", question)[0]
    clauses = question.split("を受け取り、")[1].split("関数 ")[0].split("、")
    text = question.startswith("文字列")
    inputs: list[Any] = (
        ["", "abcABC  a", "radar", "aeiou bb"] if text else [[], [0], [3, 3, -8, 12, 5, 5, -7], list(range(-9, 40, 4))]
    )
    clauses = _joined(clauses)
    source = item.said.removeprefix("```python\n").removesuffix("```")
    ran = run_program(source, name, [[given] for given in inputs])
    return ran.passes([_interpreted(clauses, given) for given in inputs])


def _joined(clauses: list[str]) -> list[str]:
    """Clauses that have commas of their own, in one piece."""
    return (
        "、".join(clauses)
        .replace("（空なら None）", "")
        .replace("なら True、そうでなければ False を返す", "か")
        .split("、")
    )


def _interpreted(clauses: list[str], x: Any) -> Any:
    for clause in clauses:
        x = _one(clause, x)
    return x


def _one(clause: str, x: Any) -> Any:
    k = ints(clause)[0] if ints(clause) else 0
    steps: dict[str, Callable[[], Any]] = {
        r"偶数だけを残し": lambda: [n for n in x if str(n)[-1] in "02468"],
        r"奇数だけを残し": lambda: [n for n in x if str(n)[-1] in "13579"],
        r"正の数だけを残し": lambda: [n for n in x if str(n)[0] != "-" and n],
        r"\d+より大きい数だけを残し": lambda: [n for n in x if n >= k + 1],
        r"\d+の倍数だけを残し": lambda: [n for n in x if n in range(-k * 9999, k * 9999, k)],
        r"それぞれを2乗し": lambda: [n**2 for n in x],
        r"それぞれを\d+倍し": lambda: [n * k for n in x],
        r"それぞれに\d+を足し": lambda: [k + n for n in x],
        r"それぞれの絶対値を取り": lambda: [int(str(n).lstrip("-")) for n in x],
        r"隣り合う同じ(値|文字)を一つにまとめ": lambda: _grouped(x),
        r"昇順に並べ": lambda: sorted(x),
        r"順番を逆にし": lambda: x[::-1],
        r"その合計を返す": lambda: sum(x),
        r"その(個数|長さ)を返す": lambda: len(x),
        r"最大値を返す": lambda: max(x, default=None),
        r"最小値を返す": lambda: min(x, default=None),
        r"その(リスト|文字列)を返す": lambda: x,
        r"異なる値の個数を返す": lambda: len(set(x)),
        r"小文字にし": lambda: x.casefold(),
        r"母音（a, e, i, o, u）を除き": lambda: re.sub("[aeiou]", "", x),
        r"空白を除き": lambda: re.sub(" ", "", x),
        r"回文か": lambda: list(x) == list(reversed(x)),
        r"文字 a の個数を返す": lambda: sum(c == "a" for c in x),
    }
    [step] = [step for pattern, step in steps.items() if re.fullmatch(pattern, clause)]
    return step()


def _grouped(x: Any) -> Any:
    kept = [one for one, _ in itertools.groupby(x)]
    return "".join(kept) if isinstance(x, str) else kept


CHECKERS = {"row": check_row, "liars": check_liars, "list": check_code, "text": check_code}


def check(item: Item) -> bool:
    return CHECKERS.get(item.template.split("-")[0], check_mathematics)(item)


KINDS = {
    "expression": "を計算しなさい",
    "change": "お釣り",
    "mean": "平均点",
    "percent": "%引き",
    "share": "の比に分け",
    "simultaneous": "連立",
    "quadratic": "2次方程式",
    "linear": "方程式 .* を解きなさい",
    "speed": "分速",
    "legs": "鶴と亀",
    "common": "最[大小]公[約倍]数",
    "together": "ある仕事を",
    "choosing": "当番|一列に並べます",
    "series": "等差数列",
    "power": "余り",
    "drawing": "赤玉",
    "base": "進法",
}


def said_number(text: str) -> Fraction:
    """What the last line says: a fraction or a decimal, either way round, with a unit or none."""
    line = text.split("答え:")[-1].strip().replace(" ", "")
    if found := re.fullmatch(r"(\d+)分の(-?\d+)\D*", line):
        return Fraction(int(found[2]), int(found[1]))
    found = re.fullmatch(r"(-?[\d.]+(?:/\d+)?)(%?)[^\d.%/:]*", line)
    assert found, text
    return Fraction(found[1]) / (100 if found[2] else 1)


def check_solution(item: Item) -> bool:
    """A teacher's solution, worked out anew from its question alone."""
    question, said = item.prompt[0].content.split("\n\n順を追って")[0], item.said
    if "```" in said:
        block = re.findall(r"```python\n.*?```", said, re.DOTALL)[0]
        return check_code(replace(item, messages=(Turn("user", question), Turn("assistant", block))))
    if "正直者" in question or "一列に並んで" in question:
        names = said.split("答え:")[-1].strip().removesuffix("。")
        answered = replace(item, messages=(Turn("user", question), Turn("assistant", names)))
        return check_liars(answered) if "正直者" in question else check_row(answered)
    [kind] = [kind for kind, sign in KINDS.items() if re.search(sign, question)][:1]
    return said_number(said) == SOLVERS[kind](question)


def replies(task: Solve, start: Any) -> tuple[str, ...]:
    """What a teacher may say: right in many ways, and wrong by a sign."""
    if task.problems == "code":
        challenge = task._challenge(int(start.name.rpartition("/")[2]), 3)
        return tuple(
            f"順に処理します。\n```python\n{source}```"
            for source in (challenge.source, f"def {challenge.function}(x):\n    return x\n")
        )
    right = start.words["right"]
    if task.problems == "logic":
        names = right.split("、")
        wrong = "、".join(names[::-1]) if len(names) > 1 else "なし" if right != "なし" else "全員"
        return tuple(f"一つずつ確かめます。\n答え: {said}" for said in (right, f"{right}。", wrong))
    number = re.match(r"-?\d+(?:/\d+)?", right)
    assert number
    value = Fraction(number[0])
    over, under = value.numerator, value.denominator
    ways = [right, f"{right}です。", number[0], f"{over}{under}" if under > 1 else f"{over}/10", f"{over + 1}/{under}"]
    ways += [
        f"{over / under:.2f}",
        f"{number[0]}%",
        f"{over * 10}",
        f"{over}.{under}",
        str(-value),
        f"{under}分の{over}",
    ]
    return tuple(f"式を立てて考えます。\n答え: {said}" for said in ways)


@pytest.fixture
def solved(tmp_path: Path, corpus: Any) -> Callable[[Solve], tuple[list[Item], int]]:
    """Have a teacher that is right in some of the ways it speaks solve problems: what was kept, and how many were not."""

    def solve(task: Solve) -> tuple[list[Item], int]:
        with SCRIBE.Scribe() as server:
            for start in task.starts(Library(None), seed=3):  # pyright: ignore[reportArgumentType]
                server.answers[start.words["question"]] = replies(task, start)
            config = GenerateConfig(tasks=(task,), teacher="writer", seed=3)
            run = GenerateRun(engine=server.engine("writer"))
            made = generate(tmp_path / task.problems, config, corpus, run=run)
        rows = [row for file in made.files("dropped") for row in pq.read_table(made.path(file)).to_pylist()]
        return list(read_items(made)), len(rows)

    return solve


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_five_hundred_reasoning_items_hold_before_another_solver(solved: Any):
    """Made by programs, and by a teacher whose wrong answers differ from the right ones by a sign."""
    items = [*made(Mathematics(count=170), 170), *made(Logic(count=70), 70), *made(Code(count=20), 20)]
    taught: list[Item] = []
    for task, least in (
        (Solve(count=240, attempts=3, problems="mathematics"), 170),
        (Solve(count=90, attempts=1, problems="logic"), 50),
        (Solve(count=30, attempts=4, problems="code"), 20),
    ):
        kept, dropped = solved(task)
        assert len(kept) >= least and dropped > 0, (len(kept), dropped)
        taught += kept[:least]
    assert len(items) + len(taught) == 500
    assert [item for item in items if not check(item)] == []
    assert [item for item in taught if not check_solution(item)] == []


def test_every_kind_of_problem_was_among_them():
    seen = {item.template.split("-")[0] for item in made(Mathematics(count=300), 300)}
    assert seen == SOLVERS.keys()


def test_the_checker_is_no_yes_man():
    for item in [*made(Mathematics(count=9, shown=("bare",)), 9), *made(Logic(count=4, kinds=("liars",)), 4)]:
        other = (
            re.sub(r"^-?\d+", lambda n: str(int(n[0]) + 1), item.said) if item.task == "mathematics" else "なし、誰か"
        )
        assert not check(replace(item, messages=(*item.prompt, Turn("assistant", other)))), item


@pytest.mark.parametrize("level", range(1, 7))
def test_a_level_can_be_asked_for_alone_and_the_steps_end_in_the_answer(level: int):
    for item in made(Mathematics(count=12, levels=(level,), shown=("steps",)), 12):
        *steps, last = item.said.split("\n")
        assert last.startswith("答え: ")
        assert re.findall(r"-?\d+(?:/\d+)?", last)[0].lstrip("-") in steps[-1]


def test_programs_are_the_code_block_alone():
    for item in made(Code(count=4), 4):
        assert item.said.startswith("```python\n") and item.said.endswith("```")
        ast.parse(item.said.removeprefix("```python\n").removesuffix("```"))
