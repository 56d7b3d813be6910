"""The command line: closed, composable, and clear about what is wrong."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
from bunbuku_contracts import (
    Artifact,
    Config,
    Corpus,
    Draft,
    RunSettings,
    load,
    models,
    register_hf_models,
    stage,
    view,
)
from bunbuku_contracts import cli as cli_module
from bunbuku_contracts.cli import stage_cli
from bunbuku_contracts.kinds import KINDS
from bunbuku_contracts.migrate import migrate
from bunbuku_contracts.settings import read_settings
from bunbuku_contracts.tool import main as bunbuku
from pydantic import Field


class Short(Config):
    type: Literal["short"] = "short"
    min_chars: int = 1


class Odd(Config):
    type: Literal["odd"] = "odd"
    ratio: float = 0.5


class Nested(Config):
    depth: int = 0
    """How deep."""


class Sift(Config):
    filters: tuple[Annotated[Short | Odd, Field(discriminator="type")], ...] = (Short(),)
    """In order."""
    nested: Nested = Nested()
    name: str = "狸"


class Pool(RunSettings):
    workers: int = 1
    """Processes."""


@stage("contracts.sift")
def sift(draft: Draft, config: Sift, words: Path, *, run: Pool = Pool()) -> Corpus:  # noqa: B008
    """Sift words.

    As the sieve decides.
    """
    (draft.dir / "data").write_text(words.read_text() + config.name)
    draft.metrics["depth"] = config.nested.depth
    return Corpus()


@stage("contracts.pass")
def pass_on(draft: Draft, config: Config, corpus: Artifact[Corpus], more: dict[str, Artifact[Corpus]]) -> Corpus:
    """Pass a corpus on."""
    (draft.dir / "data").write_text(" ".join(more))
    return Corpus()


@view("contracts.look")
def look(config: Nested, corpus: Artifact[Corpus]) -> None:
    """Look at a corpus."""
    sys.stdout.write(f"{corpus.spec.kind} {config.depth}")


main = stage_cli(sift, pass_on, look)


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "words.txt"
    path.write_text("はい")
    return path


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_standard_output_is_the_published_path(words: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["sift", "--words", str(words), "--out", "made"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "made\n"
    assert "contracts.sift" in shown.err


def test_a_config_file_overrides_and_run_settings_meet(words: Path):
    Path("sift.toml").write_text('name = "狐"\n[[filters]]\ntype = "short"\n')
    Path("run.toml").write_text("workers = 3\n")
    changes = ["filters.0.min_chars=20", "filters.1={type='odd'}", "nested.depth=2", "filters.1.ratio=0.25"]
    options = [word for change in changes for word in ("--set", change)]
    assert main(["sift", "sift.toml", "--words", "words.txt", "--out", "made", "--run", "run.toml", *options]) == 0
    made = load(Path("made"), Corpus).manifest
    assert made.recipe.config == {
        "filters": [{"type": "short", "min_chars": 20}, {"type": "odd", "ratio": 0.25}],
        "nested": {"depth": 2},
        "name": "狐",
    }
    assert made.run.settings == {"workers": 3}


def test_a_bare_word_is_a_string_and_toml_is_toml():
    assert read_settings(Sift, None, ["name=狐と狸"]).name == "狐と狸"
    assert read_settings(Sift, None, ['name="3"']).name == "3"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "filter=1"], "did you mean 'filters'?"),
        (["--set", "nested.dept=1"], "did you mean 'depth'?"),
        (["--set", "nested.depth=much"], "not 'much'"),
        (["--set", "filters.3.min_chars=1"], "'3' is no place in a list of 1"),
        (["--set", "name.x=1"], "--set 'name.x=1' reaches into"),
        (["--set", "name"], "is not KEY=VALUE"),
        (["--set", "=1"], "is not KEY=VALUE"),
        (["missing.toml"], "there is no config at 'missing.toml'"),
        (["broken.toml"], "broken.toml is not TOML"),
        (["--run", "missing.toml"], "there is no config at 'missing.toml'"),
    ],
)
def test_a_config_that_does_not_fit_is_one_sentence_and_status_1(
    words: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
):
    Path("broken.toml").write_text("x = ")
    Path("sift.toml").write_text('name = "x"\n[[filters]]\ntype = "short"\n')
    config = [] if arguments[0].endswith(".toml") else ["sift.toml"]
    assert main(["sift", *config, *arguments, "--words", "words.txt", "--out", "made"]) == 1
    error = said(capsys)
    assert error.startswith("error: ")
    assert says in error
    assert "Traceback" not in error
    assert not Path("made").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sift", "--words", "nothing", "--out", "x"], "there is nothing at 'nothing'"),
        (["pass", "--corpus", "nothing", "--out", "x"], "no artifact at 'nothing'"),
        (["pass", "--corpus", "made#odd", "--out", "x"], "has no part 'odd'"),
        (["pass", "--corpus", "made", "--more", "made", "--out", "x"], "is not NAME=DIR"),
        (["pass", "--corpus", "made", "--corpus", "made", "--out", "x"], "was given 2 times"),
        (["sift", "--words", "words.txt", "--set", "name=x", "--out", "made"], "config.name: '狸' -> 'x'"),
    ],
)
def test_an_input_that_does_not_fit_is_one_sentence_and_status_1(
    words: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
):
    assert main(["sift", "--words", "words.txt", "--out", "made"]) == 0
    said(capsys)
    assert main(arguments) == 1
    error = said(capsys)
    assert says in error
    assert "hint:" in error


def test_verify_rehashes_the_inputs(words: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["sift", "--words", "words.txt", "--out", "made"]) == 0
    data = Path("made/data")
    data.write_text("X" * len(data.read_bytes()))
    assert main(["pass", "--corpus", "made", "--out", "x", "--verify"]) == 1
    assert "altered" in said(capsys)


def test_help_teaches_roles_fields_and_defaults(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["sift", "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for taught in ("As the sieve decides.", "--words PATH", "nested", "In order.", "Processes."):
        assert taught in shown


def test_a_view_shows_and_makes_nothing(words: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["sift", "--words", "words.txt", "--out", "made"]) == 0
    capsys.readouterr()
    before = sorted(Path().rglob("*"))
    assert main(["look", "--corpus", "made", "--set", "depth=4"]) == 0
    assert capsys.readouterr().out == "corpus 4"
    assert sorted(Path().rglob("*")) == before


def test_the_options_are_closed(capsys: pytest.CaptureFixture[str]):
    """A new knob is a field of the config or of the run settings: this list does not grow."""
    with pytest.raises(SystemExit):
        main(["sift", "--help"])
    shown = capsys.readouterr().out.partition("config fields")[0]
    options = {word.strip("[],") for word in shown.split() if word.startswith(("--", "[--"))}
    assert options | {"--help"} == {"--help", "--words", "--out", "--run", "--set", "--verify"}


@pytest.fixture
def made(words: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["sift", "--words", "words.txt", "--out", "made"]) == 0
    assert main(["pass", "--corpus", "made", "--more", "a=made", "--out", "passed"]) == 0
    capsys.readouterr()
    return Path("passed")


def test_the_tree_goes_back_to_what_came_from_outside(made: Path, capsys: pytest.CaptureFixture[str]):
    assert bunbuku(["tree", str(made)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("(")[0].strip(" │├└─") for line in lines] == [
        "corpus",
        "corpus",
        "words",
        "corpus",
        "… as above",
    ]
    assert "words.txt" in lines[2]


def test_verify_show_and_schema(made: Path, capsys: pytest.CaptureFixture[str]):
    assert bunbuku(["verify", str(made), "made"]) == 0
    assert "files as published" in capsys.readouterr().out
    assert bunbuku(["show", str(made)]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "corpus"
    for kind in KINDS:
        assert bunbuku(["schema", kind]) == 0
        schema = json.loads(capsys.readouterr().out)
        assert {"recipe", "files", "spec"} <= set(schema["properties"])
    assert bunbuku(["schema", "corpse"]) == 1


def test_diff_names_what_differs(words: Path, capsys: pytest.CaptureFixture[str]):
    for name, depth in (("one", 1), ("two", 2)):
        assert main(["sift", "--words", "words.txt", "--out", name, "--set", f"nested.depth={depth}"]) == 0
    capsys.readouterr()
    assert bunbuku(["diff", "one", "two"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "metrics.depth: 1.0 -> 2.0",
        "recipe.config.nested.depth: 1 -> 2",
    ]
    assert bunbuku(["diff", "one", "one"]) == 0
    assert capsys.readouterr().out == ""


def test_gc_removes_what_crashes_left_and_nothing_else(made: Path, capsys: pytest.CaptureFixture[str]):
    for name in (".x.0123456789ab.draft", ".x.0123456789ab.scratch", ".mine.draft", ".config"):
        Path(name).mkdir()
        Path(name, "file").write_text("はい")
    assert bunbuku(["gc", "."]) == 0
    assert Path(".x.0123456789ab.draft").exists()  # too recent
    assert bunbuku(["gc", ".", "--hours", "0", "--dry-run"]) == 0
    assert Path(".x.0123456789ab.draft").exists()
    assert bunbuku(["gc", ".", "--hours", "0"]) == 0
    assert sorted(path.name for path in Path().glob(".*")) == [".config", ".mine.draft"]
    assert "12 bytes freed" in capsys.readouterr().out
    assert bunbuku(["verify", str(made)]) == 0


def test_migration_follows_named_steps_and_says_what_is_missing(
    made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    assert bunbuku(["migrate", str(made)]) == 0  # already there
    capsys.readouterr()

    class Newer(Corpus):
        schema_version = 2

        colour: str

    monkeypatch.setitem(KINDS, "corpus", Newer)
    assert bunbuku(["migrate", str(made)]) == 1
    assert "no step leads 'corpus' from schema 1 to 2" in said(capsys)
    moved = migrate(made, {("corpus", 1): lambda old: {**old, "spec": {**old["spec"], "colour": "茶"}}})
    assert moved.spec.colour == "茶"
    moved.verify()


def test_model_classes_that_a_package_declares_are_registered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    declared = tmp_path / "kettle-1.0.dist-info"
    declared.mkdir()
    (declared / "METADATA").write_text("Metadata-Version: 2.1\nName: kettle\nVersion: 1.0\n")
    (declared / "entry_points.txt").write_text("[kettle.models]\ntanuki = kettle:register\n")
    (tmp_path / "kettle.py").write_text("calls = []\ndef register():\n    calls.append(1)\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(models, "GROUP", "kettle.models")
    for _ in range(2):
        assert "tanuki" in register_hf_models()
    assert sys.modules["kettle"].calls == [1]


def test_an_interrupt_is_no_traceback(words: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_module, "_run", interrupted)
    assert main(["sift", "--words", "words.txt", "--out", "made"]) == 130
    assert "interrupted" in said(capsys)
