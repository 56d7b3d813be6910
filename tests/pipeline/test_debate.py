"""From the PDF of a debate that was held to training dialogues: extract, clean (which finds the language), the recipe `transcript`."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from bunbuku_contracts import Corpus, Dialogues, load
from bunbuku_corpus.cli import main as corpus_main
from bunbuku_corpus.document import read_documents
from bunbuku_synth import read_items
from bunbuku_synth.cli import main as synth_main

WIDTH = 34
"""Letters of a line of the paper."""
MOTION = "全国の小学校は制服を廃止すべきである。"
SPEECHES = (
    ("肯定側立論", "私たちは制服の廃止を求めます。制服の費用は家計にとって重い負担であり、兄弟が多いほどその額は膨らみます。"
     "また、暑い日にも厚い布の上着を着なければならず、体調を崩す子供が毎年のように出ています。"),
    ("否定側立論", "私たちは廃止に反対します。私服になれば毎朝の服選びに時間がかかり、流行を追うことでかえって出費が増えます。"
     "制服があるからこそ、家庭の事情が服装に表れず、子供は安心して学校に通えるのです。"),
    ("肯定側反駁", "否定側は出費が増えると述べましたが、私服は普段の生活でも着られます。制服は学校でしか着られず、"
     "体が大きくなれば買い替えなければなりません。したがって、全体の費用はむしろ減ります。"),
    ("否定側反駁", "肯定側は体調を挙げましたが、それは夏服の決まりを改めれば済む問題です。制服そのものをなくす理由にはなりません。"
     "事情が服装に表れないという利点に、肯定側は一度も答えていません。"),
)  # fmt: skip


def write_pdf(path: Path) -> None:
    """Two pages of an A4 record: a title, speakers, and speeches broken wherever the line is full."""
    cidfonts, metrics = (pytest.importorskip(f"reportlab.pdfbase.{name}") for name in ("cidfonts", "pdfmetrics"))
    canvas = pytest.importorskip("reportlab.pdfgen.canvas")
    metrics.registerFont(cidfonts.UnicodeCIDFont("HeiseiMin-W3"))
    paper = canvas.Canvas(str(path), pagesize=(595, 842))
    for page in range(2):
        lines = [f"論題: {MOTION}", ""] if page == 0 else []
        for speaker, speech in SPEECHES[2 * page : 2 * page + 2]:
            lines += [speaker, *(speech[at : at + WIDTH] for at in range(0, len(speech), WIDTH)), ""]
        words = paper.beginText(60, 780)
        words.setFont("HeiseiMin-W3", 12)
        words.textLines(lines)
        paper.drawText(words)
        paper.showPage()
    paper.save()


class Reader(BaseHTTPRequestHandler):
    """A teacher that lists what stands in a record: it knows of the debate what its request says, and nothing else."""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"][-1]["content"]
        choice = {"index": 0, "message": {"role": "assistant", "content": reply(asked)}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        data = json.dumps({"id": "1", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def reply(asked: str) -> str:
    if '"arguments"' not in asked:
        said = "争点は費用と安心の二つです。費用については買い替えの指摘が具体的で、説得力がありました。"
        return said + ("\n勝者: 賛成側" if "勝者" in asked else "ただし、安心の点には答えていません。")
    record = asked.partition("記録:\n")[2]
    found = []
    for side, kind in re.findall(r"(肯定|否定)側(立論|反駁)\n", record):
        speech = record.partition(f"{side}側{kind}\n")[2]
        first = re.split(r"(?<=。)", speech.replace("\n", ""))[1]
        kinds = {"立論": "case", "反駁": "rebuttal"}
        sides = {"肯定": "for", "否定": "against"}
        found.append({"side": sides[side], "kind": kinds[kind], "claim": first, "quote": first.rstrip("。")})
    found.append(
        {"side": "for", "kind": "case", "claim": "制服は嫌われています。", "quote": "制服が好きな子供は一人もいない"}
    )
    return json.dumps({"motion": re.findall("論題: (.*)", record)[0], "arguments": found}, ensure_ascii=False)


@pytest.fixture
def teacher() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Reader) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()


def test_the_pdf_of_a_debate_becomes_training_dialogues_that_quote_it(
    tmp_path: Path, teacher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("debates").mkdir()
    write_pdf(Path("debates", "uniforms.pdf"))
    extract = ["extract", "--set", 'licence="CC-BY-4.0"', "--source", "debates", "--out", "extracted"]
    assert corpus_main(extract) == 0
    assert corpus_main(["clean", "--corpus", "extracted", "--out", "transcripts"]) == 0
    [document] = read_documents(load(Path("transcripts"), Corpus))
    # Lines that the paper broke inside a sentence are whole again, and speakers stand alone.
    sentences = [one for _, speech in SPEECHES for one in re.findall(".+?。", speech)]
    assert all(one in document.text for one in sentences) and any(len(one) > WIDTH for one in sentences)
    assert [line for line in document.text.splitlines() if line.endswith(("立論", "反駁"))] == [
        one for one, _ in SPEECHES
    ]
    assert document.id.startswith("uniforms:") and document.language == "ja"

    whole = len(document.text) - 10  # where a passage begins is drawn: so many are there from the motion on alone
    Path("transcript.toml").write_text(
        f'teacher = "reader"\n[[tasks]]\ntype = "transcript"\ncount = 1\nmin_chars = {whole}\n', encoding="utf-8"
    )
    Path("run.toml").write_text(f'[engine]\ntype = "openai"\nbase_url = "{teacher}"\nserved_model = "reader"\n')
    inputs = ["--corpus", "transcripts", "--run", "run.toml", "--out", "dialogues"]
    assert synth_main(["generate", "transcript.toml", *inputs]) == 0
    made = load(Path("dialogues"), Dialogues)
    [item] = read_items(made)
    assert [turn.role for turn in item.messages] == ["user", "assistant"] * 3
    assert item.source and item.source.startswith(document.id) and item.licence == "CC-BY-4.0"
    arguments = item.messages[1].content
    assert arguments.startswith(f"論題: {MOTION}")
    # One argument a speech, each with words of the paper; the one whose words are not there is left out.
    quotes = re.findall(r"\(「(.+?)」\)", arguments)
    assert len(quotes) == len(SPEECHES) and all(
        quote in speech for quote, (_, speech) in zip(quotes, SPEECHES, strict=True)
    )
    assert made.manifest.metrics["noted.transcript.quote_not_found"] == 1
    assert item.said.endswith("勝者: 賛成側")
