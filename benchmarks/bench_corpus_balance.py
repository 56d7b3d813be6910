"""How far the rules of `balance` agree with what texts are, on sources that nobody looked at while they were written.

    python benchmarks/bench_corpus_balance.py --out DIR

Text: the folder that BUNBUKU_DATA names. The purpose of a source is taken for that of each of its texts. Handbooks and answers
about programming are technical, statutes are law, paragraphs of Wikipedia are reference. None of these sources is in the
development text; statutes are there in another shape. There is no advertising, news, diary, literature or conversation that was
not looked at, so nothing is said of those.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from bench_corpus_filters import DATA, jsquad
from bunbuku_contracts.intervals import wilson
from bunbuku_corpus import BalanceConfig, GatherConfig, balance, gather

PURPOSES = {
    "debian_handbook_ja": "technical",
    "rust_by_example_ja": "technical",
    "egov_law": "law",
    "perlfaq_ja": "technical",
    "python_faq_ja": "technical",
}
LEAST_CHARS = 50


def texts() -> Iterator[tuple[str, str, str]]:
    """Source, purpose and text."""
    for name in ("html_samples", "instructions_ja"):
        with pa.input_stream(str(DATA / f"{name}.jsonl.zst"), compression="zstd") as stream:
            for line in BufferedReader(stream, 1 << 20):
                row = json.loads(line)
                if purpose := PURPOSES.get(row["source"]):
                    yield row["source"], purpose, row.get("main_text") or f"{row['instruction']}\n{row['output']}"
    for text in jsquad():
        yield "jsquad", "reference", text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True)
    found = [one for one in texts() if len(one[2]) >= LEAST_CHARS]
    documents, labels = out / "texts.jsonl", out / "labels.jsonl"
    with documents.open("w") as rows, labels.open("w") as named:
        for number, (source, purpose, text) in enumerate(found):
            row = {
                "id": f"{source}:{number}",
                "text": text,
                "source": source,
                "language": "ja",
                "licence": "see source",
            }
            rows.write(json.dumps(row) + "\n")
            named.write(json.dumps({"id": row["id"], "purpose": purpose}) + "\n")
    raw = gather(out / "raw", GatherConfig(), documents)
    report = balance(out / "balance", BalanceConfig(sample=len(found)), raw, None, labels)
    verdicts = pq.read_table(report.dir / "annotations.parquet").to_pylist()
    counts = Counter((one["id"].partition(":")[0], one["purpose_labels"], one["purpose_rules"]) for one in verdicts)
    for source in sorted({source for source, _, _ in counts}):
        called = Counter({rule: times for (one, _, rule), times in counts.items() if one == source})
        sys.stdout.write(f"{source:20} {called.total():4} {called.most_common(4)}\n")
    same = Counter(one["purpose_labels"] for one in verdicts if one["purpose_labels"] == one["purpose_rules"])
    for label in sorted({label for _, label, _ in counts}):
        total = sum(times for (_, one, _), times in counts.items() if one == label)
        called = sum(times for (_, _, rule), times in counts.items() if rule == label)
        said = f"recall {_share(same[label], total)}, precision {_share(same[label], called)}"
        sys.stdout.write(f"{label:20} {said}\n")
    spoken = sum(times for (_, _, rule), times in counts.items() if rule != "other")
    sys.stdout.write(
        f"same {_share(same.total(), len(verdicts))}; where rules say more than other {_share(same.total(), spoken)}\n"
    )
    sys.stdout.write(f"kappa {report.manifest.metrics['kappa.purpose.rules.labels']:.3f}\n")


def _share(part: int, whole: int) -> str:
    low, high = wilson(part, whole)
    return f"{part / whole:.1%} ({low:.1%} to {high:.1%}) of {whole}"


if __name__ == "__main__":
    main()
