"""Labels by a model: what it names is kept, what it does not name is counted, and what was asked is not asked again."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from bunbuku_contracts import Artifact, BunbukuError, Corpus
from bunbuku_corpus import GatherConfig, LabelConfig, LabelRun, gather, label
from bunbuku_corpus.labels import LabelFields, read_examples
from bunbuku_corpus.stages.label import named
from bunbuku_inference import OpenAIEngine
from pydantic import ValidationError


class Teacher(ThreadingHTTPServer):
    """Calls what has a 無料 bad, says nothing clear of what has a 謎, and is out of order as often as it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.broken_after = 1000

    @property
    def run(self) -> LabelRun:
        base = f"http://127.0.0.1:{self.server_address[1]}/v1"
        return LabelRun(
            engine=OpenAIEngine(base_url=base, served_model="toy", attempts=1, first_wait_seconds=0, concurrency=1)
        )


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Teacher)
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][-1]["content"]
        text = asked.partition("文書:\n")[2]
        if len(self.server.asked) >= self.server.broken_after:
            return self.answer(500, {"error": {"message": "out of order"}})
        self.server.asked.append(text)
        reply = "good か bad のどちらか" if "謎" in text else "「bad」です" if "無料" in text else "good"
        choice = {"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        body = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "toy",
            "choices": [choice],
            "usage": usage,
        }
        return self.answer(200, body)

    def answer(self, status: int, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def teacher() -> Iterator[Teacher]:
    with Teacher() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def corpus(tmp_path: Path) -> Artifact[Corpus]:
    texts = ["雨が降った。", "送料無料です。", "謎の文です。", "雪が積もった。", "全品無料です。"]
    rows = [{"id": f"d{n}", "text": text, "licence": "MIT", "language": "ja"} for n, text in enumerate(texts)]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return gather(tmp_path / "raw", GatherConfig(), tmp_path / "texts.jsonl")


CONFIG = LabelConfig(teacher="toy")


def test_what_the_model_names_can_be_learned_from(teacher: Teacher, corpus: Artifact[Corpus], tmp_path: Path):
    report = label(tmp_path / "labels", CONFIG, corpus, run=teacher.run)
    examples = read_examples(report.dir / "labels.jsonl", corpus, LabelFields())
    assert {one.text: one.label for one in examples} == {
        "雨が降った。": "good",
        "雪が積もった。": "good",
        "送料無料です。": "bad",
        "全品無料です。": "bad",
    }
    assert read_examples(report.dir / "labels.txt", None, LabelFields()) == examples
    assert report.manifest.metrics["unparsed"] == 1
    assert (report.manifest.metrics["label.bad"], len(teacher.asked)) == (2, 5)


def test_after_a_failure_only_the_rest_is_asked(teacher: Teacher, corpus: Artifact[Corpus], tmp_path: Path):
    teacher.broken_after = 3
    with pytest.raises(BunbukuError):
        label(tmp_path / "labels", CONFIG, corpus, run=teacher.run)
    teacher.broken_after = 1000
    label(tmp_path / "labels", CONFIG, corpus, run=teacher.run)
    assert sorted(teacher.asked) == sorted({*teacher.asked}) and len(teacher.asked) == 5


@pytest.mark.parametrize(
    ("reply", "expected"),
    [("good", "good"), ("ＧＯＯＤ。", "good"), ("very good", "very good"), ("bad/good", None), ("", None)],
)
def test_a_reply_that_names_one_label_is_that_label(reply: str, expected: str | None):
    assert named(reply, ["good", "very good", "bad"]) == expected


def test_a_model_that_nobody_named_is_one_sentence(corpus: Artifact[Corpus], tmp_path: Path):
    with pytest.raises(BunbukuError, match="the config's teacher is None and the run settings serve None"):
        label(tmp_path / "labels", LabelConfig(), corpus)


def test_a_question_without_the_text_is_refused():
    with pytest.raises(ValidationError, match=r"`question` has no \{text\}"):
        LabelConfig(question="{labels}?")
