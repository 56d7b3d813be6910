"""What a stage promises its callers: made once, found again, refused when the recipe moved."""

import errno
import json
import os
import sys
from pathlib import Path

import pytest
from bunbuku_contracts import (
    Artifact,
    ArtifactError,
    BunbukuError,
    Config,
    Corpus,
    Draft,
    RecipeDrift,
    Report,
    RunSettings,
    Section,
    Spec,
    Table,
    Tokenizer,
    lineage,
    load,
    read_sections,
    stage,
    write_sections,
)
from bunbuku_contracts.draft import drafting


class Shout(Config):
    marks: int = 1


class Workers(RunSettings):
    count: int = 1


calls: list[int] = []


@stage("contracts.shout", revision=3)
def shout(draft: Draft, config: Shout, words: Path, *, run: Workers = Workers()) -> Corpus:  # noqa: B008
    """Copy the words, louder."""
    calls.append(config.marks)
    path = draft.dir / "part.txt"
    path.write_text(words.read_text() + "!" * config.marks)
    draft.count(path, rows=config.marks, part="train")
    draft.metrics["marks"] = config.marks
    if config.marks > 9:
        raise RuntimeError("too loud")
    return Corpus(licences=("CC0-1.0",))


@stage("contracts.copy")
def copy(draft: Draft, config: Config, corpus: Artifact[Corpus]) -> Corpus:
    for file in corpus.files():
        (draft.dir / file.path).write_bytes(corpus.path(file).read_bytes())
    return Corpus(licences=("MIT",))


@stage("contracts.count")
def count(
    draft: Draft,
    config: Config,
    corpora: dict[str, Artifact[Corpus]],
    anything: Artifact[Spec] | None = None,
    tokenizer: Artifact[Tokenizer] | None = None,
) -> Report:
    table = Table(columns=("corpus", "files"), rows=tuple((name, len(one.files())) for name, one in corpora.items()))
    write_sections(draft, [Section(title="語", tables=(table,))])
    return Report(title="counts")


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    path.write_text("はい")
    return path


@pytest.fixture
def train(tmp_path: Path, words: Path) -> Artifact[Corpus]:
    shout(tmp_path / "shouted", Shout(), words)
    return load(tmp_path / "shouted", Corpus, part="train")


def test_the_second_call_finds_what_the_first_made(tmp_path: Path, words: Path):
    calls.clear()
    first, second = (shout(tmp_path / "out", Shout(), words) for _ in range(2))
    assert calls == [1]
    assert first.manifest == second.manifest


def test_the_second_call_touches_nothing(tmp_path: Path, words: Path):
    shout(tmp_path / "out", Shout(), words)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} | {tmp_path: tmp_path.stat().st_mtime_ns}
    shout(tmp_path / "out", Shout(), words)
    assert {path: path.stat().st_mtime_ns for path in [*tmp_path.rglob("*"), tmp_path]} == before


def test_a_changed_config_is_refused_by_name_and_value(tmp_path: Path, words: Path):
    shout(tmp_path / "out", Shout(marks=1), words)
    with pytest.raises(RecipeDrift, match=r"config\.marks: 1 -> 2"):
        shout(tmp_path / "out", Shout(marks=2), words)


def test_a_changed_input_is_refused(tmp_path: Path, words: Path):
    shout(tmp_path / "out", Shout(), words)
    words.write_text("いいえ")
    with pytest.raises(RecipeDrift, match=r"inputs\.words"):
        shout(tmp_path / "out", Shout(), words)


def test_circumstance_is_recorded_and_asks_for_nothing_new(tmp_path: Path, words: Path):
    made = shout(tmp_path / "out", Shout(), words, run=Workers(count=4))
    assert made.manifest.run.settings == {"count": 4}
    assert shout(tmp_path / "out", Shout(), words, run=Workers(count=9)) == made


def test_remaking_the_same_bytes_upstream_leaves_downstream_up_to_date(tmp_path: Path, words: Path):
    for name in ("one", "two"):
        shout(tmp_path / name, Shout(), words)
    one, two = (load(tmp_path / name, Corpus, part="train") for name in ("one", "two"))
    made = copy(tmp_path / "copy", Config(), one)
    assert copy(tmp_path / "copy", Config(), two) == made


def test_a_part_is_named_or_refused_with_those_there_are(tmp_path: Path, train: Artifact[Corpus]):
    whole = load(train.dir, Corpus)
    with pytest.raises(ArtifactError, match="no part 'data'; its parts are: train"):
        copy(tmp_path / "copy", Config(), whole)
    with pytest.raises(ArtifactError, match="no part 'tset'"):
        load(train.dir, Corpus, part="tset")
    made = copy(tmp_path / "copy", Config(), train)
    assert made.manifest.recipe.inputs == {"corpus": f"{whole.content}#train"}


def test_licences_are_carried_on(tmp_path: Path, train: Artifact[Corpus]):
    assert copy(tmp_path / "copy", Config(), train).spec.licences == ("CC0-1.0", "MIT")


def test_many_inputs_are_named_one_by_one(tmp_path: Path, train: Artifact[Corpus]):
    made = count(tmp_path / "count", Config(), {"a": train, "b": train}, train)
    assert set(made.manifest.recipe.inputs) == {"corpora.a", "corpora.b", "anything"}
    assert read_sections(made)[0].tables[0].rows == (("a", 1), ("b", 1))


def test_lineage_travels_when_its_ancestors_do_not(tmp_path: Path, train: Artifact[Corpus], words: Path):
    copied = copy(tmp_path / "copy", Config(), train)
    made = count(tmp_path / "count", Config(), {"a": copied}) if copied.manifest.parts == ("data",) else None
    assert made is not None
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "count").rename(tmp_path / "elsewhere" / "count")
    for path in sorted(train.dir.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    moved = load(tmp_path / "elsewhere" / "count", Report)
    moved.verify()
    stages = [node.manifest.recipe.stage if node.manifest else node.role for node in lineage(moved).walk()]
    assert stages == ["contracts.count", "contracts.copy", "contracts.shout", "words"]
    assert all(node.found is None for node in list(lineage(moved).walk())[1:])


def test_lineage_finds_what_still_lies_where_it_lay(tmp_path: Path, train: Artifact[Corpus]):
    made = copy(tmp_path / "copy", Config(), train)
    assert [node.found.dir.name for node in lineage(made).walk() if node.found] == ["copy", "shouted"]


def test_a_crash_leaves_no_artifact(tmp_path: Path, words: Path):
    with pytest.raises(RuntimeError, match="too loud"):
        shout(tmp_path / "out", Shout(marks=10), words)
    with pytest.raises(ArtifactError, match="no artifact"):
        load(tmp_path / "out", Corpus)


def test_one_maker_at_a_time(tmp_path: Path):
    def draft():
        return drafting(tmp_path / "out", "r" * 64, resumable=False)

    with draft(), pytest.raises(ArtifactError, match="another process"), draft():
        pass


@pytest.mark.parametrize("resumable", [True, False])
def test_a_draft_outlives_a_crash_only_for_a_resumable_stage(tmp_path: Path, resumable: bool):
    found: list[int] = []
    for _ in range(2):
        with drafting(tmp_path / "out", "r" * 64, resumable=resumable) as draft:
            draft.scratch.mkdir(exist_ok=True)
            found.append(len([*draft.dir.iterdir(), *draft.scratch.iterdir()]))
            (draft.dir / "shard").touch()
            (draft.dir / "folder").mkdir(exist_ok=True)
            (draft.scratch / "state").touch()
    assert found == [0, 3 if resumable else 0]


@stage("contracts.long", resumable=True)
def long(draft: Draft, config: Shout) -> Corpus:
    """Goes a step further each time, and publishes every step."""
    draft.scratch.mkdir(exist_ok=True)
    for step in range(1, 4):
        state = draft.scratch / "step"
        if state.is_file() and int(state.read_text()) >= step:
            continue

        def make(milestone: Draft, step: int = step) -> Corpus:
            (milestone.dir / "step").write_text(str(step))
            return Corpus()

        draft.milestone(f"step-{step}", make)
        state.write_text(str(step))
        if step == config.marks:
            raise RuntimeError("power cut")
    (draft.dir / "step").write_text("3")
    return Corpus()


def test_milestones_are_whole_artifacts_and_are_made_once(tmp_path: Path):
    with pytest.raises(RuntimeError, match="power cut"):
        long(tmp_path / "out", Shout(marks=2))
    first = load(tmp_path / "out@step-1", Corpus)
    first.verify()
    stamps = first.dir.stat().st_mtime_ns
    (tmp_path / f".out.{first.manifest.recipe.digest[:12]}.draft").mkdir()  # of a milestone: no one minds it
    made = long(tmp_path / "again", Shout(marks=9))
    assert made.manifest.recipe.milestone is None
    assert first.manifest.recipe.milestone == "step-1"
    assert (tmp_path / "out@step-1").stat().st_mtime_ns == stamps
    assert not list(tmp_path.glob(".again.*"))


def test_a_resumed_run_finds_its_milestones(tmp_path: Path):
    out = tmp_path / "out"
    with pytest.raises(RuntimeError):
        long(out, Shout(marks=2))
    kept = (tmp_path / "out@step-2").stat().st_mtime_ns
    scratch = next(tmp_path.glob(".out.*.scratch"))
    (scratch / "step").write_text("1")  # cut off after publishing the milestone and before noting it
    (scratch / "step").replace(scratch / "step")
    with pytest.raises(RuntimeError):
        long(out, Shout(marks=2))
    assert (tmp_path / "out@step-2").stat().st_mtime_ns == kept


def test_damage_is_found_and_every_damaged_file_named(tmp_path: Path, words: Path):
    made = shout(tmp_path / "out", Shout(), words)
    (made.dir / "part.txt").write_text("はい?")  # as long as before
    load(made.dir, Corpus)
    with pytest.raises(ArtifactError, match=r"altered.*part\.txt"):
        made.verify()
    os.truncate(made.dir / "part.txt", 1)
    with pytest.raises(ArtifactError, match="missing or not 7 bytes"):
        load(made.dir, Corpus)


def test_an_altered_manifest_is_refused_in_one_sentence(tmp_path: Path, words: Path):
    made = shout(tmp_path / "out", Shout(), words)
    path = made.dir / "manifest.json"
    whole = json.loads(path.read_text())
    path.write_text(path.read_text()[:-40])
    with pytest.raises(ArtifactError, match="does not read as a manifest"):
        load(made.dir, Corpus)
    for field, value in [("path", "../../etc/passwd"), ("sha256", "x")]:
        altered = json.loads(json.dumps(whole))
        altered["files"][0][field] = value
        path.write_text(json.dumps(altered))
        with pytest.raises(ArtifactError, match=rf"files\.0\.{field}"):
            load(made.dir, Corpus)


@pytest.mark.parametrize(
    ("kind", "version", "says"),
    [("corpse", 1, "known kinds are"), ("corpus", 7, "schema 7"), ("tokenizer", 1, "is a 'tokenizer'")],
)
def test_another_kind_or_schema_is_refused_with_a_remedy(
    tmp_path: Path, words: Path, kind: str, version: int, says: str
):
    made = shout(tmp_path / "out", Shout(), words)
    path = made.dir / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"kind": kind, "schema_version": version}))
    with pytest.raises(ArtifactError, match=says) as refused:
        load(made.dir, Spec if kind == "corpse" else Corpus)
    assert refused.value.hint


def test_an_empty_shard_is_refused(tmp_path: Path, words: Path):
    with pytest.raises(ArtifactError, match=r"part\.txt has 0 rows"):
        shout(tmp_path / "out", Shout(marks=0), words)


def test_a_link_in_a_draft_is_refused(tmp_path: Path, words: Path):
    @stage("contracts.link")
    def link(draft: Draft, config: Config, words: Path) -> Corpus:
        (draft.dir / "link").symlink_to(words)
        return Corpus()

    with pytest.raises(ArtifactError, match="symbolic link"):
        link(tmp_path / "out", Config(), words)


@pytest.mark.parametrize(
    ("number", "says"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "not permitted")]
)
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, words: Path, number: int, says: str):
    @stage("contracts.full")
    def full(draft: Draft, config: Config) -> Corpus:
        raise OSError(number, os.strerror(number), str(draft.dir / "shard"))

    with pytest.raises(ArtifactError, match=rf"shard cannot be written: .*{says}"):
        full(tmp_path / "out", Config())


def test_a_really_full_disk_is_named(tmp_path: Path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")

    @stage("contracts.full")
    def full(draft: Draft, config: Config) -> Corpus:
        with Path("/dev/full").open("w") as file:
            file.write("x" * 100_000)
        return Corpus()

    with pytest.raises(ArtifactError, match="disk is full"):
        full(tmp_path / "out", Config())


def test_a_folder_that_is_no_artifact_is_left_alone(tmp_path: Path, words: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("dear")
    with pytest.raises(ArtifactError, match="is no artifact"):
        shout(tmp_path / "out", Shout(), words)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "dear"


def test_ranks_run_under_one_publisher(tmp_path: Path):
    seen: list[str] = []

    @stage("contracts.ranks")
    def ranks(draft: Draft, config: Config) -> Corpus:
        code = "import os, pathlib; pathlib.Path(os.environ['OUT'], os.environ['RANK']).write_text(os.environ['WORLD_SIZE'])"
        command = [sys.executable, "-c", code]
        draft.launch(command, ranks=2, env={"OUT": str(draft.dir)}, poll=lambda: seen.append("poll"))
        return Corpus()

    made = ranks(tmp_path / "out", Config())
    assert {file.path: made.path(file).read_text() for file in made.files()} == {"0": "2", "1": "2"}
    assert {file.path for file in made.manifest.files if file.part == "log"} == {"log/rank-0.log", "log/rank-1.log"}
    assert seen


def test_a_rank_that_fails_takes_the_others_along_and_is_quoted(tmp_path: Path):
    @stage("contracts.ranks")
    def ranks(draft: Draft, config: Config) -> Corpus:
        code = "import os, time\nif os.environ['RANK'] == '1': raise SystemExit('no such token')\ntime.sleep(60)"
        draft.launch([sys.executable, "-c", code], ranks=2)
        return Corpus()

    with pytest.raises(BunbukuError, match=r"rank 1 of 2 ended with status 1:\nno such token") as failed:
        ranks(tmp_path / "out", Config())
    assert "rank-1.log" in failed.value.hint
