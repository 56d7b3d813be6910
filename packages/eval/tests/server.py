"""A real HTTP server that speaks OpenAI's protocol and answers by a function of the prompt."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Talker(ThreadingHTTPServer):
    """Serves on a free port of the loopback interface while it is open."""

    daemon_threads = True
    request_queue_size = 128
    """Connections that may wait; with the five of the standard library a busy machine resets some."""

    def __init__(self, says: Callable[[str, int], str | int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.says = says
        """From prompt and seed to the answer, or the status of a failure."""
        self.asked: list[str] = []
        self.pause_seconds = 0.0
        """Between two pieces of a streamed answer."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __exit__(self, *args: Any) -> None:
        self.shutdown()
        super().__exit__(*args)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Talker  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        chat = self.path.endswith("/chat/completions")
        prompt = body["messages"][-1]["content"] if chat else body["prompt"]
        self.server.asked.append(prompt)
        said = self.server.says(prompt, body.get("seed") or 0)
        if isinstance(said, int):
            self.reply(said, {"error": {"message": "out of order"}})
            return
        if body.get("stream"):
            self.tell(said, chat=chat, prompt=len(prompt))
            return
        choice = {"message": {"role": "assistant", "content": said}} if chat else {"text": said}
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(said), "total_tokens": len(prompt) + len(said)}
        choices = [{"index": 0, "finish_reason": "stop", **choice}]
        self.reply(200, {"id": "x", "object": "x", "created": 0, "model": "talker", "choices": choices, "usage": usage})

    def reply(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def tell(self, said: str, *, chat: bool, prompt: int) -> None:
        """The answer in pieces, as servers stream it."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        pieces = [said[at : at + 4] for at in range(0, len(said), 4)]
        for piece in pieces:
            self.event(
                {"index": 0, "finish_reason": None, **({"delta": {"content": piece}} if chat else {"text": piece})}
            )
            time.sleep(self.server.pause_seconds)
        self.event({"index": 0, "finish_reason": "stop", **({"delta": {}} if chat else {"text": ""})})
        usage = {"prompt_tokens": prompt, "completion_tokens": len(said), "total_tokens": prompt + len(said)}
        self.event(None, usage=usage)
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def event(self, choice: object, **more: object) -> None:
        body = {
            "id": "x",
            "object": "x",
            "created": 0,
            "model": "talker",
            "choices": [choice] if choice else [],
            **more,
        }
        self.wfile.write(f"data: {json.dumps(body)}\n\n".encode())
        self.wfile.flush()
