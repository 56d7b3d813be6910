"""Speed of the filters of the corpus package against datatrove's FineWeb-2 chain and HojiChar.

    python benchmarks/bench_corpus_filters.py speed --peers PYTHON [--rounds 10]     # PYTHON has datatrove and hojichar

PYTHON is that of an environment made for this, such as
    uv venv /tmp/peers && uv pip install --python /tmp/peers/bin/python 'datatrove[processing]==0.10.1' 'spacy[ja]' orjson hojichar==0.18.0

Text: the folder that BUNBUKU_DATA names, with `eval/jsquad-v1.3-valid.json` and `dev_corpus.jsonl.zst`. In `speed` every round
runs each side once in a process of its own on the same documents; imports, dictionaries and a warm-up are not counted.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import batched
from pathlib import Path
from statistics import median

DATA = Path(os.environ.get("BUNBUKU_DATA", "."))
CHARS = 800
TOGETHER = 300


def jsquad() -> list[str]:
    """Paragraphs of Wikipedia joined within an article to about 800 characters."""
    found: list[str] = []
    for article in json.loads((DATA / "eval/jsquad-v1.3-valid.json").read_text(encoding="utf-8"))["data"]:
        text = ""
        for paragraph in article["paragraphs"]:
            text += ("\n" if text else "") + paragraph["context"].split("[SEP]")[-1].strip()
            if len(text) >= CHARS:
                found.append(text)
                text = ""
    return found


# ── speed: each side is a function that judges all documents and says how many it rejects ──


def ours(preset: str) -> Callable[[list[str]], int]:
    from bunbuku_corpus.cleaning import Judge
    from bunbuku_corpus.document import Document
    from bunbuku_corpus.normalization import Normalization
    from bunbuku_corpus.policy import Policy
    from bunbuku_corpus.preparation import Preparation

    judge = Judge(Preparation(normalization=Normalization(form="none")), _filters(Policy, preset))

    def run(texts: list[str]) -> int:
        documents = (Document(str(n), text, "", None, "", "ja") for n, text in enumerate(texts))
        return sum(bool(one.objections) for batch in batched(documents, TOGETHER) for one in judge(batch).judged)

    return run


def _filters(policy: type, preset: str) -> tuple:
    if preset != "hojichar-set":
        return policy.model_validate({"preset": preset}).filters
    # What HojiChar's side does: kana, length, adult, violence, discrimination and advertising words.
    words = [
        {"type": "too_many_listed_words", "vocabulary": name, "max_count": most}
        for name, most in (("adult", 3), ("violence", 3), ("discrimination", 3), ("advertising", 14))
    ]
    return policy.model_validate(
        {"filters": [{"type": "no_early_kana"}, {"type": "too_short"}, {"type": "too_long"}, *words]}
    ).filters


def sudachi() -> Callable[[list[str]], int]:
    """What no chain that judges by these words can be faster than: Sudachi alone, as it is called here."""
    from bunbuku_corpus.words import analyze
    from sudachipy import Dictionary, SplitMode

    tokenizer = Dictionary(dict="core").tokenizer(mode=SplitMode.A, fields={"pos", "normalized_form"})
    words = tokenizer.tokenize("")
    assert analyze("2,000円", "sudachi").chars.tolist() == [len(one) for one in tokenizer.tokenize("2,000円")]

    def run(texts: list[str]) -> int:
        return sum(len(tokenizer.tokenize(text, out=words)) < 0 for text in texts)

    return run


def datatrove() -> Callable[[list[str]], int]:
    from datatrove.data import Document  # pyright: ignore[reportMissingImports]
    from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter  # pyright: ignore[reportMissingImports]

    chain = (
        GopherRepetitionFilter(
            language="ja",
            dup_para_frac=0,
            dup_line_char_frac=0,
            dup_para_char_frac=0,
            dup_line_frac=0.328,
            top_n_grams=((2, 0.239), (3, 0.196), (4, 0.172)),
            dup_n_grams=((5, 0.243), (6, 0.225), (7, 0.207), (8, 0.19), (9, 0.175), (10, 0.159)),
        ),
        FineWebQualityFilter(
            language="ja", short_line_thr=999, char_duplicates_ratio=0.1, line_punct_thr=0.096, new_line_ratio=0.13
        ),
        GopherQualityFilter(
            language="ja",
            min_avg_word_length=1,
            max_avg_word_length=6,
            stop_words=list("のにをはたてがとで年し・月れさ"),
            max_non_alpha_words_ratio=0.759,
            min_stop_words=2,
        ),
    )

    def run(texts: list[str]) -> int:
        documents = [Document(text=text, id=str(n)) for n, text in enumerate(texts)]
        return sum(any(one.filter(document) is not True for one in chain) for document in documents)

    return run


def hojichar() -> Callable[[list[str]], int]:
    import hojichar.filters.document_filters as filters  # pyright: ignore[reportMissingImports]
    from hojichar import Compose, Document  # pyright: ignore[reportMissingImports]

    chain = Compose(
        [
            filters.AcceptJapanese(),
            filters.DocumentLengthFilter(min_doc_len=200, max_doc_len=1_000_000),
            filters.DiscardAdultContentJa(),
            filters.DiscardViolenceContentJa(),
            filters.DiscardDiscriminationContentJa(),
            filters.DiscardAds(),
        ]
    )

    def run(texts: list[str]) -> int:
        return sum(chain.apply(Document(text)).is_rejected for text in texts)

    return run


SIDES: dict[str, Callable[[], Callable[[list[str]], int]]] = {
    "fineweb2-ja": lambda: ours("fineweb2-ja"),
    "datatrove": datatrove,
    "sudachi": sudachi,
    "fineweb2-ja-mecab": lambda: ours("fineweb2-ja-mecab"),
    "hojichar-set": lambda: ours("hojichar-set"),
    "hojichar": hojichar,
    "web": lambda: ours("web"),
    "swallow-v1": lambda: ours("swallow-v1"),
    "tanuki": lambda: ours("tanuki"),
    "llm-jp-v1": lambda: ours("llm-jp-v1"),
}


def side(name: str, documents: int) -> None:
    texts = jsquad()
    texts, others = texts[:documents], texts[documents:]
    run = SIDES[name]()
    run(others or texts[:8])  # tables of characters are made, and pages of a dictionary read, once a process
    cpu, wall = time.process_time(), time.perf_counter()
    rejected = run(texts)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    chars = sum(map(len, texts))
    sys.stdout.write(json.dumps({"cpu": cpu, "wall": wall, "chars": chars, "rejected": rejected / len(texts)}) + "\n")


def speed(peers: str, rounds: int, documents: int, names: list[str]) -> None:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            python = peers if name in ("datatrove", "hojichar") else sys.executable
            command = [python, __file__, "side", name, "--documents", str(documents)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    for name, runs in found.items():
        rates = [one["chars"] / one["cpu"] / 1e6 for one in runs]
        walls = [one["chars"] / one["wall"] / 1e6 for one in runs]
        sys.stdout.write(
            f"{name:18} {median(rates):7.3f} Mchar/s of CPU, {median(walls):7.3f} wall; rejects {runs[0]['rejected']:.1%}\n"
        )
    for ours_name, peer in (
        ("fineweb2-ja", "datatrove"),
        ("fineweb2-ja-mecab", "datatrove"),
        ("sudachi", "datatrove"),
        ("hojichar-set", "hojichar"),
    ):
        if ours_name in found and peer in found:
            ratios = [b["cpu"] / a["cpu"] for a, b in zip(found[ours_name], found[peer], strict=True)]
            low, high = interval(ratios)
            sys.stdout.write(
                f"{ours_name} against {peer}: {median(ratios):.1f} times (95 %: {low:.1f} to {high:.1f})\n"
            )


def interval(values: list[float]) -> tuple[float, float]:
    """Bootstrap interval of the median."""
    chance = random.Random(0)
    medians = sorted(median(chance.choices(values, k=len(values))) for _ in range(2000))
    return medians[50], medians[1949]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "side"))
    parser.add_argument("names", nargs="*")
    parser.add_argument("--peers", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--documents", type=int, default=100)
    given = parser.parse_args()
    if given.what == "side":
        side(given.names[0], given.documents)
    else:
        speed(given.peers, given.rounds, given.documents, given.names or list(SIDES))


if __name__ == "__main__":
    main()
