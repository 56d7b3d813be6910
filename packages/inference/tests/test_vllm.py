"""vLLM, offline and as a server, against transformers on the same tiny checkpoint. Runs in the vLLM environment (`just vllm`)."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from bunbuku_inference import (
    EngineError,
    Failure,
    Message,
    Model,
    OpenAIEngine,
    Request,
    Sampling,
    ScoreRequest,
    TransformersEngine,
    VllmEngine,
    open_model,
)

CHAT = (Message(role="system", content="短く"), Message(role="user", content="狸とは？"))
REQUESTS = [
    Request(prompt="昔々、", sampling=Sampling(max_tokens=10)),
    Request(prompt="The kettle", sampling=Sampling(max_tokens=4)),
    Request(prompt=CHAT, sampling=Sampling(max_tokens=6)),
    Request(prompt="茶釜は", sampling=Sampling(max_tokens=90)),
]
SCORES = [
    ScoreRequest(prompt="昔々、", completion="狸のところに、山が"),
    ScoreRequest(prompt=CHAT, completion="動物です"),
    ScoreRequest(completion="昔々、あるところに"),
    ScoreRequest(prompt="おじ", completion="い"),
    ScoreRequest(completion="昔々、あるところに、おじいさんとおばあさんがいました。" * 30),
    ScoreRequest(prompt="狸", completion=""),
]
SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # Left to itself, vLLM binds the process to cores that others may be using.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}
OFFLINE = VllmEngine(dtype="float32", cpu_cache_gibibytes=1, eager=True)


def test_the_engine_that_is_not_installed_is_named(checkpoint: Path) -> None:
    if _installed():
        pytest.skip("vLLM is installed here")
    with pytest.raises(EngineError, match="the 'vllm' engine is not installed"):
        open_model(OFFLINE, checkpoint)


def test_gguf_files_are_left_to_transformers(tmp_path: Path) -> None:
    file = tmp_path / "teacher.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(EngineError, match="no model that the 'vllm' engine can open"):
        open_model(OFFLINE, file)


class Served:
    """vLLM's own server on a free port, coming up in the background; ended with all its children."""

    def __init__(self, checkpoint: Path, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.root = f"http://127.0.0.1:{port}"
        self.log = log
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint)]
        command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "tiny", "--dtype", "float32"]
        command += ["--enforce-eager", "--generation-config", "vllm"]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, env=os.environ | SETTINGS, start_new_session=True
            )

    def wait(self) -> None:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                pytest.fail(f"the server ended by itself:\n{self.log.read_text(errors='replace')[-4000:]}")
            with suppress(OSError), urllib.request.urlopen(f"{self.root}/health", timeout=2) as reply:
                if reply.status == 200:
                    return
            time.sleep(0.2)
        pytest.fail(f"the server did not come up:\n{self.log.read_text(errors='replace')[-4000:]}")

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="module")
def served(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(checkpoint, tmp_path_factory.mktemp("server") / "log.txt")
    yield served
    served.end()


@pytest.fixture(scope="module")
def offline(checkpoint: Path, served: Served) -> Iterator[Model]:
    """vLLM in this process. Both take long to import, so the server starts meanwhile."""
    assert served.process.poll() is None
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        with open_model(OFFLINE, checkpoint) as model:
            yield model


@pytest.fixture(scope="module")
def server(served: Served) -> OpenAIEngine:
    served.wait()
    return OpenAIEngine(base_url=f"{served.root}/v1", served_model="tiny", timeout_seconds=60)


@pytest.mark.vllm
def test_vllm_offline_says_what_transformers_says(offline: Model, checkpoint: Path) -> None:
    assert_equal_to_transformers(offline, checkpoint)


@pytest.mark.vllm
@pytest.mark.timeout(280)
def test_a_vllm_server_says_what_transformers_says(server: OpenAIEngine, checkpoint: Path) -> None:
    with open_model(server, None) as model:
        assert_equal_to_transformers(model, checkpoint)


@pytest.mark.vllm
def test_a_seed_decides_what_vllm_draws(offline: Model) -> None:
    drawn = Sampling(temperature=1.0, max_tokens=8)
    asked = [Request(prompt="昔々", sampling=drawn, seed=seed) for seed in (1, 2, 3)]
    together = offline.generate(asked)
    assert together == [offline.generate([one])[0] for one in asked]
    assert len({answer.text for answer in together}) == 3


@pytest.mark.vllm
@pytest.mark.timeout(280)
def test_a_prompt_that_fills_the_context_fails_alone(offline: Model, server: OpenAIEngine) -> None:
    asked = [Request(prompt="a" * 400), Request(prompt="狸", sampling=Sampling(max_tokens=2))]
    with open_model(server, None) as served:
        for model in (offline, served):
            long, short = model.try_generate(asked)
            assert isinstance(long, Failure) and long.reason == "too_long", long
            assert not isinstance(short, Failure)


def assert_equal_to_transformers(model: Model, checkpoint: Path) -> None:
    stop = Request(prompt="昔々、", sampling=Sampling(max_tokens=10))
    with open_model(TransformersEngine(threads=1, device="cpu"), checkpoint) as reference:
        text = reference.generate([stop])[0].text
        asked = [*REQUESTS, stop.model_copy(update={"sampling": Sampling(max_tokens=10, stop=(text[3:5],))})]
        if isinstance(model, Model) and model.digest is None:
            # A server refuses to begin what may not fit into the context; the engines in process stop at its end.
            asked.remove(REQUESTS[3])
        answers, scores = reference.generate(asked), reference.score(SCORES)
    assert model.generate(asked) == answers
    found = model.score(SCORES)
    assert [score.tokens for score in found] == [score.tokens for score in scores]
    assert [score.logprob for score in found] == pytest.approx([score.logprob for score in scores], rel=1e-4, abs=1e-3)


def _installed() -> bool:
    from importlib.util import find_spec

    return find_spec("vllm") is not None
