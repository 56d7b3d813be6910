"""What a training read, document by document."""

from collections.abc import Iterator

import pyarrow.parquet as pq
from bunbuku_contracts import Artifact, ArtifactError, Checkpoint, Config, Corpus, view
from pydantic import NonNegativeInt, PositiveInt
from rich.console import Console
from rich.table import Table

from bunbuku_pretrain.seen import FILE, PART

_console = Console(soft_wrap=True, highlight=False)


class SeenConfig(Config):
    """What is looked for."""

    part: str | None = None
    """A part of the tokens; all if left out."""
    document: NonNegativeInt | None = None
    """A document of the part by its number: where it stands among the rows of the corpus, from 0 on."""
    id: str | None = None
    """A document by its id in the corpus, which must be given with --corpus."""
    first_step: PositiveInt = 1
    last_step: PositiveInt | None = None
    most_rows: PositiveInt = 40
    """Rows that are printed."""


@view("pretrain.seen")
def seen(config: SeenConfig, checkpoint: Artifact[Checkpoint], corpus: Artifact[Corpus] | None = None) -> None:
    """Print which documents a training read, in which steps.

    Documents are counted as in their part of the tokens, which is the order of the corpus: its files of that part by
    name, their rows one after the other. With the corpus, ids are printed; `--set id=...` finds one document.
    """
    files = [file for file in checkpoint.manifest.files if file.part == PART]
    if not files:
        raise ArtifactError(f"{checkpoint.dir} does not say what it was trained on", hint="give what `train` made")
    part, document = config.part, config.document
    if config.id is not None:
        part, document = _found(config.id, corpus, config.part)
    table = Table(
        *("steps", "phase", "part", "epoch", "tokens", "documents", ""), title=f"{checkpoint.dir}/{FILE}", box=None
    )
    count = 0
    for row in _rows(checkpoint.path(files[0]).as_posix(), config, part, document):
        count += 1
        if count <= config.most_rows:
            table.add_row(*_told(row, corpus))
    _console.print(table)
    _console.print(f"{count:,} rows" + (f", the first {config.most_rows} shown" if count > config.most_rows else ""))


def _rows(path: str, config: SeenConfig, part: str | None, document: int | None) -> Iterator[dict[str, object]]:
    wanted = [("last_step", ">=", config.first_step)]
    if config.last_step is not None:
        wanted.append(("first_step", "<=", config.last_step))
    if document is not None:
        wanted += [("first_document", "<=", document), ("last_document", ">=", document)]
    for row in pq.read_table(path, filters=wanted).to_pylist():
        if part is None or row["part"] == part:
            yield row


def _told(row: dict[str, object], corpus: Artifact[Corpus] | None) -> list[str]:
    first, last, part = row["first_document"], row["last_document"], row["part"]
    assert isinstance(first, int) and isinstance(last, int) and isinstance(part, str)
    documents = f"{first}" if first == last else f"{first}-{last}"
    if corpus is not None:
        documents += f" ({_id(corpus, part, first)}" + ("" if first == last else f" … {_id(corpus, part, last)}") + ")"
    return [
        f"{row['first_step']}-{row['last_step']}",
        str(row["phase"]),
        part,
        str(row["epoch"]),
        f"{row['begin']}-{row['end']}",
        documents,
        "passed" if row["skipped"] else "",
    ]


def _id(corpus: Artifact[Corpus], part: str, document: int) -> str:
    for path, first, rows in _shards(corpus, part):
        if document < first + rows:
            return pq.read_table(path, columns=["id"])["id"][document - first].as_py()
    raise ArtifactError(
        f"part {part!r} of {corpus.dir} has no document {document}", hint="give the corpus it came from"
    )


def _found(wanted: str, corpus: Artifact[Corpus] | None, part: str | None) -> tuple[str, int]:
    if corpus is None:
        raise ArtifactError(f"the document {wanted!r} is looked for, and no corpus is given", hint="give --corpus")
    for one in [part] if part else [*corpus.manifest.parts]:
        for path, first, _ in _shards(corpus, one):
            if "id" not in pq.read_schema(path).names:
                break
            ids = pq.read_table(path, columns=["id"])["id"]
            place = ids.index(wanted).as_py()
            if place >= 0:
                return ("train" if one == "data" else one), first + place
    raise ArtifactError(f"{corpus.dir} has no document {wanted!r}")


def _shards(corpus: Artifact[Corpus], part: str) -> Iterator[tuple[str, int, int]]:
    """Files of the part of the corpus that became a part of the tokens, with the number of their first document."""
    there = corpus.manifest.parts
    source = part if part in there else "data"
    first = 0
    for file in corpus.files(source):
        path = corpus.path(file).as_posix()
        if not path.endswith(".parquet"):
            continue
        rows = file.rows if file.rows is not None else pq.read_metadata(path).num_rows
        yield path, first, rows
        first += rows
