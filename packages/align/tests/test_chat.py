"""Talking to checkpoints: the server over loopback, the page in a browser, the terminal, and what is kept."""

import http.client
import io
import itertools
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import pytest
import uvicorn
from bunbuku_align.chat.server import make_app
from bunbuku_align.chat.styles import STYLES
from bunbuku_align.chat.views import ChatConfig, ChatRun, keep_in, talk
from bunbuku_align.parquet import read_dialogues
from bunbuku_align.show import ShowConfig, show
from bunbuku_contracts import BunbukuError, ConfigError, load
from bunbuku_contracts.kinds import Dialogues
from bunbuku_inference import Message, Request, Sampling, Talker, TransformersEngine, open_model
from tokenizers import Tokenizer

ENGINE = TransformersEngine(device="cpu", threads=1)
EVIL = "<script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"


@pytest.fixture(scope="module")
def talkers(make) -> Iterator[dict[str, Talker]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(Talker(name, open_model(ENGINE, make.model(seed=seed).dir)))
            for seed, name in enumerate(("one", "two<b>"))
        }


@pytest.fixture(scope="module")
def server(make, talkers, tmp_path_factory) -> Iterator[tuple[int, Path]]:
    """Two models behind a page on loopback, and where conversations are kept."""
    folder = tmp_path_factory.mktemp("kept")
    models = {"one": make.model(), "two<b>": make.model(seed=1)}
    contents = {name: model.content for name, model in models.items()}

    def keep(name: str, messages: Any) -> str:
        return keep_in(folder, contents, name, messages)

    app = make_app(talkers, language="ja", style="default", keep=keep, hosts=("teahouse.example",))
    running = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield running.servers[0].sockets[0].getsockname()[1], folder
    running.should_exit = True
    thread.join()


class Browser:
    """A headless Chromium that is spoken to over a pipe, by its own protocol."""

    def __init__(self, profile: Path, address: str, *, width: int = 1280, height: int = 760) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        self._rest, self._numbers, self._session = b"", itertools.count(1), ""
        # It reads its descriptor 3 and writes to 4: a shell puts ours there.
        command = [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--hide-scrollbars", "--remote-debugging-pipe"),
            *(f"--user-data-dir={profile}", f"--window-size={width},{height}", "about:blank"),
        ]
        shell = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "sh", *command]
        self._process = subprocess.Popen(shell, pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        target = self.call("Target.createTarget", url=address)["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the protocol."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                more = os.read(self._in, 1 << 16)
                assert more, "the browser is gone"
                self._rest += more
            reply, _, self._rest = self._rest.partition(b"\0")
            found = json.loads(reply)
            if found.get("id") == number:
                assert "result" in found, found
                return found["result"]

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript is in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait(self, expression: str, seconds: float = 60) -> None:
        """Come back when an expression is true."""
        deadline = time.monotonic() + seconds
        while not self.value(expression):
            assert time.monotonic() < deadline, f"{expression} never came true"
            time.sleep(0.05)


def call(port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    sent = None if body is None else json.dumps(body)
    connection.request(method, path, sent, {"Content-Type": "application/json"} | headers)
    reply = connection.getresponse()
    found = reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read().decode()
    connection.close()
    return found


def ask(port: int, text: str, model: str = "one", **more: Any) -> list[dict[str, Any]]:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 8, **more}
    status, _, reply = call(port, "POST", "/ask", body)
    assert status == 200, reply
    return [json.loads(line) for line in reply.splitlines()]


def test_an_answer_comes_in_pieces_that_grow(server) -> None:
    port, _ = server
    pieces = ask(port, "一", temperature=1)
    assert len(pieces) > 2
    texts = [piece["text"] for piece in pieces]
    assert all(longer.startswith(text) for text, longer in pairwise(texts))
    assert [piece["finish"] for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1]["finish"] in ("stop", "length")
    assert texts[-1] == ask(port, "一", temperature=1)[-1]["text"], "the same seed says the same"


def test_thirty_people_at_once_all_get_their_own_answers(server) -> None:
    port, _ = server
    questions = [f"{number % 10}は何" for number in range(60)]
    alone = {text: ask(port, text, temperature=0)[-1]["text"] for text in sorted(set(questions))}
    with ThreadPoolExecutor(30) as people:
        found = list(people.map(lambda text: ask(port, text, temperature=0), questions))
    assert all(pieces[-1]["finish"] in ("stop", "length") for pieces in found)
    assert [pieces[-1]["text"] for pieces in found] == [alone[text] for text in questions]


def test_the_system_prompt_changes_what_the_template_makes_of_it(make) -> None:
    tokenizer = Tokenizer.from_file(str(make.model().dir / "tokenizer.json"))
    with open_model(ENGINE, make.model().dir) as model:
        for style in STYLES.values():
            system = (Message(role="system", content=style.system),) if style.system else ()
            request = Request(prompt=(*system, Message(role="user", content="一")), sampling=Sampling(max_tokens=1))
            [answer] = model.generate([request])
            line = style.system or "以下は、タスクを説明する指示です。"
            expected = f"<s>{line}\n\n### 指示:\n一\n\n### 応答:\n"
            assert answer.prompt_tokens == len(tokenizer.encode(expected, add_special_tokens=False).ids)


def test_a_conversation_is_kept_as_dialogues_that_can_be_trained_on(server) -> None:
    port, folder = server
    turns = [
        {"role": "system", "content": "言え"},
        {"role": "user", "content": "一"},
        {"role": "assistant", "content": EVIL},
    ]
    status, _, reply = call(port, "POST", "/keep", {"model": "one", "messages": turns})
    assert status == 200
    kept = load(Path(json.loads(reply)["kept"]), Dialogues)
    assert kept.dir.parent == folder
    [row] = read_dialogues(kept)
    assert [message._asdict() for message in row.messages] == turns
    assert call(port, "POST", "/keep", {"model": "one", "messages": turns})[2] == reply, "kept once"


def test_what_is_no_question_is_refused_and_never_a_crash(server) -> None:
    port, _ = server
    good = {"model": "one", "messages": [{"role": "user", "content": "一"}]}
    for body, expected in (
        (good | {"model": "three"}, 404),
        (good | {"messages": []}, 422),
        (good | {"messages": [{"role": "assistant", "content": "一"}]}, 422),
        (good | {"messages": [{"role": "wizard", "content": "一"}]}, 422),
        (good | {"temperature": -1}, 422),
        (good | {"max_tokens": 10**9}, 422),
        (good | {"messages": [{"role": "user", "content": "一" * 20_001}]}, 422),
        (good | {"more": 1}, 422),
    ):
        assert call(port, "POST", "/ask", body)[0] == expected, body
    assert call(port, "POST", "/keep", good)[0] == 422
    assert call(port, "POST", "/ask", good, Origin="http://elsewhere.example")[0] == 403
    assert call(port, "GET", "/nothing")[0] == 404
    long = ask(port, "一" * 300)
    assert (long[-1]["finish"], long[-1]["reason"]) == ("error", "too_long")
    assert "the model's context 128" in long[-1]["text"]


def test_the_server_answers_to_its_own_names_alone(server) -> None:
    port, _ = server
    for host, expected in (
        (f"127.0.0.1:{port}", 200),
        (f"LOCALHOST:{port}", 200),
        (f"[::1]:{port}", 200),
        ("teahouse.example", 200),
        (f"teahouse.example.evil.example:{port}", 403),
        ("", 403),
    ):
        status, _, said = call(port, "GET", "/about", Host=host)
        assert status == expected, (host, said)
    assert "`hosts` in its run settings" in said


def test_who_goes_away_is_not_written_for_any_longer(server, talkers) -> None:
    port, _ = server
    meter = talkers["one"].meter
    before = meter.reasons["dropped"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = {"model": "one", "messages": [{"role": "user", "content": "一"}], "max_tokens": 4096, "temperature": 5}
    connection.request("POST", "/ask", json.dumps(body), {"Content-Type": "application/json"})
    reply = connection.getresponse()
    assert json.loads(reply.readline())["finish"] is None
    reply.close()
    connection.close()
    deadline = time.monotonic() + 30
    while meter.reasons["dropped"] == before:
        assert time.monotonic() < deadline, "it was written to its end"
        time.sleep(0.01)
    assert ask(port, "一")[-1]["finish"] in ("stop", "length"), "others are answered"


def test_the_page_may_load_nothing_but_its_own(server) -> None:
    port, _ = server
    status, headers, page = call(port, "GET", "/")
    assert status == 200
    assert "script-src 'self'" in headers["content-security-policy"]
    assert "http" not in page.replace("http-equiv", "")
    assert "innerHTML" not in call(port, "GET", "/chat.js")[2]


@pytest.mark.chromium
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
def test_in_a_browser_markup_is_shown_as_text(server, tmp_path: Path) -> None:
    port, _ = server
    address = f"http://127.0.0.1:{port}/#" + urlencode({"say": EVIL, "tokens": 4, "language": "en"})
    with Browser(tmp_path, address) as page:
        page.wait("document.body !== null && document.body.dataset.answered === '1'")
        assert page.value("document.title") == "bunbuku"
        assert page.value("document.querySelectorAll('.turn script, .turn img').length") == 0
        assert page.value("[...document.querySelectorAll('.turn.user')].map((turn) => turn.textContent)") == [EVIL] * 2
        assert page.value("[...document.querySelectorAll('h2 span')].map((name) => name.textContent)") == [
            "one",
            "two<b>",
        ]
        assert page.value("document.getElementById('send').textContent") == "Send"
        page.call("Runtime.evaluate", expression="document.getElementById('language').click()")
        assert page.value("document.getElementById('send').textContent") == "送信"
        page.call("Runtime.evaluate", expression="document.querySelector('h2 button').click()")
        page.wait("document.querySelector('.turns > .note') !== null")
        assert "conversation-" in page.value("document.querySelector('.turns > .note').textContent")


@pytest.mark.chromium
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
def test_in_a_browser_an_answer_is_stopped_and_what_goes_wrong_is_said(server, tmp_path: Path) -> None:
    port, _ = server
    first = {"say": "一", "tokens": 4096, "language": "en"}
    with Browser(tmp_path, f"http://127.0.0.1:{port}/#" + urlencode(first)) as page:
        script = (  # of many seeds one writes long enough to be stopped
            "(async () => { find('temperature').value = 5; for (let seed = 0; seed < 50; seed++) {"
            " find('new').click(); find('seed').value = seed; const said = say('一');"
            " while (busy && ![...document.querySelectorAll('.writing')].some((turn) => turn.textContent))"
            " await new Promise((next) => setTimeout(next, 2)); find('stop').click(); await said;"
            " if (document.body.textContent.includes('(stopped)')) break; }"
            " await say('一'.repeat(300)); document.body.dataset.over = '1'; })()"
        )
        page.wait("document.body !== null && document.body.dataset.answered === '1'")
        page.call("Runtime.evaluate", expression=script)
        page.wait("document.body.dataset.over === '1'")
        assert page.value("document.body.textContent.includes('(stopped)')")
        wrong = page.value("[...document.querySelectorAll('.turn.error')].map((turn) => turn.textContent)")
        assert len(wrong) == 2
        assert wrong[0].startswith("The conversation is too long for this model: begin a new one.the prompt has")
        turns = (
            "columns.flatMap((one) => one.messages.map((said, at) => said.role === (at % 2 ? 'assistant' : 'user')))"
        )
        assert page.value(f"{turns}.every(Boolean) && columns.every((one) => one.messages.length % 2 === 0)")
        assert page.value("find('stop').disabled && !find('send').disabled")


def test_a_terminal_holds_the_same_conversation(make, monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("一は何\n/system 言え\n[bold]二[/bold]\n\n"))
    config = ChatConfig(temperature=0, max_tokens=4)
    talk(config, make.model(), run=ChatRun(engine=ENGINE))
    assert capsys.readouterr().out.count("> ") == 4


def test_a_question_without_an_answer_is_no_turn_of_the_conversation(make, monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("一" * 300 + "\n一\n\n"))
    talk(ChatConfig(temperature=0, max_tokens=4), make.model(), run=ChatRun(engine=ENGINE))
    assert capsys.readouterr().out.count("the model's context 128") == 1, "the second one finds room"


def test_a_style_that_nobody_knows_is_refused(make) -> None:
    with pytest.raises(ConfigError, match="`style` 'pirate' is not known"):
        talk(ChatConfig(style="pirate"), make.model(), run=ChatRun(engine=ENGINE))


def test_what_is_trained_is_shown_in_colour(make, tmp_path: Path, capsys) -> None:
    base = make.model()
    data = make.dialogues({"一": [("user", EVIL), ("assistant", "いち🦝"), ("user", "二"), ("assistant", "に")]})
    show(ShowConfig(page=str(tmp_path / "page.html"), max_tokens=1000), base, data)
    told = capsys.readouterr().out
    assert "trained" in told
    assert "🦝" in told
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "🦝" in page
    pairs = make.preferences({"一": ([("user", "一")], "いち", "に")})
    show(ShowConfig(), base, preferences=pairs)
    assert capsys.readouterr().out.count("tokens are trained") == 2
    with pytest.raises(BunbukuError, match="either --dialogues or --preferences"):
        show(ShowConfig(), base)
