"""What the feed-forward networks of a model hear and where its routers send it, while it reads texts.

The only module that runs a model: transformers opens it whole, so it needs the extra `hf` and memory for the weights.
Documents are read one by one, in windows; what each layer's router is given is taken where the norm before it hands it over.
"""

# Shapes: T tokens, D model, E experts.

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from bunbuku_contracts import Artifact, BunbukuError, Checkpoint, Corpus, register_hf_models
from pyarrow import parquet
from transformers import AutoModelForCausalLM, AutoTokenizer

from bunbuku_moe_upcycle.tensors import Floats

_WINDOW_TOKENS = 512
_FEWEST_DOCUMENTS, _TOKENS_A_DOCUMENT = 64, 64
_GOLDEN_RATIO = (5**0.5 - 1) / 2


class Document(NamedTuple):
    """A text, and what the corpus says of it."""

    text: str
    source: str
    language: str


class Heard(NamedTuple):
    """One window of a document, layer by layer."""

    document: Document
    ids: Sequence[int]
    hidden_TD: list[Floats]
    """What the layer's feed-forward network, or its router, was given."""
    logits_TE: list[Floats]
    """Router logits that the gates are a softmax of, normalised if the model does so, of every layer with experts."""


def documents(corpus: Artifact[Corpus], *, tokens: int) -> Iterator[Document]:
    """Documents from all over the corpus, more than so many tokens should need; the first few do for fewer.

    Evenly spaced ones are taken, and given in the order of multiples of the golden ratio: however many are read, they lie far
    apart.
    """
    paths = [corpus.path(file) for file in corpus.files()]
    total = sum(parquet.read_metadata(path).num_rows for path in paths)
    count = min(total, max(_FEWEST_DOCUMENTS, tokens // _TOKENS_A_DOCUMENT))
    wanted = {index * total // count for index in range(count)}
    found: list[Document] = []
    row = 0
    for path in paths:
        for batch in parquet.ParquetFile(path).iter_batches(columns=["text", "source", "language"]):
            here = [at for at in range(batch.num_rows) if row + at in wanted]
            found += [Document(**fields) for fields in batch.take(here).to_pylist()]
            row += batch.num_rows
    yield from (found[index] for index in sorted(range(len(found)), key=lambda index: index * _GOLDEN_RATIO % 1))


class Listener:
    """A model with ears on every layer."""

    def __init__(self, checkpoint: Artifact[Checkpoint]) -> None:
        register_hf_models()
        self.checkpoint = checkpoint
        self.tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint.dir)
        self.model: Any = AutoModelForCausalLM.from_pretrained(checkpoint.dir, dtype=torch.float32).eval()
        self._hidden: list[torch.Tensor] = []
        self._logits: list[torch.Tensor] = []
        for layer in self.model.model.layers:
            layer.post_attention_layernorm.register_forward_hook(self._hear)
            if hasattr(layer.mlp, "gate"):
                layer.mlp.gate.register_forward_hook(self._overhear)

    def _hear(self, module: object, given: object, hidden: torch.Tensor) -> None:
        self._hidden.append(hidden[0])

    def _overhear(self, module: object, given: object, routed: tuple[torch.Tensor, ...]) -> None:
        self._logits.append(routed[0])

    def listen(self, texts: Iterator[Document], *, tokens: int) -> Iterator[Heard]:
        """Windows of the texts, until so many tokens were heard."""
        window = min(_WINDOW_TOKENS, self.checkpoint.manifest.spec.architecture.max_positions)
        left = tokens
        for document in texts:
            ids: list[int] = self.tokenizer(document.text)["input_ids"]
            for first in range(0, len(ids), window):
                here = ids[first : first + min(window, left)]
                yield self._read(document, here)
                left -= len(here)
                if left <= 0:
                    return

    @torch.no_grad()
    def _read(self, document: Document, ids: Sequence[int]) -> Heard:
        self._hidden, self._logits = [], []
        self.model.model(torch.tensor([ids]), use_cache=False)
        return Heard(
            document, ids, [one.float().numpy() for one in self._hidden], [one.float().numpy() for one in self._logits]
        )


def mean_heard(checkpoint: Artifact[Checkpoint], corpora: Mapping[str, Artifact[Corpus]], *, tokens: int) -> Floats:
    """Mean of what each layer hears, over so many tokens of each corpus by name: layers, corpora, model width."""
    listener = Listener(checkpoint)
    means = []
    for name in sorted(corpora):
        total_LD, count = np.zeros(()), 0
        for heard in listener.listen(documents(corpora[name], tokens=tokens), tokens=tokens):
            total_LD = total_LD + np.stack([hidden.sum(axis=0, dtype=np.float64) for hidden in heard.hidden_TD])
            count += len(heard.ids)
        if not count:
            raise BunbukuError(f"corpus {name!r} ({corpora[name].dir}) has no text", hint="give one that has")
        means.append(total_LD / count)
    return np.stack(means, axis=1).astype(np.float32)
