"""What a judge's scores are worth, with judges behind a real server that know, that guess, and that err."""

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from bunbuku_contracts import BunbukuError, read_sections
from bunbuku_inference import OpenAIEngine
from bunbuku_synth import CalibrateConfig, CalibrateRun, calibrate
from bunbuku_synth.calibrate import advised, auc, calibration_error, chance_by_score
from hypothesis import given
from hypothesis import strategies as st


class Judge(BaseHTTPRequestHandler):
    """Scores by the digits at the end of an answer: `knows` takes the first, `guesses` the second, `errs` is silent now and then."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked = body["messages"][-1]["content"]
        found = re.search(r"\((\d)(\d)\)", asked)
        assert found
        score = found[1] if body["model"] == "knows" else found[2]
        text = "分かりません。" if body["model"] == "errs" and score == "1" else f'{{"reason": "", "score": {score}}}'
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
        data = json.dumps({"id": "1", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Judge)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """200 items: good ones have 4 or 5 as their first digit, bad ones 1 to 3, one in ten of either the other way round."""
    rows: list[dict[str, Any]] = []
    for n in range(200):
        good = n % 2 == 0
        first = 4 + n // 2 % 2 if good != (n % 20 in (0, 1)) else 1 + n // 2 % 3
        rows.append({"question": f"{n}番は？", "answer": f"答え({first}{1 + n // 2 % 5})", "good": good})
    (tmp_path / "labelled.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    return tmp_path / "labelled.jsonl"


def judged(tmp_path: Path, labelled: Path, address: str, model: str, **settings: Any) -> Any:
    engine = OpenAIEngine(base_url=address, served_model=model, first_wait_seconds=0.01)
    config = CalibrateConfig(judge=model, **settings)
    return calibrate(tmp_path / model, config, labelled, run=CalibrateRun(engine=engine))


def test_a_judge_that_knows_gets_a_threshold(tmp_path: Path, labelled: Path, address: str):
    made = judged(tmp_path, labelled, address, "knows", precision=0.8)
    metrics, found = made.manifest.metrics, json.loads((made.dir / "calibration.json").read_text())
    assert metrics["auc"] == pytest.approx(0.9, abs=0.05) and metrics["calibration_error"] < 0.05
    assert metrics["at_least"] == found["at_least"] == 4 and found["judge"] == "knows"
    assert found["chances"]["3"] < 0.25 < 0.75 < found["chances"]["4"] <= found["chances"]["5"]
    [section] = read_sections(made)
    assert sum(int(str(row[1])) for row in section.tables[0].rows) == 200 and "`at_least = 4`" in section.paragraphs[0]
    assert metrics["judge.requests"] == 200


def test_a_judge_that_guesses_gets_none(tmp_path: Path, labelled: Path, address: str):
    made = judged(tmp_path, labelled, address, "guesses")
    assert made.manifest.metrics["auc"] == pytest.approx(0.5) and made.manifest.metrics["at_least"] == 0
    assert "no score" in read_sections(made)[0].paragraphs[0]


def test_replies_without_a_score_are_counted_and_not_taken_for_one(tmp_path: Path, labelled: Path, address: str):
    made = judged(tmp_path, labelled, address, "errs")
    assert made.manifest.metrics["unparsed"] == 40
    assert read_sections(made)[0].tables[0].rows[0][1] == 0


def test_labels_that_are_none_or_all_alike_are_refused(tmp_path: Path, address: str):
    path = tmp_path / "labels.jsonl"
    for text, problem in (
        (
            '{"question": "?", "answer": "(55)", "good": true}\n{"question": "?"}',
            r"labels.jsonl:2: answer: Field required",
        ),
        ("", "is empty"),
        ('{"question": "?", "answer": "(55)", "good": true}', "all of these are labelled alike"),
    ):
        path.write_text(text)
        with pytest.raises(BunbukuError, match=problem):
            judged(tmp_path, path, address, "knows")


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1))
def test_chances_never_fall_and_lie_within_what_was_seen(scored: list[tuple[int, bool]]):
    chances = list(chance_by_score(scored).values())
    assert chances == sorted(chances) and all(0 < chance < 1 for chance in chances)
    turned = [(6 - score, not good) for score, good in scored]
    assert list(chance_by_score(turned).values()) == pytest.approx([1 - chance for chance in reversed(chances)])
    if len({good for _, good in scored}) == 2:
        assert auc(scored) == pytest.approx(auc(turned))
        assert 0 <= calibration_error(scored, folds=3) <= 1


def test_the_advice_rests_on_the_lower_end_of_the_interval():
    assert advised([(5, True)] * 30, 0.9) is None and advised([(5, True)] * 40, 0.9) == 1
