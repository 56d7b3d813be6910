"""Runs with real engines, killed at twenty random moments each: nothing lost, nothing twice, the same bytes in the end (S1, S2, S9)."""

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from bunbuku_contracts import Artifact, Corpus, Dialogues, load
from bunbuku_inference import OpenAIEngine, TransformersEngine, VllmEngine
from bunbuku_synth import GenerateConfig, GenerateRun, read_items
from bunbuku_synth.tasks import Arithmetic, Rewrite
from bunbuku_synth.tasks.teaching import TeacherSampling

ROOT = Path(__file__).parents[3]
SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1",
}
KILLS = int(os.environ.get("BUNBUKU_KILLS", "20"))
TEXTS = [
    f"The {who} {did} a {thing} near the {place} in the {when}."
    for who, did in (("teacher", "sold"), ("doctor", "lost"), ("farmer", "found"))
    for thing in ("letter", "camera", "bicycle", "piano")
    for place in ("station", "library", "river")
    for when in ("spring", "winter", "morning", "night")
]


def write_job(
    folder: Path, corpus: Artifact[Corpus], run: GenerateRun, *, count: int, weights: Path | None, max_tokens: int = 10
) -> list[str]:
    """The command that does it."""
    shape: dict[str, Any] = {"language": "en", "min_chars": 20, "max_chars": 90, "max_sentences": 1}
    rewrite = Rewrite(count=count, sampling=TeacherSampling(max_tokens=max_tokens), **shape)
    config = GenerateConfig(tasks=(Arithmetic(count=5), rewrite), teacher="tiny")
    job = {
        "weights": str(weights) if weights else None,
        "corpus": str(corpus.dir),
        "config": config.model_dump(mode="json"),
        "run": run.model_dump(mode="json"),
    }
    (folder / "job.json").write_text(json.dumps(job))
    return [sys.executable, str(Path(__file__).with_name("forks.py")), str(folder / "job.json")]


class Forks:
    """Runs of one job, each in a process that can be killed."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | SETTINGS,
        )
        assert self._said() == "ready"

    def begin(self, out: Path) -> int:
        """Its process id."""
        assert self.process.stdin
        self.process.stdin.write(f"{out}\n")
        self.process.stdin.flush()
        return int(self._said())

    def end(self) -> int:
        """How it ended."""
        return int(self._said())

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(60)

    def _said(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()


def stored(folder: Path) -> list[str]:
    """Keys of the replies that a killed run has kept."""
    found: list[str] = []
    for path in folder.glob(".out.*/**/*.sqlite"):
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as rows:
            found += [key for (key,) in rows.execute("SELECT key FROM outcomes")]
    return found


def kill_and_compare(folder: Path, forks: Forks, asked: int) -> None:
    """Kill at random moments, let it finish, and hold it to a run that was left alone."""
    forks.begin(folder / "whole")
    assert forks.end() == 0
    whole, draw, killed = load(folder / "whole", Dialogues), random.Random(11), 0
    for number in range(KILLS):
        before = stored(folder)
        # Most moments are between replies; of the last ones some are while the artifact is written.
        goal = len(before) + draw.randint(0, max(1, (asked - len(before)) // (KILLS - number) + 1))
        process = forks.begin(folder / "out")
        while len(stored(folder)) < min(goal, asked) and Path(f"/proc/{process}").exists():
            time.sleep(0.01)
        time.sleep(draw.random() * 0.2)
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        ended = forks.end()
        assert ended in (-signal.SIGKILL, 0)
        killed += ended == -signal.SIGKILL
        assert set(before) <= set(stored(folder)) or (folder / "out").exists()
    # Those that came after the artifact was there would show nothing.
    assert killed >= KILLS * 3 // 4
    forks.begin(folder / "out")
    assert forks.end() == 0
    made = load(folder / "out", Dialogues)
    assert made.content == whole.content
    assert [file.sha256 for file in made.files()] == [file.sha256 for file in whole.files()]
    assert [file.sha256 for file in made.files("dropped")] == [file.sha256 for file in whole.files("dropped")]
    ids = [item.id for item in read_items(made)]
    assert len(ids) == len(set(ids))
    # What a kill cost is asked again, and nothing that was kept: the account of all processes is that of one.
    tokens = "cost.completion_tokens"
    assert made.manifest.metrics[tokens] == whole.manifest.metrics[tokens] > 0


@pytest.fixture
def english(toy: Any) -> Artifact[Corpus]:
    return toy.english(*TEXTS)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_twenty_kills_of_transformers_with_a_real_model_change_no_byte(tmp_path: Path, english: Any) -> None:
    """S1 with SmolLM2-135M-Instruct, as the tiny run fetches it."""
    pytest.importorskip("transformers")
    fetched = subprocess.run(
        [sys.executable, str(ROOT / "runs/fetch.py"), "teacher"], capture_output=True, text=True, check=False
    )
    if fetched.returncode:
        pytest.skip(f"the weights cannot be had: {fetched.stderr[-300:]}")
    engine = TransformersEngine(device="cpu", batch_size=1)
    run, weights = GenerateRun(engine=engine), Path(fetched.stdout.strip())
    forks = Forks(tmp_path, write_job(tmp_path, english, run, count=30, weights=weights))
    kill_and_compare(tmp_path, forks, 30)
    forks.close()


@pytest.fixture(scope="module")
def vllm_server(tmp_path_factory: pytest.TempPathFactory, wide_llama: Path) -> Iterator[str]:
    """vLLM's server with a tiny checkpoint; its address."""
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed here")
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(wide_llama)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "tiny", "--dtype", "float32"]
    command += ["--enforce-eager", "--generation-config", "vllm", "--max-model-len", "1024"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=output, env=os.environ | SETTINGS, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 2400
        while not _is_up(port):
            assert server.poll() is None, log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline, "the server did not come up"
            time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _is_up(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as reply:
        return reply.status == 200
    return False


@pytest.mark.vllm
@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("concurrency", [1, 8])
def test_twenty_kills_beside_a_vllm_server_change_no_byte(
    tmp_path: Path, english: Any, vllm_server: str, concurrency: int
) -> None:
    """S1 with vLLM's server on the CPU, greedy, in 32-bit numbers; the server lives on and sees clients vanish."""
    engine = OpenAIEngine(base_url=vllm_server, served_model="tiny", concurrency=concurrency, timeout_seconds=120)
    forks = Forks(tmp_path, write_job(tmp_path, english, GenerateRun(engine=engine), count=120, weights=None))
    kill_and_compare(tmp_path, forks, 120)
    forks.close()


@pytest.mark.vllm
@pytest.mark.long
@pytest.mark.timeout(7200)
def test_twenty_kills_of_vllm_in_this_process_change_no_byte(tmp_path: Path, english: Any, wide_llama: Path) -> None:
    """S1 with vLLM's offline engine on the CPU, greedy, in 32-bit numbers, four texts at once."""
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed here")
    engine = VllmEngine(dtype="float32", cpu_cache_gibibytes=1, eager=True, max_sequences=4, max_context_tokens=1024)
    command = write_job(tmp_path, english, GenerateRun(engine=engine), count=140, weights=wide_llama, max_tokens=60)
    forks = Forks(tmp_path, command)
    kill_and_compare(tmp_path, forks, 140)
    forks.close()
