"""Lists of sites by category, as the blacklists of the University of Toulouse (UT1) are laid out.

A folder has a folder a category, with `domains` (a host a line) and `urls` (an address without its scheme a line), plain or
as `.gz`. A domain stands for all hosts below it, an address for all addresses that go on from it. What they also have,
regular expressions, is not read: one of them rejects a mail provider for a syllable.

In memory is a number a line. Two different addresses are taken for the same with a probability of some 10⁻¹² each, for a
list of five million.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
from bunbuku_contracts import BunbukuError
from numpy.typing import NDArray

from bunbuku_corpus.files import open_stream
from bunbuku_corpus.items import Hashes, text_hashes

_FILES = ("domains", "domains.gz", "urls", "urls.gz")
_LINES = 100_000
_DEEPEST = 20
"""Folders of an address that are looked up."""
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*://")
_WWW = re.compile(r"^www[0-9]*\.")


class Sites(NamedTuple):
    """What is listed, by hash."""

    categories: tuple[str, ...]
    known: Hashes
    """Sorted."""
    listed: NDArray[np.uint64]
    """In which of the categories each is, a bit a category."""

    def of(self, urls: Sequence[str | None]) -> list[str | None]:
        """The categories of each address, with a space between them; `None` for what has none."""
        names = [_names(url) if url else [] for url in urls]
        flat = [name for some in names for name in some]
        hashes = text_hashes(flat)
        places = np.minimum(np.searchsorted(self.known, hashes), max(len(self.known) - 1, 0))
        bits = (
            np.where(self.known[places] == hashes, self.listed[places], np.uint64(0)) if len(self.known) else hashes * 0
        )
        documents = np.repeat(np.arange(len(urls)), [len(some) for some in names])
        masks = np.zeros(len(urls), np.uint64)
        np.bitwise_or.at(masks, documents, bits)
        return [self._categories(int(mask)) for mask in masks]

    def _categories(self, mask: int) -> str | None:
        return " ".join(name for bit, name in enumerate(self.categories) if mask >> bit & 1) or None


@lru_cache(4)
def read_sites(folder: Path, categories: tuple[str, ...], digest: str) -> Sites:
    """The lists of these categories.

    Raises:
        BunbukuError: They are not those of this digest.
    """
    if (found := digest_of(folder, categories)) != digest:
        raise BunbukuError(f"the lists in {folder} have the digest {found}, not {digest}", hint="leave out `digest`")
    known, listed = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for bit, category in enumerate(categories):
        for lines in _lines(folder, category):
            known.append(text_hashes(lines))
            listed.append(np.full(len(lines), 1 << bit, np.uint64))
    hashes, bits = np.concatenate(known), np.concatenate(listed)
    order = np.argsort(hashes)
    unique, first = np.unique(hashes[order], return_index=True)
    masks = np.bitwise_or.reduceat(bits[order], first) if len(first) else bits
    return Sites(categories, unique, masks)


def digest_of(folder: Path, categories: Sequence[str]) -> str:
    """A digest of the lists of these categories, wherever they lie.

    Raises:
        ValueError: The folder has no such category, or too many are asked for.
    """
    if len(categories) > 64:
        raise ValueError(f"{len(categories)} categories are more than the 64 that one filter takes")
    digest = hashlib.sha256()
    for category in categories:
        files = _files(folder, category)
        if not files:
            there = sorted(path.parent.name for name in _FILES for path in folder.glob(f"*/{name}"))
            known = ", ".join(dict.fromkeys(there)) or "no category at all"
            raise ValueError(f"{folder} has no list {category!r} with `domains` or `urls`; it has {known}")
        for path in files:
            stat = path.stat()
            digest.update(f"{category}/{path.name}:{_digest(path, stat.st_size, stat.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


@lru_cache(256)
def _digest(path: Path, _size: int, _modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path, category: str) -> list[Path]:
    return [path for name in _FILES if (path := folder / category / name).is_file()]


def _lines(folder: Path, category: str) -> Iterator[list[str]]:
    """What a category lists, some at a time."""
    some: list[str] = []
    for path in _files(folder, category):
        with open_stream(path) as stream:
            for line in stream:
                if name := _listed(line.decode("utf-8", "replace")):
                    some.append(name)
                if len(some) >= _LINES:
                    yield some
                    some = []
    yield some


def _listed(line: str) -> str:
    r"""A line of a list as it is looked up.

    >>> _listed(" Example.COM\n"), _listed("http://www.example.com/Shop/\n"), _listed("# a comment")
    ('example.com', 'example.com/shop', '')
    """
    name = line.strip().lower()
    if name.startswith("#"):
        return ""
    name = _SCHEME.sub("", name).strip("./")
    return _WWW.sub("", name) if "/" in name else name


def _names(url: str) -> list[str]:
    """Under what an address may be listed.

    >>> _names("https://www.blog.example.com:80/a/b?c=1")[:4]
    ['www.blog.example.com', 'blog.example.com', 'example.com', 'com']
    >>> _names("https://www.blog.example.com:80/a/b?c=1")[4:]
    ['blog.example.com/a', 'blog.example.com/a/b', 'blog.example.com/a/b?c=1']
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").strip(".")
    except ValueError:
        return []
    if not host:
        return []
    labels = host.split(".")
    names = [".".join(labels[start:]) for start in range(len(labels))]
    folders = [one for one in parts.path.lower().split("/") if one][:_DEEPEST]
    bare = _WWW.sub("", host)
    paths = ["/".join([bare, *folders[: end + 1]]) for end in range(len(folders))]
    if parts.query:
        paths.append(f"{paths[-1] if paths else bare + '/'}?{parts.query.lower()}")
    return names + paths
