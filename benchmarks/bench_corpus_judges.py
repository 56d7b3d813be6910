"""How much is advertising, how much education: a learned judge of `balance` beside its rules and beside what the sources are.

    python benchmarks/bench_corpus_judges.py --out DIR

Text: Japanese documents of `dev_corpus.jsonl.zst` in the folder that BUNBUKU_DATA names. The purpose of a source is taken for that of
each of its texts; textbooks and tutorials are education. There is no advertising in it, so a twentieth of what is judged are
made-up shop pages and lures (`awful` of `bench_corpus_filters`). The classifier learns from half of the documents, by a hash of
their ids, and is judged on the other half; of the sources in `UNSEEN`, and of the lures, it learns nothing.
"""

import argparse
import hashlib
import json
import random
import sys
from collections import Counter
from io import BufferedReader
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from bench_corpus_filters import DATA, awful, jsquad
from bunbuku_corpus import BalanceConfig, GatherConfig, LearnConfig, balance, gather, learn
from bunbuku_corpus.intervals import wilson

PURPOSES = {
    "technical": ("cpprefjp", "rurema", "python_docs_ja", "perldoc_ja", "bitcoinops_ja", "libreoffice_help_ja_naive"),
    "education": ("js_primer", "typescript_book_ja", "rust_book_ja_html_naive", "react_docs_ja"),
    "law": ("egov_law_html_naive",),
    "literature": ("aozora",),
    "conversation": ("real_persona_chat",),
    "reference": ("kftt_ja",),
}
UNSEEN = ("typescript_book_ja", "bitcoinops_ja")
MOST_OF_A_SOURCE = 300
ADVERTISED = 0.05


def documents() -> list[dict[str, str]]:
    """Documents with their purpose, and whether they are learned from."""
    purposes = {source: purpose for purpose, sources in PURPOSES.items() for source in sources}
    counts: Counter[str] = Counter()
    found: list[dict[str, str]] = []
    with pa.input_stream(str(DATA / "dev_corpus.jsonl.zst"), compression="zstd") as stream:
        for line in BufferedReader(stream, 1 << 20):
            row = json.loads(line)
            source = row["source"]
            if source in purposes and counts[source] < MOST_OF_A_SOURCE and len(row["text"]) >= 100:
                counts[source] += 1
                half = hashlib.blake2b(row["id"].encode(), digest_size=1).digest()[0] % 2 and source not in UNSEEN
                found.append(_row(row["id"], row["text"], source, purposes[source], "learned" if half else "judged"))
    judged = sum(one["part"] == "judged" for one in found)
    spam = [text for kind, text in awful(jsquad()) if kind == "spam"]
    shops, lures = spam[0::2], spam[1::2]
    count = round(judged * ADVERTISED / (1 - ADVERTISED))
    made = [("learned", "shop", one) for one in shops[:60]]
    made += [("judged", "shop", one) for one in shops[60 : 60 + count // 2]]
    made += [("judged", "lure", one) for one in lures[: count - count // 2]]
    found += [_row(f"{kind}:{n}", text, kind, "advertising", part) for n, (part, kind, text) in enumerate(made)]
    random.Random(0).shuffle(found)
    return found


def _row(id: str, text: str, source: str, purpose: str, part: str) -> dict[str, str]:
    return {"id": id, "text": text[:4000], "source": source, "language": "ja", "label": purpose, "part": part}


def write(path: Path, rows: list[dict[str, str]], *names: str) -> Path:
    path.write_text("".join(json.dumps({name: row[name] for name in names}) + "\n" for row in rows), encoding="utf-8")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True)
    rows = documents()
    learned, judged = ([row for row in rows if row["part"] == part] for part in ("learned", "judged"))
    classifier = learn(out / "classifier", LearnConfig(), write(out / "learned.jsonl", learned, "text", "label"))
    raw = gather(out / "raw", GatherConfig(), write(out / "judged.jsonl", judged, "id", "text", "source", "language"))
    named = [row | {"purpose": row["label"]} for row in judged]
    labels = write(out / "labels.jsonl", named, "id", "purpose")
    report = balance(out / "balance", BalanceConfig(sample=len(judged)), raw, {"purpose": classifier}, labels)
    sys.stdout.write(f"{len(learned)} learned from, {len(judged)} judged\n")
    sources = {row["id"]: row["source"] for row in judged}
    verdicts = pq.read_table(report.dir / "annotations.parquet").to_pylist()
    for judge in ("rules", "classifier"):
        same = sum(one[f"purpose_{judge}"] == one["purpose_labels"] for one in verdicts)
        silent = sum(one[f"purpose_{judge}"] == "other" for one in verdicts)
        kappa = report.manifest.metrics.get(f"kappa.purpose.{judge}.labels", float("nan"))
        sys.stdout.write(
            f"{judge}: same {_share(same, len(verdicts))}, other {_share(silent, len(verdicts))}, kappa {kappa:.3f}\n"
        )
        for label in ("advertising", "education"):
            there = [one for one in verdicts if one["purpose_labels"] == label]
            said = [one for one in verdicts if one[f"purpose_{judge}"] == label]
            right = sum(one["purpose_labels"] == label for one in said)
            sys.stdout.write(
                f"  {label}: is {_share(len(there), len(verdicts))}, said {_share(len(said), len(verdicts))}; "
                f"recall {_share(right, len(there))}, precision {_share(right, len(said))}\n"
            )
        for source in (*UNSEEN, "shop", "lure"):
            called = Counter(one[f"purpose_{judge}"] for one in verdicts if sources[one["id"]] == source)
            sys.stdout.write(f"  {source}: {called.most_common(3)}\n")


def _share(part: int, whole: int) -> str:
    low, high = wilson(part, whole)
    return f"{part / max(whole, 1):.1%} ({low:.1%} to {high:.1%})"


if __name__ == "__main__":
    main()
