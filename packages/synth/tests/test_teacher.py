"""Teachers: one that writes sense behind a server of the test's own, and one that writes nonsense in this process."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from bunbuku_contracts import BunbukuError
from bunbuku_contracts.errors import Unfinished
from bunbuku_inference import Budget, OpenAIEngine, RequestsFailed, TransformersEngine
from bunbuku_synth import GenerateConfig, GenerateRun, generate, read_items
from bunbuku_synth.tasks import Arithmetic, QuestionAnswer, Rewrite
from bunbuku_synth.tasks.teaching import TeacherSampling

SENTENCES = [
    f"The {who} {did} a {thing} near the {place} in {when}."
    for who, did in (("teacher", "sold"), ("doctor", "lost"))
    for thing in ("letter", "camera", "bicycle", "umbrella")
    for place in ("station", "library")
    for when in ("spring", "winter")
]
SHAPE = {"language": "en", "min_chars": 20, "max_chars": 80, "max_sentences": 1}


class Teacher(ThreadingHTTPServer):
    """Rewrites and asks about the toy sentences, and does badly what it is told to do badly."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.failing = 0
        """Requests still to be turned away."""
        self.refused = ""
        """A word whose passages are refused for good."""

    @property
    def engine(self) -> OpenAIEngine:
        base = f"http://127.0.0.1:{self.server_address[1]}/v1"
        return OpenAIEngine(base_url=base, served_model="toy", attempts=2, first_wait_seconds=0, concurrency=2)

    def reply(self, asked: str) -> str:
        sentence = next(one for one in SENTENCES if one in asked)
        _, who, did, _, thing, _, _, place, *_ = sentence.rstrip(".").split()
        if "question" not in asked:
            return sentence if thing == "camera" else f"Sure! Near the {place}, a {thing} was {did} by the {who}."
        if thing == "camera":
            return "I do not know any."
        return f"Question: Who {did} a {thing}?\nAnswer: The {who}.\nQuestion: Why?\nAnswer: Because of the moon."


class Handler(BaseHTTPRequestHandler):
    @property
    def teacher(self) -> Teacher:
        assert isinstance(self.server, Teacher)
        return self.server

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][-1]["content"]
        if self.teacher.failing:
            self.teacher.failing -= 1
            return self.answer(500, {"error": {"message": "out of order"}})
        if self.teacher.refused and self.teacher.refused in asked:
            return self.answer(400, {"error": {"message": "not that word", "code": "refused"}})
        self.teacher.asked.append(asked)
        text = self.teacher.reply(asked)
        message = {"role": "assistant", "content": text}
        return self.answer(
            200,
            {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": "toy",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 7, "completion_tokens": len(text.split()), "total_tokens": 7},
            },
        )

    def answer(self, status: int, body: dict) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Teacher]:
    with Teacher() as teacher:
        thread = threading.Thread(target=teacher.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield teacher
        teacher.shutdown()
        thread.join()


@pytest.fixture
def english(toy):
    return toy.english(*SENTENCES)


def config(*tasks, teacher: str | None = "toy") -> GenerateConfig:
    return GenerateConfig(tasks=tasks, teacher=teacher, teacher_licence="MIT")


BOTH = (Rewrite(count=20, **SHAPE), QuestionAnswer(count=20, **SHAPE))


def rows(made, part: str | None = None) -> list[dict]:
    """Rows of a part, through however many files."""
    return [row for file in made.files(part) for row in pq.read_table(made.path(file)).to_pylist()]


def dropped(made) -> list[dict]:
    return rows(made, "dropped")


def test_replies_become_dialogues_or_are_dropped_with_their_reason(tmp_path: Path, english, server: Teacher):
    made = generate(tmp_path / "out", config(*BOTH), english, run=GenerateRun(engine=server.engine))
    items = list(read_items(made))
    assert len(items) + len(dropped(made)) == len(server.asked) == 40
    assert {item.generator for item in items} == {"teacher"} and {item.teacher for item in items} == {"toy"}
    for item in items:
        sentence = next(one for one in SENTENCES if one in item.prompt[0].content)
        assert item.source == f"en:{SENTENCES.index(sentence)}#0-{len(sentence)}"
        if item.task == "rewrite":
            assert item.said.startswith("Near the ") and "Sure!" not in item.said
        else:
            assert [turn.role for turn in item.messages] == ["user", "assistant"]
            assert item.prompt[0].content.endswith("?") and item.said in ("The teacher.", "The doctor.")
    reasons = Counter((row["task"], row["reason"]) for row in dropped(made))
    assert reasons.keys() == {("rewrite", "copied"), ("question_answer", "unparsed")}
    assert all("camera" in row["messages"][0]["content"] for row in dropped(made))


def test_what_it_took_is_in_the_metrics(tmp_path: Path, english, server: Teacher):
    made = generate(tmp_path / "out", config(*BOTH), english, run=GenerateRun(engine=server.engine)).manifest.metrics
    kept = made["items.rewrite"] + made["items.question_answer"]
    turned_down = made["rejected.rewrite.copied"] + made["rejected.question_answer.unparsed"]
    assert kept + turned_down == made["teacher.requests"] == 40
    assert made["missing.rewrite"] == made["rejected.rewrite.copied"]
    assert made["repaired.rewrite.preface"] == made["items.rewrite"]
    assert made["repaired.question_answer.exchange_left_out"] == made["items.question_answer"]
    assert made["teacher.prompt_tokens"] == 7 * 40
    assert made["teacher.completion_tokens"] > 40 and made["teacher.seconds"] > 0


def test_the_licence_of_a_teacher_is_stated(tmp_path: Path, english, server: Teacher):
    made = generate(tmp_path / "out", config(BOTH[0]), english, run=GenerateRun(engine=server.engine))
    assert made.spec.licences == ("CC0-1.0", "MIT")


def test_a_broken_server_costs_nothing_that_was_finished(tmp_path: Path, english, server: Teacher):
    whole = generate(tmp_path / "whole", config(*BOTH), english, run=GenerateRun(engine=server.engine))
    server.asked.clear()
    server.failing = 12  # of two attempts each: six requests fail for good
    with pytest.raises(RequestsFailed, match="requests to 'toy' failed"):
        generate(tmp_path / "out", config(*BOTH), english, run=GenerateRun(engine=server.engine))
    finished = len(server.asked)
    assert 0 < finished < 40
    made = generate(tmp_path / "out", config(*BOTH), english, run=GenerateRun(engine=server.engine))
    assert made.content == whole.content
    assert len(server.asked) == len(set(server.asked)) == 40
    assert made.manifest.metrics["teacher.cached"] == finished


def test_what_a_server_refuses_is_dropped_by_name_and_the_rest_goes_on(tmp_path: Path, english, server: Teacher):
    server.refused = "bicycle"
    made = generate(tmp_path / "out", config(BOTH[0]), english, run=GenerateRun(engine=server.engine))
    refused = [row for row in dropped(made) if row["reason"] == "failed_rejected"]
    assert refused and all("bicycle" in row["messages"][0]["content"] for row in refused)
    assert made.manifest.metrics["rejected.rewrite.failed_rejected"] == len(refused)


def test_concurrency_does_not_change_a_byte(tmp_path: Path, english, server: Teacher):
    engines = [server.engine.model_copy(update={"concurrency": count}) for count in (1, 8)]
    made = [
        generate(tmp_path / str(n), config(*BOTH), english, run=GenerateRun(engine=engine))
        for n, engine in enumerate(engines)
    ]
    assert made[0].content == made[1].content


def test_teacher_tasks_ask_for_a_teacher(tmp_path: Path, english):
    with pytest.raises(BunbukuError, match="no teacher was given") as error:
        generate(tmp_path / "out", config(BOTH[0], teacher=None), english)
    assert "--teacher" in error.value.hint


def test_a_server_that_serves_another_model_is_refused(tmp_path: Path, english, server: Teacher):
    with pytest.raises(BunbukuError, match="teacher is 'mine', and the engine of the run settings serves 'toy'"):
        generate(tmp_path / "out", config(BOTH[0], teacher="mine"), english, run=GenerateRun(engine=server.engine))


def test_rule_tasks_ask_no_teacher(tmp_path: Path, english):
    made = generate(tmp_path / "out", config(Arithmetic(count=3), teacher=None), english)
    assert [item.generator for item in read_items(made)] == ["rule:arithmetic"] * 3


# The model of these writes nonsense, so that what is tested is what becomes of nonsense.

NONSENSE = (
    Rewrite(count=12, sampling=TeacherSampling(max_tokens=24), **SHAPE),
    QuestionAnswer(count=12, sampling=TeacherSampling(temperature=1.0, max_tokens=24), **SHAPE),
    Arithmetic(count=3),
)
ONE_BY_ONE = GenerateRun(engine=TransformersEngine(batch_size=1, threads=1, device="cpu"))


def test_every_reply_of_a_real_model_is_accounted_for(tmp_path: Path, english, llama: Path):
    config = GenerateConfig(tasks=NONSENSE)
    made = generate(tmp_path / "out", config, english, teacher_file=llama, run=ONE_BY_ONE)
    metrics = made.manifest.metrics
    rejected = sum(value for name, value in metrics.items() if name.startswith("rejected."))
    items = [item for item in read_items(made) if item.generator == "teacher"]
    assert metrics["teacher.requests"] == 24 == len(items) + rejected
    assert rejected == len(dropped(made))
    assert metrics["teacher.completion_tokens"] > 0
    assert len({row["teacher"] for row in dropped(made)}) == 1


def test_batches_and_shards_of_a_model_in_this_process_do_not_change_a_byte(tmp_path: Path, toy, llama: Path):
    """S5, S8: each run asks anew, one by one or many at a time."""
    config, contents = GenerateConfig(tasks=NONSENSE), set[str]()
    for n, (batch, shards) in enumerate(((1, 1), (8, 3))):
        sentences = [
            toy.documents(0, 1)[0] | {"id": f"en:{at}", "text": text, "language": "en"}
            for at, text in enumerate(SENTENCES)
        ]
        corpus = toy.corpus(f"corpus-{n}", sentences, shards=shards)
        run = GenerateRun(engine=ONE_BY_ONE.engine.model_copy(update={"batch_size": batch}))
        made = generate(tmp_path / str(n), config, corpus, teacher_file=llama, run=run)
        assert made.manifest.metrics["teacher.requests"] == 24 and not made.manifest.metrics.get("teacher.cached")
        contents.add(made.content)
    assert len(contents) == 1


def test_a_stopped_run_goes_on_in_other_batches(tmp_path: Path, english, llama: Path):
    """S8: how many are asked at a time is circumstance; what was kept is found, and the content is the same."""
    config = GenerateConfig(tasks=NONSENSE)
    whole = generate(tmp_path / "whole", config, english, teacher_file=llama, run=ONE_BY_ONE)
    stopped = ONE_BY_ONE.model_copy(update={"budget": Budget(max_requests=9)})
    with pytest.raises(Unfinished, match="max_requests"):
        generate(tmp_path / "out", config, english, teacher_file=llama, run=stopped)
    wide = GenerateRun(engine=ONE_BY_ONE.engine.model_copy(update={"batch_size": 8}))
    made = generate(tmp_path / "out", config, english, teacher_file=llama, run=wide)
    assert made.manifest.metrics["teacher.cached"] >= 9
    assert made.content == whole.content


def test_a_stopped_run_goes_on_with_other_concurrency_and_other_shards(tmp_path: Path, english, server: Teacher):
    """S8: replies kept in a store serve a run that writes more files; its rows are the same, one after another."""
    whole = generate(tmp_path / "whole", config(*BOTH), english, run=GenerateRun(engine=server.engine))
    server.asked.clear()
    store = str(tmp_path / "store")
    stopped = GenerateRun(engine=server.engine, store=store, budget=Budget(max_requests=15))
    with pytest.raises(Unfinished, match="max_requests"):
        generate(tmp_path / "out", config(*BOTH), english, run=stopped)
    before = len(server.asked)
    assert 15 <= before < 40
    many = config(*BOTH).model_copy(update={"rows_per_shard": 7})
    run = GenerateRun(engine=server.engine.model_copy(update={"concurrency": 7}), store=store)
    made = generate(tmp_path / "out", many, english, run=run)
    assert made.manifest.metrics["teacher.cached"] == before
    assert len(server.asked) == len(set(server.asked)) == 40
    assert len(made.files()) > len(whole.files()) == 1
    assert rows(made) == rows(whole) and dropped(made) == dropped(whole)


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(tmp_path: Path, english, llama: Path):
    config = GenerateConfig(tasks=NONSENSE)
    whole = generate(tmp_path / "whole", config, english, teacher_file=llama, run=ONE_BY_ONE)
    (tmp_path / "config.toml").write_text(
        """
        tasks = [
            { type = "rewrite", count = 12, sampling = { max_tokens = 24 }, SHAPE },
            { type = "question_answer", count = 12, sampling = { temperature = 1.0, max_tokens = 24 }, SHAPE },
            { type = "arithmetic", count = 3 },
        ]
        """.replace("SHAPE", 'language = "en", min_chars = 20, max_chars = 80, max_sentences = 1')
    )
    (tmp_path / "run.toml").write_text(
        'engine = { type = "transformers", batch_size = 1, threads = 1, device = "cpu" }'
    )
    command = "import sys; from bunbuku_synth.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["generate", "config.toml", "--run", "run.toml", "--corpus", str(english.dir)]
    process = subprocess.Popen(
        [sys.executable, "-c", command, *arguments, "--teacher-file", str(llama), "--out", "out"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    while process.poll() is None and finished(tmp_path) < 3:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()
    before = finished(tmp_path)
    made = generate(tmp_path / "out", config, english, teacher_file=llama, run=ONE_BY_ONE)
    assert made.manifest.metrics["teacher.cached"] == before >= 3
    assert made.content == whole.content


def finished(folder: Path) -> int:
    """Replies that are on the disk."""
    total = 0
    for path in folder.glob(".out.*.scratch/*.sqlite"):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as rows:
            if rows.execute("SELECT count(*) FROM sqlite_master WHERE name = 'outcomes'").fetchone()[0]:
                total += rows.execute("SELECT count(*) FROM outcomes").fetchone()[0]
    return total
