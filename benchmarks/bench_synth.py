"""What asking costs besides the model: documents a CPU second against datatrove's inference runner, both with durable replies.

    python benchmarks/bench_synth.py [--datatrove PYTHON] [--rounds 5] [--documents 4000]

PYTHON is the interpreter of an environment with `datatrove==0.10.1`, `httpx`, `aiosqlite`, `aiofiles`, `orjson` and `xxhash` (where `httpx` is
missing, its endpoint never becomes ready and it does not say why); without it only our own
figures are told. Both ask the same server, a process of its own that answers at once, about the same Japanese documents, 16 at a
time, a process a round, in turn. CPU seconds are those of the asking process from the first request to the last reply stored:
ours in the SQLite store that survives a kill, theirs with checkpoints of 500 records and its request cache.
"""

import argparse
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

SERVER = """
import asyncio, json, sys
choice = {"index": 0, "message": {"role": "assistant", "content": "分かりました。"}, "finish_reason": "stop"}
usage = {"prompt_tokens": 400, "completion_tokens": 5, "total_tokens": 405}
body = json.dumps({"id": "1", "choices": [choice], "usage": usage}).encode()
head = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body)
async def answer(reader, writer):
    try:
        while True:
            asked = await reader.readuntil(b"\\r\\n\\r\\n")
            lengths = [line for line in asked.lower().split(b"\\r\\n") if line.startswith(b"content-length:")]
            await reader.readexactly(int(lengths[0].split(b":")[1]) if lengths else 0)
            writer.write(head + body)
            await writer.drain()
            if b"connection: close" in asked.lower():
                break
    except (asyncio.IncompleteReadError, ConnectionResetError):
        pass
    finally:
        writer.close()
async def main():
    async with await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()
asyncio.run(main())
"""
OURS = """
import json, sys, time
from pathlib import Path
from bunbuku_inference import Message, OpenAIEngine, Request, open_model
port, documents, folder = sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
engine = OpenAIEngine(base_url=f"http://127.0.0.1:{port}/v1", served_model="m", concurrency=16)
requests = [Request(prompt=(Message(role="user", content=text),), seed=n) for n, text in enumerate(documents)]
with open_model(engine, None, cache=folder / "store.sqlite") as model:
    began, clock = time.process_time(), time.monotonic()
    answers = model.generate(requests)
    print(json.dumps({"cpu": time.process_time() - began, "wall": time.monotonic() - clock, "answers": len(answers)}))
"""
PEER = """
import json, sys, time
from pathlib import Path
from datatrove.data import Document
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.writers import JsonlWriter
port, texts, folder = sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), sys.argv[3]
async def ask(document, generate):
    return await generate({"messages": [{"role": "user", "content": document.text}]})
config = InferenceConfig(
    server_type="endpoint", model_name_or_path="m", endpoint_url=f"http://127.0.0.1:{port}", max_concurrent_generations=16
)
writer = JsonlWriter(folder + "/out", output_filename="${rank}_chunk_${chunk_index}.jsonl", compression=None)
runner = InferenceRunner(
    rollout_fn=ask, config=config, output_writer=writer, checkpoints_local_dir=folder + "/checkpoints", records_per_chunk=500
)
documents = [Document(text=text, id=str(n)) for n, text in enumerate(texts)]
began, clock = time.process_time(), time.monotonic()
runner.run(iter(documents), rank=0, world_size=1)
cpu, wall = time.process_time() - began, time.monotonic() - clock
lines = [line for path in Path(folder, "out").rglob("*.jsonl") for line in path.read_text().splitlines()]
made = sum(bool(json.loads(line)["metadata"].get("rollout_results")) for line in lines)
print(json.dumps({"cpu": cpu, "wall": wall, "answers": made}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datatrove", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--documents", type=int, default=4000)
    options = parser.parse_args()
    sides = {"ours": (sys.executable, OURS)} | (
        {"datatrove": (str(options.datatrove), PEER)} if options.datatrove else {}
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen([sys.executable, "-c", SERVER, port]) as server:
        texts = Path(folder, "documents.json")
        texts.write_text(json.dumps(documents(options.documents), ensure_ascii=False))
        time.sleep(1)
        for number in range(options.rounds):
            for name, (python, code) in sides.items():
                place = Path(folder, f"{name}-{number}")
                place.mkdir()
                done = subprocess.run(
                    [python, "-c", code, port, str(texts), str(place)],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
                one = json.loads(done.stdout.splitlines()[-1])
                assert one["answers"] == options.documents, (name, one)
                found[name].append(one)
                print(name, {key: round(value, 2) for key, value in one.items()}, file=sys.stderr)
        server.terminate()
    rates = {name: [options.documents / one["cpu"] for one in rounds] for name, rounds in found.items()}
    for name, values in rates.items():
        wall = median(options.documents / one["wall"] for one in found[name])
        print(f"{name}: {median(values):,.0f} documents a CPU second, {wall:,.0f} a second")
    if len(rates) == 2:
        ratios = [ours / theirs for ours, theirs in zip(rates["ours"], rates["datatrove"], strict=True)]
        low, high = interval(ratios)
        print(f"ratio: {median(ratios):.2f} (95 % interval {low:.2f} to {high:.2f})")


def documents(count: int) -> list[str]:
    """Japanese texts of some 400 characters."""
    draw = random.Random(1)
    words = ["狸", "茶釜", "和尚", "寺", "山", "川", "町", "人々", "綱渡り", "見世物"]
    said = [f"{a}は{b}のところで{c}を見た。" for a in words for b in words for c in words]
    return ["".join(draw.choices(said, k=27)) for _ in range(count)]


def interval(values: list[float]) -> tuple[float, float]:
    """Bootstrap interval of the median."""
    draw = random.Random(0)
    medians = sorted(median(draw.choices(values, k=len(values))) for _ in range(2000))
    return medians[50], medians[1949]


if __name__ == "__main__":
    main()
