"""A tokenizer of someone else's, in one form or in both, and whether they agree."""

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bunbuku_contracts import BunbukuError

from bunbuku_tokenizer.exports import CONFIG, MODEL, TOKENIZER
from bunbuku_tokenizer.foreign_json import ForeignJson
from bunbuku_tokenizer.foreign_model import ForeignModel, hugging_face

_logger = logging.getLogger(__name__)

_TOLERATED = 0.02
"""Share of texts. A unigram model's best and second best way to cut a long text may differ by less than a rounding."""
NAMES = ("bos_token", "eos_token", "pad_token", "unk_token")


class Foreign(NamedTuple):
    """What was read."""

    fast: ForeignJson
    """Made from `model`, if there was no `tokenizer.json`."""
    model: ForeignModel | None
    settings: dict[str, Any]
    """Of `tokenizer_config.json`."""
    folder: Path | None
    differing: float = 0.0
    """Share of texts for which `fast` gives other ids than the SentencePiece model that it was made from."""

    def special_ids(self, chosen: dict[str, str | None]) -> dict[str, int]:
        """Ids of the special tokens; `chosen` has the texts of those that files do not tell.

        Raises:
            BunbukuError: The text of a token is none of the vocabulary's, or nothing says what ends a text.
        """
        texts = {name: chosen.get(name) or _text(self.settings.get(name)) for name in NAMES}
        if texts["eos_token"] is None:
            raise BunbukuError(
                f"nothing says which token of {self.fast.origin} ends a text", hint='set eos_token = "…"'
            )
        known = self.fast.vocabulary | self.fast.added
        for name, text in texts.items():
            if text is not None and text not in known:
                raise BunbukuError(f"`{name}` {text!r} is not in the vocabulary of {self.fast.origin}")
        return {name: known[text or texts["eos_token"] or ""] for name, text in texts.items()}


def read(path: Path) -> Foreign:
    """The tokenizer in a file or a folder.

    Raises:
        BunbukuError: There is none, or one that cannot be extended.
    """
    if not path.is_dir():
        if path.read_bytes()[:1] == b"{":
            return Foreign(ForeignJson.read(path), None, {}, None)
        return _from_model(path, {}, None)
    fast, model = path / TOKENIZER, path / MODEL
    config = path / CONFIG
    settings = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    if not fast.is_file():
        if not model.is_file():
            raise BunbukuError(
                f"{path} has neither a {TOKENIZER} nor a {MODEL}", hint="name a tokenizer's file, or its folder"
            )
        return _from_model(model, settings, path)
    return Foreign(ForeignJson.read(fast), ForeignModel.read(model) if model.is_file() else None, settings, path)


def agreed(given: Foreign, texts: Sequence[str]) -> Foreign:
    """`given`, without its SentencePiece model where that is not the same tokenizer as its `tokenizer.json`.

    Raises:
        BunbukuError: There was no `tokenizer.json`, and none can be written with the same ids.
    """
    if given.model is None:
        return given
    if given.folder is not None and (given.folder / TOKENIZER).is_file():
        if why := _unlike(given.fast, given.model, texts):
            _logger.warning("%s is left out: %s", given.model.origin, why)
            return given._replace(model=None)
    elif differing := differences(given.fast, given.model, texts):
        if len(differing) > _TOLERATED * len(texts):
            raise BunbukuError(
                f"no tokenizer.json with the ids of {given.model.origin} can be written; they differ for "
                f"{differing[0][:200]!r} and {len(differing) - 1} more of {len(texts)} texts",
                hint="give a `tokenizer.json` of it that you trust",
            )
        _logger.warning(
            "%s is left out: Hugging Face's library, which does not round sums of scores, gives other ids for %d of %d "
            "texts, first for %r",
            given.model.origin,
            len(differing),
            len(texts),
            differing[0][:200],
        )
        return given._replace(model=None, differing=len(differing) / len(texts))
    return given


def differences(one: ForeignJson | ForeignModel, other: ForeignJson | ForeignModel, texts: Sequence[str]) -> list[str]:
    """The texts to which they give different ids."""
    pairs: Iterable[tuple[str, list[int], list[int]]] = zip(texts, one.encode(texts), other.encode(texts), strict=True)
    return [text for text, ids, others in pairs if ids != others]


def _unlike(fast: ForeignJson, model: ForeignModel, texts: Sequence[str]) -> str | None:
    if fast.kind != model.kind or fast.first_id != model.first_id:
        return f"it is {model.kind} with {model.first_id} ids, {fast.origin} is {fast.kind} with {fast.first_id}"
    made = ForeignJson({**fast.content, "model": hugging_face(model.proto)["model"]}, model.origin)
    for one in (model, made):
        if differing := differences(fast, one, texts):
            return f"its ids differ from those of {fast.origin} for {differing[0][:200]!r}"
    return None


def _from_model(path: Path, settings: dict[str, Any], folder: Path | None) -> Foreign:
    model = ForeignModel.read(path)
    spec = model.proto.trainer_spec
    names = {name: getattr(spec, f"{name[:3]}_piece") for name in NAMES}
    known = {piece.piece for piece in model.proto.pieces}
    told = {name: text for name, text in names.items() if text in known}
    return Foreign(ForeignJson(hugging_face(model.proto), str(path)), model, told | settings, folder)


def _text(token: str | dict[str, Any] | None) -> str | None:
    return token["content"] if isinstance(token, dict) else token
