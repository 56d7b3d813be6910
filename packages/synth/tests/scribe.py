"""A real HTTP server that writes Japanese: what it says is a function of what it is asked and of the seed, and of nothing else.

Run as a script it serves on the port that it is given, until it is ended.
"""

import hashlib
import json
import re
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bunbuku_inference import OpenAIEngine

_LATIN = ["quiet", "river", "garden", "letter", "morning", "silver", "window", "teacher", "market", "winter", "summer"]
_SAID = (
    "{a}には{b}がよく似合います。",
    "{c}の前で{a}を見たことを思い出しました。",
    "誰かが{b}へ行くと聞いています。",
    "{a}から{c}まで歩くのも楽しいですね。",
    "昔の{b}は今よりずっと静かでした。",
    "もし{c}が好きなら、ぜひ試してください。",
    "{b}と{c}を比べてみましょう。",
    "まだ{a}については分かりません。",
)
_TOLD = (
    "{b}というのは、{a}のことです。",
    "{a}が話に出てきます。{b}とも言います。",
    "まず{a}がありました。そして{b}となりました。",
    "{b}、その相手は{a}でした。",
    "大事なのは{a}と、{b}という点です。",
    "{a}について言えば、{b}と聞いています。",
)
_WORDS = ("庭", "空", "町", "海", "山", "店", "駅", "橋", "音", "花", "道", "雪", "船", "鳥", "森", "窓")


class Scribe(ThreadingHTTPServer):
    """Serves several models at once, each in its own way."""

    daemon_threads = True

    def __init__(self, port: int = 0, delay_seconds: float = 0.0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.asked: Counter[str] = Counter()
        """By model."""
        self.seen: list[dict[str, Any]] = []
        self.delay_seconds = delay_seconds
        self.answers: dict[str, str | tuple[str, ...]] = {}
        """What to say to a question that has one of these in it; half of the time. Of several, one is drawn."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def __exit__(self, *args: Any) -> None:
        self.shutdown()
        super().__exit__(*args)

    def engine(self, model: str, **changes: object) -> OpenAIEngine:
        base = {"base_url": f"http://127.0.0.1:{self.server_address[1]}/v1", "served_model": model}
        return OpenAIEngine.model_validate(base | {"first_wait_seconds": 0.01, "concurrency": 4} | changes)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed hangs up."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scribe  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked[body["model"]] += 1
        self.server.seen.append(body)
        time.sleep(self.server.delay_seconds)
        text = write(body, self.server.answers)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        asked = sum(len(turn["content"]) for turn in body["messages"])
        usage = {"prompt_tokens": asked, "completion_tokens": len(text), "total_tokens": asked + len(text)}
        data = json.dumps({"id": "1", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def write(body: dict[str, Any], answers: dict[str, str | tuple[str, ...]]) -> str:
    """A reply to a request, always the same one."""
    asked = body["messages"][-1]["content"]
    digest = hashlib.sha256(json.dumps([body["messages"], body["seed"]], ensure_ascii=False).encode()).digest()
    if found := re.search(r"答えA:\n(.*?)\n\n答えB:\n(.*?)\n\n理由", asked, re.DOTALL):
        return _judged(body["model"], found[1], found[2])
    if body["model"] in ("strong", "weak") and (right := next((a for q, a in answers.items() if q in asked), None)):
        return str(right) if body["model"] == "strong" else f"{prose(digest, 1)}\n答え: 一億"
    if right := next((answer for question, answer in answers.items() if question in asked), None):
        if isinstance(right, tuple):
            return right[digest[0] % len(right)]
        return right if digest[0] % 2 else f"{prose(digest, 2)}\n答え: 一億"
    if "答え: 」に続けて" in asked:
        alike = hashlib.sha256(asked.encode()).digest()[0]
        return f"{prose(digest, 2)}\n答え: {alike if digest[0] % 4 else digest[1]}"
    if "「勝者: 賛成側」" in asked:
        return f"{prose(digest, 2)}\n{'勝者: 反対側' if digest[0] % 2 else '勝者: 賛成側'}"
    if found := re.search(r"「(.+?)」と「(.+?)」を必ずこの表記で", asked):
        return f"{found[1]}は{found[2]}と関わりがあります。{prose(digest, 2)}" if digest[0] % 4 else prose(digest, 2)
    return _other(body, asked, digest)


def _judged(model: str, a: str, b: str) -> str:
    """By length; or, where both are of about the same, whatever comes first, or nothing."""
    if model == "longest" or abs(len(a) - len(b)) > 4:
        return "理由です。" + ("[[A]]" if (len(a), a) > (len(b), b) else "[[B]]")
    return "最初の方が良い。[[A]]" if (len(a) + len(b)) % 2 else "[[A]]も[[B]]も良い。"


def _other(body: dict[str, Any], asked: str, digest: bytes) -> str:
    if '"verdict"' in asked:
        return _checked(asked, digest)
    if body["model"] == "judge":
        return json.dumps({"reason": "内容を確かめました。", "score": 2 + digest[0] % 4}, ensure_ascii=False)
    if '"chapters"' in asked:
        return json.dumps(
            {"chapters": [f"{_WORDS[n]}と{_WORDS[digest[n] % 8 + 8]}の話" for n in range(3)]}, ensure_ascii=False
        )
    if '"exercises"' in asked:
        pairs = [
            {"question": f"{_WORDS[digest[n] % 16]}とは何ですか。", "answer": f"{prose(digest, 1, n)}"}
            for n in range(2)
        ]
        return json.dumps({"exercises": pairs}, ensure_ascii=False)
    if found := re.search(r"^言葉: (.*)", asked, re.MULTILINE):
        words = found[1].split("・")
        return "".join(f"{word}が気になります。" for word in words[digest[0] % 2 :]) + "教えてください。"
    if '"arguments"' in asked:
        return _argued(asked, digest)
    if "日本語に訳して" in asked:
        return prose(digest, 6)
    if "英語に訳して" in asked or "英語で書いて" in asked:
        return " ".join(
            f"{['The', 'An', 'One', 'That'][b % 4]} {_LATIN[b % 11]} {_LATIN[b // 11 % 11]} ran." for b in digest[:14]
        )
    if found := re.search(r"(?:元の文章:\n|訳してください。.*\n\n)(.*)", asked, re.DOTALL):
        return retold(found[1], digest)
    return prose(digest, 1 + digest[9] % 4)


def _checked(asked: str, digest: bytes) -> str:
    """Every fifth sentence does not follow from the source; and a sentence is forgotten in one reply of eight."""
    numbers = [int(n) for n in re.findall(r"^(\d+)\. ", asked.partition("書き直した文章:\n")[2], re.MULTILINE)]
    said = [
        {"number": n, "verdict": "supported" if digest[n % 32] % 5 else ("not_in_source", "contradicted")[n % 2]}
        for n in numbers
    ]
    return json.dumps({"sentences": said[digest[1] % 8 == 0 :]})


def _argued(asked: str, digest: bytes) -> str:
    """The sentences of a record, in turns for and against; the last one is not from there."""
    said = [one for one in re.split("[。\n]", asked.partition("記録:\n")[2]) if len(one) > 8]
    found = [
        {
            "side": ("for", "against")[n % 2],
            "kind": ("case", "rebuttal")[n // 2 % 2],
            "claim": prose(digest[n:] + digest, 1),
            "quote": quote,
        }
        for n, quote in enumerate([*said[:4], "記録のどこにもない言葉である"])
    ]
    sides = found if digest[0] % 4 else found[::2]
    return json.dumps({"motion": "遠くの駅を残すべきである", "arguments": sides}, ensure_ascii=False)


def prose(digest: bytes, sentences: int, start: int = 0) -> str:
    """Sentences no two of which have the same form."""
    first = digest[start]
    said = [_SAID[(first + n) % len(_SAID)] for n in range(sentences)]
    words = [_WORDS[digest[start + n] % 16] for n in range(sentences + 2)]
    return "".join(one.format(a=words[n], b=words[n + 1], c=words[n + 2]) for n, one in enumerate(said))


def retold(passage: str, digest: bytes) -> str:
    """The same words in another order, in other sentences."""
    said = [one for one in re.split("[。\n]", passage) if one]
    turned = [
        _TOLD[(digest[0] + n) % len(_TOLD)].format(a=one.rpartition("を")[0], b=one.rpartition("を")[2])
        for n, one in enumerate(said)
    ]
    start = digest[1] % len(turned)
    return "".join(turned[start:] + turned[:start])


if __name__ == "__main__":
    with Scribe(int(sys.argv[1]), float(sys.argv[2])):
        threading.Event().wait()
