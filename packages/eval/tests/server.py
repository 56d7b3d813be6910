"""A real HTTP server that speaks OpenAI's protocol and answers by a function of the prompt."""

import json
import threading
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
