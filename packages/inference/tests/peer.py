"""A real HTTP server that speaks OpenAI's protocol and can be told to misbehave.

Its model has one token a character. It answers with the prompt turned round, and gives the n-th token of a text
the log-probability -n/10, so that what a client adds up can be checked by hand.
"""

import json
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BOS = 0
MAX_MODEL_LEN = 41


class Peer(ThreadingHTTPServer):
    """Serves on a free port of the loopback interface while it is open."""

    daemon_threads = True

    def __init__(self, *, tokenizes: bool = True, echoes: bool = True, key: str | None = None, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.tokenizes, self.echoes, self.key = tokenizes, echoes, key
        self.faults: deque[Any] = deque()
        """What the next requests for text meet instead of an answer: (status, body, headers), seconds to hang, or `half`."""
        self.answered: list[dict[str, Any]] = []
        """Texts that were sent whole, with what they used."""
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.under_way = self.most_under_way = 0
        self.delay_seconds = 0.0
        self.streams, self.breaks = True, False
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __exit__(self, *args: Any) -> None:
        self.shutdown()
        super().__exit__(*args)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is part of the game."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Peer  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        peer = self.server
        with peer.lock:
            peer.seen.append((self.path, body))
            peer.under_way += 1
            peer.most_under_way = max(peer.most_under_way, peer.under_way)
            fault = peer.faults.popleft() if peer.faults and self.path != "/tokenize" else None
        try:
            time.sleep(peer.delay_seconds)
            if peer.key and self.headers["authorization"] != f"Bearer {peer.key}":
                self.reply(401, {"error": {"message": "no such key", "code": "invalid_api_key"}})
            elif isinstance(fault, int | float):
                time.sleep(fault)
                self.close_connection = True
            elif fault == "half":
                self.send_response(200)
                self.send_header("content-length", "1000")
                self.end_headers()
                self.wfile.write(b'{"choices": [{"te')
                self.close_connection = True
            elif fault:
                self.reply(*fault)
            else:
                self.answer(body)
        finally:
            with peer.lock:
                peer.under_way -= 1

    def reply(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def stream(self, body: dict[str, Any], prompt: str, field: str) -> None:
        """A character an event; a peer that `breaks` ends in the middle, once."""
        said, finish = written(prompt, body)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.end_headers()
        self.close_connection = True
        half, self.server.breaks = self.server.breaks, False
        for n, c in enumerate(said):
            if half and n == len(said) // 2:
                return
            piece = {"delta": {"content": c}} if field == "delta" else {"text": c}
            self.event({"choices": [{"index": 0, "finish_reason": None, **piece}]})
        self.event({"choices": [{"index": 0, "finish_reason": finish, "delta": {}}]})
        if body.get("stream_options", {}).get("include_usage"):
            self.event({"choices": [], "usage": usage(prompt if field == "text" else rendered(body), said)})
        self.wfile.write(b"data: [DONE]\n\n")

    def event(self, event: object) -> None:
        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.flush()
        time.sleep(self.server.delay_seconds)

    def answer(self, body: dict[str, Any]) -> None:
        if body.get("model") != "tiny":
            self.reply(404, {"error": {"message": f"The model {body.get('model')!r} does not exist", "code": 404}})
        elif self.path == "/tokenize" and self.server.tokenizes:
            ids = tokens(rendered(body) if "messages" in body else body["prompt"])
            self.reply(200, {"tokens": ids, "count": len(ids), "max_model_len": MAX_MODEL_LEN})
        elif body.get("stream") and self.server.streams:
            if "messages" in body:
                self.stream(body, "".join(turn["content"] for turn in body["messages"]), "delta")
            else:
                self.stream(body, body["prompt"], "text")
        elif self.path == "/v1/chat/completions":
            said, finish = written("".join(turn["content"] for turn in body["messages"]), body)
            choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": finish}
            self.server.answered.append(usage(rendered(body), said))
            self.reply(200, {"id": "x", "choices": [choice], "usage": usage(rendered(body), said)})
        elif self.path == "/v1/completions":
            self.complete(body)
        else:
            self.reply(404, {"detail": "Not Found"})

    def complete(self, body: dict[str, Any]) -> None:
        prompt = body["prompt"]
        if isinstance(prompt, list):
            if len(prompt) >= MAX_MODEL_LEN:
                self.reply(
                    400, {"error": {"message": f"maximum context length is {MAX_MODEL_LEN} tokens", "code": 400}}
                )
                return
            given = [None, *({str(token): {"logprob": logprob(at)}} for at, token in enumerate(prompt[1:], start=1))]
            choice = {"index": 0, "text": "x", "finish_reason": "length", "prompt_logprobs": given}
            self.reply(200, {"id": "x", "choices": [choice], "usage": usage("", "x")})
            return
        if len(prompt) >= MAX_MODEL_LEN:
            self.reply(400, {"error": {"message": f"This model's maximum context length is {MAX_MODEL_LEN} tokens."}})
            return
        said, finish = written(prompt, body)
        choice: dict[str, Any] = {"index": 0, "text": said, "finish_reason": finish}
        if body.get("echo") and self.server.echoes:
            text = prompt + said
            choice["text"] = text
            choice["logprobs"] = {
                "tokens": list(text),
                "text_offset": list(range(len(text))),
                "token_logprobs": [None, *(logprob(at) for at in range(1, len(text)))],
            }
        self.server.answered.append(usage(prompt, said))
        self.reply(200, {"id": "x", "choices": [choice], "usage": usage(prompt, said)})


def logprob(at: int) -> float:
    return -at / 10


def tokens(text: str) -> list[int]:
    return [BOS, *map(ord, text)]


def rendered(body: dict[str, Any]) -> str:
    turns = "".join(f"<{turn['role']}>{turn['content']}" for turn in body["messages"])
    return turns + ("" if body.get("continue_final_message") else "<assistant>")


def written(prompt: str, body: dict[str, Any]) -> tuple[str, str]:
    text = prompt[::-1]
    for stop in body.get("stop", ()):
        text = text.split(stop)[0]
    return text[: body["max_tokens"]], "length" if len(text) > body["max_tokens"] else "stop"


def usage(prompt: str, said: str) -> dict[str, int]:
    return {
        "prompt_tokens": len(prompt) + 1,
        "completion_tokens": len(said),
        "total_tokens": len(prompt) + len(said) + 1,
    }
