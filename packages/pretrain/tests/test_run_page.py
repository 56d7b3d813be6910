import io
import logging
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from bunbuku_contracts import Architecture, Draft, Experts
from bunbuku_pretrain import AdamW, ModelShape, TrainConfig, TrainRun, run_page, terminal
from bunbuku_pretrain import observations as seen
from bunbuku_pretrain.job import Job, LayerMixture, Mixture, StepRecord, cut_history, history_file, line_of
from bunbuku_pretrain.observations import Evaluation, Event, Sample, Statistics, Watch
from bunbuku_pretrain.story import Story
from bunbuku_pretrain.watching import Watcher
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

BATCH = 1024
SHAPE = ModelShape(layers=3, hidden_size=32, ffn_size=64, heads=4, kv_heads=2)


def job(scratch: Path, **watch: object) -> Job:
    """As much of a job as a story asks for."""
    config = TrainConfig(
        model=SHAPE,
        sequence_length=64,
        batch_tokens=BATCH,
        total_tokens=200 * BATCH,
        optimizer=AdamW(learning_rate=1e-3),
    )
    architecture = Architecture(
        **SHAPE.model_dump(exclude={"initial_std"}), vocab_size=256, experts=Experts(count=2, active=2)
    )
    settings = TrainRun(watch=Watch.model_validate(watch))
    return Job.model_construct(
        config=config, settings=settings, architecture=architecture, scratch=scratch, log=scratch / "draft" / "log"
    )


def record(step: int, loss: float = 3.0) -> StepRecord:
    return StepRecord(
        step=step,
        tokens=step * BATCH,
        batch_tokens=BATCH,
        loss=loss,
        gradient_norm=loss / 10,
        learning_rate=1e-3,
        seconds=0.5,
        validation_loss=loss + 0.1 if step % 10 == 0 else None,
        mixture=Mixture(
            balance=1.1,
            z_loss=2.0,
            least_load=0.8,
            most_load=1.2,
            entropy=1.3,
            max1_max2=1.6,
            dead=1,
            layers=(LayerMixture(load=(0.8, 1.2), entropy=1.3, max1_max2=1.6),) * 3,
        ),
    )


def statistics(step: int) -> Statistics:
    row = (0.1, 0.2, 0.3, 0.4, 0.5)
    return Statistics(
        step=step,
        tokens=step * BATCH,
        gradient_norm=row,
        weight_norm=row,
        update_ratio=row,
        activation_rms=row,
        activation_max=row,
        root_moment_max=row,
        steep_share=row,
        root_moment_quantiles=row,
        memory_bytes=2**30,
        seconds=0.0,
    )


def write(scratch: Path, *records: StepRecord) -> None:
    with history_file(scratch).open("a", encoding="utf-8") as history:
        history.writelines(line_of(one) + "\n" for one in records)


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """Sixty steps with a spike, a NaN and a restart."""
    told = Story("tanuki", job(tmp_path, device_peak_tflops=0.001))
    write(
        tmp_path,
        StepRecord(step=0, tokens=0, validation_loss=5.5),
        *(record(n, 9.0 if n == 30 else 3.0) for n in range(1, 61)),
    )
    for step in (20, 40, 60):
        seen.append(seen.statistics_file(tmp_path), statistics(step))
    for kind, step, text in (
        ("spike", 30, "the loss 9 is 8.1 sigma from 3"),
        ("nan", 41, "the loss of step 41 is nan"),
        ("restart", 50, f"1 rank, from the state after step 50; {tmp_path}/draft/log/rank-0.log says why"),
    ):
        seen.append(seen.events_file(tmp_path), Event(time=1e9, step=step, kind=kind, text=text))
    seen.append(seen.samples_file(tmp_path), Sample(step=50, prompt="吾輩は", ids=(65, 66)))
    seen.append(
        seen.evaluations_file(tmp_path),
        Evaluation(step=40, tokens=40 * BATCH, status=0, seconds=1, metrics={"jcqa.accuracy": 0.25}),
    )
    told.look()
    return told


class Reader(HTMLParser):
    """Tags that were opened, with their attributes, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_spike_a_nan_and_a_restart_are_seen_in_the_page(story: Story):
    page = Reader(run_page.html(story, texts=lambda ids: "".join(map(chr, ids))))
    marks = [attributes for tag, attributes in page.tags if tag == "g" and "mark" in (attributes.get("class") or "")]
    for kind, step in (("spike", 30), ("nan", 41), ("restart", 50)):
        assert {mark["data-at"] for mark in marks if f"k-{kind}" in (mark["class"] or "")} == {str(float(step * BATCH))}
        assert kind in page.text
    assert "the loss 9 is 8.1 sigma from 3" in page.text
    assert "; log/rank-0.log says why" in page.text  # as it lies in the artifact
    titles = (
        "Loss",
        "Gradient norm",
        "Learning rate",
        "Throughput",
        "MFU",
        "Loads of experts",
        "Memory",
        "jcqa.accuracy",
    )
    assert all(title in page.text for title in titles)
    assert "吾輩はAB" in page.text
    assert sum(tag == "svg" and "heat" in (attributes.get("class") or "") for tag, attributes in page.tags) == 9


def test_the_page_asks_for_nothing_and_reloads_only_while_the_run_goes(story: Story):
    going = run_page.html(story)
    story.ended = "done"
    ended = Reader(run_page.html(story))
    assert "default-src 'none'" in going
    addresses = [value for tag, found in Reader(going).tags for name, value in found.items() if name in ("src", "href")]
    assert addresses and all((value or "").startswith("data:") for value in addresses)
    assert ("body", {"data-every": "20"}) in Reader(going).tags
    assert ("body", {}) in ended.tags


def test_no_text_of_a_run_becomes_markup(tmp_path: Path):
    hostile = "</script><script>alert('x')</script><img src=x onerror=alert(1)>"
    story = Story(hostile, job(tmp_path, sample_prompts=(hostile,)))
    write(tmp_path, record(1), record(2))
    seen.append(seen.events_file(tmp_path), Event(time=1e9, step=1, kind=hostile, text=hostile))
    seen.append(seen.samples_file(tmp_path), Sample(step=1, prompt=hostile, ids=(1,)))
    seen.append(
        seen.evaluations_file(tmp_path), Evaluation(step=1, tokens=BATCH, status=0, seconds=1, metrics={hostile: 1.0})
    )
    story.look()
    page = Reader(run_page.html(story, texts=lambda _: hostile))
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not [tag for tag, found in page.tags if tag == "img" or "onerror" in found]


def test_a_page_can_be_drawn_before_anything_has_happened(tmp_path: Path):
    story = Story("tanuki", job(tmp_path))
    story.look()
    assert "0 <small>of 200</small>" in run_page.html(story)
    assert terminal.note(story) == ""


def test_a_run_that_goes_back_is_told_as_it_is_then(story: Story, tmp_path: Path):
    assert len(story.records) == 61
    write(tmp_path, record(61))
    assert not story.look() and story.step == 61
    cut_history(tmp_path, after_step=30)
    assert story.look()
    assert story.step == 30 and [one.step for one in story.statistics] == [20] and not story.samples
    assert len(story.events) == 3  # what happened, happened
    write(tmp_path, record(31))
    assert not story.look() and story.step == 31


def test_half_a_line_waits_for_the_other_half(story: Story, tmp_path: Path):
    line = line_of(record(61)) + "\n"
    with history_file(tmp_path).open("a", encoding="utf-8") as history:
        history.write(line[:20])
        history.flush()
        story.look()
        assert story.step == 60
        history.write(line[20:])
    story.look()
    assert story.step == 61


def test_speed_and_time_left_and_mfu_are_those_of_the_last_steps(story: Story):
    assert story.tokens_per_second == pytest.approx(BATCH / 0.5)
    assert story.seconds_left == pytest.approx(140 * 0.5)
    needed = story.architecture.flops_per_token(64)
    assert story.mfu(2048) == pytest.approx(2048 * needed / 1e9)


def test_the_terminal_shows_what_the_page_does(story: Story):
    screen = Console(file=io.StringIO(), width=110)
    screen.print(terminal.panel(story, clock=lambda: 1e9 + 120))
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert re.search(r"loss +3\.0000 +▁+█▁", shown)
    assert re.search(r"spikes 1 +NaN 1 +skipped steps 0 +rollbacks 0 +restarts 1", shown)
    assert re.search(r"step 41 nan +the loss of step 41 is nan +2 min ago", shown)
    assert "2.05k tokens/s" in shown and "MFU" in shown and "1.0 GiB" in shown
    assert terminal.note(story).startswith("loss 3.0000, validation 3.1000, gradient norm 0.3, 2.05k tokens/s")
    assert terminal.note(story).endswith("1 spikes, 1 NaN, 1 restarts")


def test_a_name_with_brackets_is_no_markup_of_the_terminal(story: Story):
    story.name = "run[/bold][red]"
    screen = Console(file=io.StringIO(), width=110)
    screen.print(terminal.panel(story))
    assert "run[/bold][red]" in screen.file.getvalue()  # type: ignore[attr-defined]


def test_numbers_that_are_not_finite_do_not_stop_the_page(story: Story, tmp_path: Path):
    seen.append(
        seen.evaluations_file(tmp_path), Evaluation(step=50, tokens=1, status=0, seconds=1, metrics={"x": 1e308})
    )
    with seen.statistics_file(tmp_path).open("a", encoding="utf-8") as lines:
        lines.write(statistics(80).model_copy(update={"gradient_norm": (math.inf,) * 5}).model_dump_json() + "\n")
    story.look()
    assert "Layer by layer" in run_page.html(story)


def test_the_page_is_drawn_while_the_run_goes_and_after_a_rollback_tensorboard_tells_one_story(tmp_path: Path):
    (tmp_path / "draft").mkdir()
    write(tmp_path, *(record(n) for n in range(1, 31)))
    draft = Draft(tmp_path / "draft", tmp_path)
    watcher = Watcher(draft, "tanuki", job(tmp_path, page_interval_seconds=1e-6), texts=str)
    watcher.look()
    page = draft.log / "run.html"
    assert "30 <small>of 200" in page.read_text() and "data-every" in page.read_text()
    cut_history(tmp_path, after_step=20)
    write(tmp_path, record(21, loss=1.0))
    watcher.close("stopped")
    assert "21 <small>of 200" in page.read_text() and ">stopped<" in page.read_text()
    events = EventAccumulator(str(draft.log / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")][-2:] == [(20, 3.0), (21, 1.0)]
    assert (draft.log / "history.jsonl").read_text().count("\n") == 21
    assert not list(draft.log.glob(".*"))


def test_a_page_that_cannot_be_written_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "draft").mkdir()
    draft = Draft(tmp_path / "draft", tmp_path)
    (draft.log / "run.html").mkdir()
    write(tmp_path, record(1))
    with caplog.at_level(logging.WARNING):
        Watcher(draft, "tanuki", job(tmp_path), texts=str).close("done")
    assert "the page of the run could not be drawn" in caplog.text
    assert not list(draft.log.glob(".*"))


@pytest.mark.chromium
def test_a_browser_reads_values_and_looks_closer(story: Story, tmp_path: Path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here")
    moves = """<script>
      const charts = [...document.querySelectorAll("svg.chart")];
      const fire = (svg, kind, x, y) => {
        const box = svg.getBoundingClientRect(), at = { clientX: box.left + box.width * x, clientY: box.top + box.height * y };
        svg.dispatchEvent(new PointerEvent(kind, { ...at, bubbles: true }));
      };
      fire(charts[0], "pointerdown", 0.4, 0.5); fire(charts[0], "pointermove", 0.6, 0.5); fire(charts[0], "pointerup", 0.6, 0.5);
      fire(document.querySelector("svg.heat"), "pointermove", 0.5, 0.3);
    </script></body>"""
    page = tmp_path / "page.html"
    page.write_text(run_page.html(story).replace("</body>", moves))
    quiet = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
    rest = ("--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'browser'}")
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", *quiet, *rest, "--enable-logging=stderr", "--v=0", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    assert re.search(r'<text class="readout"[^>]*>layer \d  0\.\d+</text>', done.stdout)
    assert re.search(r'<text class="readout"[^>]*>training  (3|2\.99\d|3\.00\d)</text>', done.stdout)
    assert '<button type="button" class="back">' in done.stdout  # no longer hidden: it shows a part
    ticks = re.search(r'class="x-ticks"[^>]*>(.*?)</g>', done.stdout)
    assert ticks and ">0<" not in ticks[1] and "k<" in ticks[1]
