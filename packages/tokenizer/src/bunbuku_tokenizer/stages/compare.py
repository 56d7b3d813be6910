"""Several tokenizers side by side."""

from pathlib import Path

from bunbuku_contracts import Artifact, BunbukuError, Corpus, Draft, Report, Tokenizer, stage
from pydantic import NonNegativeInt

from bunbuku_tokenizer.measurement import Form, Measured
from bunbuku_tokenizer.reader import open_forms, open_reader
from bunbuku_tokenizer.stages.measure import PAGE, MeasureConfig, look, publish


class CompareConfig(MeasureConfig):
    """What to count besides tokens."""

    examples: NonNegativeInt = 1
    """Documents of each language whose beginnings are shown cut into tokens."""


@stage("tokenizer.compare")
def compare(
    draft: Draft,
    config: CompareConfig,
    corpus: Artifact[Corpus],
    tokenizers: dict[str, Artifact[Tokenizer]] | None = None,
    foreign: dict[str, Path] | None = None,
) -> Report:
    """Measure several tokenizers on the same documents, and say how their vocabularies differ.

    --tokenizers NAME=DIR is one that `train` made; --foreign NAME=PATH is anybody's: a SentencePiece .model file, a
    tokenizer.json of Hugging Face's, or a folder that holds one. One is enough: what `measure` counts of our own tokenizers
    is counted here of any.
    """
    ours, theirs = tokenizers or {}, foreign or {}
    if not ours and not theirs:
        hint = "--tokenizers NAME=DIR for one that `train` made, --foreign NAME=PATH for any other"
        raise BunbukuError("there is no tokenizer to measure", hint=hint)
    if both := sorted(set(ours) & set(theirs)):
        raise BunbukuError(f"{both[0]!r} names two tokenizers", hint="give each a name of its own")
    readers = {name: open_forms(ours[name].dir)[0] for name in sorted(ours)}
    readers |= {name: open_reader(theirs[name]) for name in sorted(theirs)}
    measured = {name: Measured(Form(reader)) for name, reader in readers.items()}
    found = look(draft, config, corpus, measured)
    for name in measured:
        draft.metrics |= {f"{name}.{key}": value for key, value in found.metrics(name).items()}
    publish(draft, "Tokenizers compared", found)
    return Report(title="Tokenizers compared", page=PAGE)
