"""Chains of teachers behind a real server that writes the same reply to the same request."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import Artifact, BunbukuError, Dialogues, load
from bunbuku_contracts.errors import Unfinished
from bunbuku_inference import Budget, Price
from bunbuku_synth import GenerateConfig, GenerateRun, generate, read_items
from bunbuku_synth.language import japanese_ratio
from bunbuku_synth.sources import Library, passage_of
from bunbuku_synth.tasks import Instruct, Rephrase
from bunbuku_synth.tasks.chain import Step, Wording
from bunbuku_synth.tasks.grid import cells
from bunbuku_synth.tasks.judging import Judge
from hypothesis import given
from hypothesis import strategies as st


def _scribe() -> Any:
    spec = spec_from_file_location("scribe", Path(__file__).with_name("scribe.py"))
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIBE = _scribe()
CHAIN = Rephrase(
    count=24, min_chars=60, max_chars=140, only=("textbook", "blog", "into-english"), judge=Judge(at_least=4)
)
MANNERS = tuple(manner for manner in Instruct(count=1).manners if manner.name in ("none", "polite"))
TALKS = Instruct(count=12, manners=MANNERS, asker="player", judge=Judge(at_least=4), min_turns=2, max_turns=4)
BOTH = GenerateConfig(tasks=(CHAIN, TALKS), teacher="writer", teachers={"judge": "judge", "player": "player"})


@pytest.fixture
def server() -> Iterator[Any]:
    with SCRIBE.Scribe() as server:
        yield server


def running(server: Any, **changes: Any) -> GenerateRun:
    wide = {name: changes.pop(name) for name in ("concurrency",) if name in changes}
    engines = {name: server.engine(name, **wide) for name in ("judge", "player")}
    return GenerateRun(engine=server.engine("writer", **wide), engines=engines, **changes)


def dropped(made: Artifact[Dialogues]) -> list[dict[str, Any]]:
    return [row for file in made.files("dropped") for row in pq.read_table(made.path(file)).to_pylist()]


def test_a_chain_ends_in_dialogues_or_in_reasons(tmp_path: Path, corpus: Any, server: Any):
    made = generate(tmp_path / "out", BOTH, corpus, run=running(server))
    items, gone = list(read_items(made)), dropped(made)
    assert len(items) + len(gone) == 36 and len(items) > 5, Counter(row["reason"] for row in gone)
    assert {row["reason"] for row in gone} >= {"judged_low"}
    for item in items:
        assert item.teacher in ("writer+judge", "player+writer+judge") and item.generator == "teacher"
        if item.task == "rephrase":
            assert item.source and "#" in item.source and "rephrase-faithful@1" in item.template
            assert (japanese_ratio(item.said) > 0.5) == (item.language == "ja")
        else:
            roles = [turn.role for turn in item.messages if turn.role != "system"]
            assert roles == ["user", "assistant"] * (len(roles) // 2) and 2 <= len(roles) // 2 <= 4
    assert {row["teacher"] is not None for row in gone} == {True}


def test_meters_and_costs_add_up(tmp_path: Path, corpus: Any, server: Any):
    prices = {
        "writer": Price(),
        "teacher": Price(per_million_completion_tokens=10),
        "judge": Price(per_million_prompt_tokens=5),
    }
    metrics = generate(tmp_path / "out", BOTH, corpus, run=running(server, prices=prices)).manifest.metrics
    assert metrics["teacher.requests"] + metrics["judge.requests"] + metrics["player.requests"] == sum(
        server.asked.values()
    )
    said = [(body["model"], sum(len(turn["content"]) for turn in body["messages"])) for body in server.seen]
    assert metrics["judge.prompt_tokens"] == sum(length for model, length in said if model == "judge")
    cost = metrics["teacher.completion_tokens"] * 10e-6 + metrics["judge.prompt_tokens"] * 5e-6
    assert metrics["cost.total"] == pytest.approx(cost)
    spent = sum(metrics[f"{name}.completion_tokens"] for name in ("teacher", "judge", "player"))
    by_task = metrics["completion_tokens.rephrase"] + metrics["completion_tokens.instruct"]
    assert metrics["cost.completion_tokens"] == spent == by_task > metrics["accepted_tokens"] > 0
    assert metrics["cost.per_million_accepted_tokens"] == pytest.approx(cost / metrics["accepted_tokens"] * 1e6)


def test_accepted_tokens_are_those_of_the_replies_that_are_in_items(tmp_path: Path, corpus: Any, server: Any):
    """S13: neither a judge's words nor what was turned down."""
    config = BOTH.model_copy(update={"tasks": (CHAIN,)})
    made = generate(tmp_path / "out", config, corpus, run=running(server))
    metrics, items = made.manifest.metrics, list(read_items(made))
    assert metrics["accepted_tokens"] == sum(len(item.said) for item in items)
    assert metrics["judge.completion_tokens"] > 0
    assert metrics["completion_tokens.rephrase"] == metrics["cost.completion_tokens"] > metrics["accepted_tokens"] > 0


def test_documents_without_a_fitting_passage_are_counted(tmp_path: Path, toy: Any, server: Any):
    """S3."""
    short = [{**toy.documents(0, 1)[0], "id": f"short:{n}", "text": "はい。"} for n in range(3)]
    corpus = toy.corpus("corpus", [*toy.documents(0, 60), *short])
    made = generate(tmp_path / "out", BOTH.model_copy(update={"tasks": (CHAIN,)}), corpus, run=running(server))
    lengths = {"min_chars": CHAIN.min_chars, "max_chars": CHAIN.max_chars, "seed": 0}
    without = [one for one in Library(corpus).documents() if passage_of(one, **lengths) is None]
    assert made.manifest.metrics["no_passage.rephrase"] == len(without) >= len(short)


def test_a_served_teacher_s_revision_names_its_replies(tmp_path: Path, corpus: Any, server: Any):
    """S4."""
    task = CHAIN.model_copy(update={"judge": None})
    for revision in ("1", "2"):
        config = GenerateConfig(tasks=(task,), teacher=f"writer@{revision}")
        run = GenerateRun(engine=server.engine("writer", revision=revision), store=str(tmp_path / "store"))
        made = generate(tmp_path / revision, config, corpus, run=run)
        assert {item.teacher for item in read_items(made)} == {f"writer@{revision}"}
        assert made.manifest.metrics.get("teacher.cached", 0) == 0
    with pytest.raises(BunbukuError, match=r"'writer@2', and the engine of the run settings serves 'writer'"):
        generate(tmp_path / "other", config, corpus, run=running(server))


def test_changing_one_step_asks_only_that_step_again(tmp_path: Path, corpus: Any, server: Any):
    store = running(server, store=str(tmp_path / "store"))
    generate(tmp_path / "first", BOTH, corpus, run=store)
    before = Counter(server.asked)
    assert {path.stem for path in (tmp_path / "store").glob("*.sqlite")} >= {
        "rephrase.written",
        "rephrase.judge",
        "instruct.a1",
    }
    wording = Wording(name="mine", ask="よく書けていますか。\n{{ written }}")
    other = CHAIN.model_copy(update={"judge": Judge(at_least=2, wordings=(wording,))})
    config = BOTH.model_copy(update={"tasks": (other, TALKS)})
    generate(tmp_path / "second", config, corpus, run=store)
    again = Counter(server.asked)
    again.subtract(before)
    assert again["writer"] == again["player"] == 0
    assert 0 < again["judge"] <= CHAIN.count


def test_batches_concurrency_and_order_do_not_change_a_byte(tmp_path: Path, toy: Any, server: Any):
    contents: set[str] = set()
    for n, (wide, shards) in enumerate(((1, 1), (7, 3))):
        corpus = toy.corpus(f"corpus-{n}", toy.documents(0, 150), shards=shards)
        made = generate(tmp_path / str(n), BOTH, corpus, run=running(server, concurrency=wide))
        contents |= {made.content}
    assert len(contents) == 1


def test_a_budget_ends_a_run_with_75_and_raising_it_goes_on(tmp_path: Path, corpus: Any, server: Any):
    whole = generate(tmp_path / "whole", BOTH, corpus, run=running(server))
    server.asked.clear()
    with pytest.raises(Unfinished, match="max_requests") as stopped:
        generate(tmp_path / "out", BOTH, corpus, run=running(server, budget=Budget(max_requests=10)))
    assert stopped.value.status == 75 and 10 <= sum(server.asked.values()) <= 18
    made = generate(tmp_path / "out", BOTH, corpus, run=running(server))
    assert made.content == whole.content
    assert sum(server.asked.values()) == sum(
        whole.manifest.metrics[f"{name}.requests"] for name in ("teacher", "judge", "player")
    )
    assert made.manifest.metrics["cost.completion_tokens"] == whole.manifest.metrics["cost.completion_tokens"]


def kills(tmp_path: Path, corpus: Any, times: int, seed: int) -> tuple[int, int]:
    """Kill a run at random moments until it has been killed so often, let it finish; requests asked, and needed."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with SCRIBE.Scribe(port, delay_seconds=0.004) as server:
        whole = generate(tmp_path / "whole", BOTH, corpus, run=running(server))
        needed = sum(server.asked.values())
        server.asked.clear()
        (tmp_path / "config.json").write_text(BOTH.model_dump_json())
        (tmp_path / "run.json").write_text(running(server).model_dump_json())
        code = (
            "import sys; from pathlib import Path; from bunbuku_contracts import Corpus, load\n"
            "from bunbuku_synth import GenerateConfig, GenerateRun, generate\n"
            "c, r = (Path(n).read_text() for n in ('config.json', 'run.json'))\n"
            "generate(Path('out'), GenerateConfig.model_validate_json(c), load(Path(sys.argv[1]), Corpus), "
            "run=GenerateRun.model_validate_json(r))"
        )
        draw, killed = random.Random(seed), 0
        while not (tmp_path / "out").exists():
            asked = sum(server.asked.values())
            process = subprocess.Popen(
                [sys.executable, "-c", code, str(corpus.dir)], cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"}
            )
            if killed < times:
                more = draw.randint(1, max(1, needed // (times + 1)))
                while process.poll() is None and sum(server.asked.values()) < asked + more:
                    time.sleep(0.002)
                time.sleep(draw.random() * 0.02)
                process.send_signal(signal.SIGKILL)
                killed += 1
            process.wait()
        made = load(tmp_path / "out", Dialogues)
        assert made.content == whole.content
        assert [file.sha256 for file in made.files()] == [file.sha256 for file in whole.files()]
        assert made.manifest.metrics["cost.completion_tokens"] == whole.manifest.metrics["cost.completion_tokens"]
        ids = [item.id for item in read_items(made)]
        assert len(ids) == len(set(ids))
        return sum(server.asked.values()), needed


def test_kills_at_random_moments_lose_and_double_nothing(tmp_path: Path, corpus: Any):
    asked, needed = kills(tmp_path, corpus, times=2, seed=1)
    assert needed <= asked <= needed + 2 * 2 * 8  # what was under way when it was killed


@pytest.mark.long
def test_twenty_kills_at_random_moments_lose_and_double_nothing(tmp_path: Path, corpus: Any):
    asked, needed = kills(tmp_path, corpus, times=20, seed=2)
    assert needed <= asked <= needed + 20 * 2 * 8


def test_steps_that_wait_for_each_other_or_for_nobody_are_refused(tmp_path: Path, corpus: Any, server: Any):
    with pytest.raises(BunbukuError, match="'player', and there is no such teacher") as refused:
        config = GenerateConfig(tasks=(TALKS,), teacher="writer", teachers={"judge": "judge"})
        generate(tmp_path / "out", config, corpus, run=running(server))
    assert "--teachers player=DIR" in refused.value.hint
    assert sum(server.asked.values()) == 0


def test_a_wording_that_is_no_template_is_refused():
    with pytest.raises(ValueError, match="not valid Jinja2"):
        Wording(name="x", ask="{{ ")
    assert Step(name="a", wordings=(Wording(name="x", ask="{{ b }}{{ c }}"),)).variables == {"b", "c"}


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 6), min_size=1), st.integers(0, 50))
def test_cells_of_a_grid_are_drawn_without_replacement(sizes: dict[str, int], seed: int):
    axes = {name: tuple(map(str, range(size))) for name, size in sizes.items()}
    size = 1
    for values in axes.values():
        size *= len(values)
    found = [tuple(cell.values()) for cell in cells(axes, size + 3, label="grid", seed=seed)]
    assert len(found) == len(set(found)) == size
    fewer = [tuple(cell.values()) for cell in cells(axes, size // 2, label="grid", seed=seed)]
    assert fewer == found[: size // 2]
