"""vLLM, offline and as a server, against transformers on the same tiny checkpoint. Runs in the vLLM environment (`just vllm`)."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal

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
    read_json,
    schema_of,
)
from bunbuku_inference.cache import Cache
from bunbuku_inference.model import Finished
from pydantic import BaseModel

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
_COMES_UP_WITHIN_SECONDS = 2400
"""It takes one minute alone, and many times that on a machine that is busy."""
OFFLINE = VllmEngine(dtype="float32", cpu_cache_gibibytes=1, eager=True, max_sequences=4)


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
        command += ["--enforce-eager", "--generation-config", "vllm", "--structured-outputs-config"]
        command += ['{"backend": "xgrammar", "disable_any_whitespace": true}']
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, env=os.environ | SETTINGS, start_new_session=True
            )

    def wait(self) -> None:
        deadline = time.monotonic() + _COMES_UP_WITHIN_SECONDS
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
@pytest.mark.timeout(_COMES_UP_WITHIN_SECONDS + 100)
def test_vllm_offline_says_what_transformers_says(offline: Model, checkpoint: Path) -> None:
    assert_equal_to_transformers(offline, checkpoint)


@pytest.mark.vllm
@pytest.mark.timeout(_COMES_UP_WITHIN_SECONDS + 100)
def test_a_vllm_server_says_what_transformers_says(server: OpenAIEngine, checkpoint: Path) -> None:
    with open_model(server, None) as model:
        assert_equal_to_transformers(model, checkpoint)


@pytest.mark.vllm
@pytest.mark.timeout(_COMES_UP_WITHIN_SECONDS + 100)
def test_a_seed_decides_what_vllm_draws(offline: Model) -> None:
    drawn = Sampling(temperature=1.0, max_tokens=8)
    asked = [Request(prompt="昔々", sampling=drawn, seed=seed) for seed in (1, 2, 3)]
    together = offline.generate(asked)
    assert together == [offline.generate([one])[0] for one in asked]
    assert len({answer.text for answer in together}) == 3


class Sighting(BaseModel):
    animal: Literal["狸", "狐"]
    at_night: bool


@pytest.mark.vllm
@pytest.mark.timeout(_COMES_UP_WITHIN_SECONDS + 100)
def test_replies_are_held_to_a_schema_token_by_token(offline: Model, server: OpenAIEngine) -> None:
    """A model of random weights would not write JSON by itself, and nothing has to be mended."""
    free = [Request(prompt=CHAT, sampling=Sampling(max_tokens=80, temperature=1.0), seed=seed) for seed in (1, 2, 3)]
    held = [one.model_copy(update={"reply_schema": schema_of(Sighting)}) for one in free]
    with open_model(server, None) as served:
        for model in (offline, served):
            assert all(read_json(answer.text, Sighting).value is None for answer in model.generate(free))
            for answer in model.generate(held):
                value, repairs = read_json(answer.text, Sighting)
                assert value is not None and not repairs and answer.finish == "stop", answer
    short = Request(prompt="狸", sampling=Sampling(max_tokens=2))
    refused, answered = offline.try_generate([short.model_copy(update={"reply_schema": '{"type": "x"}'}), short])
    assert isinstance(refused, Failure) and refused.reason == "rejected", refused
    assert not isinstance(answered, Failure)


@pytest.mark.vllm
@pytest.mark.timeout(_COMES_UP_WITHIN_SECONDS + 100)
def test_what_is_finished_is_stored_while_a_long_text_is_still_written(offline: Model, tmp_path: Path) -> None:
    """Four at a time, and the first of them longest of all: the others pass through beside it."""
    long = Request(prompt="茶釜は", sampling=Sampling(max_tokens=80))
    short = [Request(prompt=f"狸{number}", sampling=Sampling(max_tokens=1)) for number in range(150)]
    offline.keep_in(tmp_path / "kept.sqlite")
    stored: list[tuple[int, bool]] = []

    def look(_: int) -> None:
        with closing(Cache(tmp_path / "kept.sqlite")) as kept:
            keys = [offline._key(one) for one in (long, *short)]
            found = kept.read(keys)
            stored.append((len(found), keys[0] in found))

    answers = offline.generate([long, *short], progress=look)
    assert answers[0].completion_tokens > 60 and len(answers) == 151
    assert max(count for count, long_is_kept in stored if not long_is_kept) >= 60, stored
    assert stored[-1] == (151, True)


@pytest.mark.vllm
@pytest.mark.timeout(_COMES_UP_WITHIN_SECONDS + 100)
def test_a_halt_begins_nothing_more_and_gives_out_what_was_under_way(offline: Model) -> None:
    asked = [Request(prompt=f"狐{number}", sampling=Sampling(max_tokens=2)) for number in range(300)]
    outcomes: list[Finished] = []
    sizes: list[int] = []
    for group in offline._backend.generate(asked, halted=lambda: bool(outcomes)):
        outcomes.extend(group)
        sizes += [len(group)] if group else []
    numbers = [done.index for done in outcomes]
    assert len(numbers) == len(set(numbers)) and 0 < sum(sizes[1:]) <= 4 + 16  # four at once, and those that wait there
    assert not any(isinstance(done.outcome, Failure) for done in outcomes)


@pytest.mark.vllm
@pytest.mark.timeout(_COMES_UP_WITHIN_SECONDS + 100)
def test_a_call_that_is_given_up_leaves_nothing_behind(offline: Model) -> None:
    asked = [Request(prompt=f"鶴{number}", sampling=Sampling(max_tokens=4)) for number in range(100)]
    groups = offline._backend.generate(asked, halted=lambda: False)
    assert next(groups) == [] and next(groups)
    groups.close()
    again = offline.generate(asked[:5])
    assert [answer.prompt_tokens for answer in again] == [offline.generate([one])[0].prompt_tokens for one in asked[:5]]


@pytest.mark.vllm
@pytest.mark.timeout(_COMES_UP_WITHIN_SECONDS + 100)
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
