"""The measure and the filter of where a text was found, by lists of sites from outside."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, cast, override

import numpy as np
import pyarrow as pa
from bunbuku_contracts import BunbukuError, Config
from pydantic import Field, model_validator

from bunbuku_corpus.filters.filter import AmongWords, Measure, Values
from bunbuku_corpus.sites import digest_of, read_sites
from bunbuku_corpus.texts import Texts


class _OfLists(Config):
    folder: Path | None = Field(default=None, exclude=True)
    """Folder with a folder a category, each with `domains`, `urls` or both, as UT1 has them. A recipe has their digest and
    not the place where they lay."""
    categories: tuple[str, ...] = Field(min_length=1)
    """Folders that count: `["adult", "gambling"]`."""
    digest: str = ""
    """Of the lists. It is found out from `folder`; given, it is held to."""

    @model_validator(mode="before")
    @classmethod
    def _know_the_lists(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        given = cast(Mapping[str, Any], data)
        if not given.get("folder") or not given.get("categories"):
            if not given.get("digest"):
                raise ValueError("`folder` and `categories` say which lists of sites are meant")
            return given
        folder = Path(given["folder"]).absolute()
        return {**given, "folder": folder, "digest": given.get("digest") or digest_of(folder, given["categories"])}


class SiteCategory(_OfLists, Measure):
    """Categories of lists of sites that a text's address is in."""

    type: Literal["site_category"] = "site_category"
    column: ClassVar[pa.DataType] = pa.string()

    @property
    @override
    def name(self) -> str:
        return f"site_category_{self.digest[:8]}"

    @override
    def of(self, texts: Texts) -> Values:
        if self.folder is None:
            raise BunbukuError(
                f"the lists of sites with the digest {self.digest} are needed", hint="say in which `folder`"
            )
        return np.array([*read_sites(self.folder, self.categories, self.digest).of(texts.urls), None], object)[:-1]


class ListedSite(_OfLists, AmongWords):
    """The address is listed in one of the `categories` of `folder`. Documents without an address pass."""

    measured = SiteCategory
    type: Literal["listed_site"] = "listed_site"

    @property
    @override
    def name(self) -> str:
        name = "_".join(["listed_site", *self.categories])
        return f"{name}.{'-'.join(self.languages)}" if self.languages else name

    @override
    def refuses(self, value: str | None) -> bool:
        return value is not None
