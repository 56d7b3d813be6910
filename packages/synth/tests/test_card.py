import json
from pathlib import Path

import pytest
from bunbuku_contracts import Artifact, ArtifactError, Dialogues, Draft, Spec, load, stage
from bunbuku_synth import CardConfig, GenerateConfig, RenderConfig, ScreenConfig, generate, render, screen
from bunbuku_synth.card import written
from bunbuku_synth.cli import main
from bunbuku_synth.item import Item, dialogue, write_items
from bunbuku_synth.tasks import Cloze, Translate


@pytest.fixture
def dialogues(tmp_path, corpus, pairs_of_all_blocks) -> Artifact[Dialogues]:
    config = GenerateConfig(tasks=(Translate(count=40), Cloze(count=30)))
    return generate(tmp_path / "dialogues", config, corpus, pairs_of_all_blocks)


def text_of(made: Artifact, **fields: object) -> str:
    return "\n".join(written(CardConfig.model_validate(fields), load(made.dir, Spec)))


def test_a_card_says_where_it_came_from_and_what_is_in_it(dialogues: Artifact[Dialogues]):
    text = text_of(dialogues, title="会話", samples=1)
    head = dict(line.split(": ", 1) for line in text.split("---")[1].strip().splitlines())
    assert json.loads(head["license_name"]) == "CC0-1.0" and json.loads(head["size_categories"]) == ["n<1K"]
    assert "# 会話" in text and dialogues.content in text
    assert "| corpus | test.corpus | CC0-1.0 |" in text
    assert "| rule:translate | - | 40 | made by rule |" in text
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith(("| translate |", "| cloze |"))]
    assert sum(int(row[2]) for row in rows) == 70
    assert text.count("> **assistant**: ") == 2 and '"type": "translate"' in text


def test_a_card_counts_rejects_here_and_before(tmp_path: Path, dialogues: Artifact[Dialogues]):
    screened = screen(tmp_path / "screened", ScreenConfig(), dialogues)
    dropped = {key: value for key, value in screened.manifest.metrics.items() if key.startswith("dropped.")}
    text = text_of(screened)
    for name, count in dropped.items():
        assert f"| this one | {name.removeprefix('dropped.')} | {round(count)} |" in text
    told = text_of(render(tmp_path / "rendered", RenderConfig(), {"made": screened}))
    assert "documents, made by `synth.render`" in told and "synth:translate" in told
    for name, count in dropped.items():
        assert f"| synth.screen | {name.removeprefix('dropped.')} | {round(count)} |" in told


@stage("test.taught")
def taught(draft: Draft, config: CardConfig) -> Dialogues:
    """Publish an item of each of two teachers."""
    items = (
        Item(name, dialogue("問", "答"), "talk", "ja", None, "t@1", "teacher", f"{name}@abc", 1, "CC0-1.0")
        for name in ("small", "large")
    )
    write_items(items, draft, rows_per_shard=10)
    return Dialogues(licences=("CC0-1.0",))


def test_a_teacher_without_terms_is_named_as_such(tmp_path: Path):
    text = text_of(taught(tmp_path / "made", CardConfig()), teacher_terms={"small": "Apache-2.0, output free"})
    assert "| teacher | small@abc | 1 | Apache-2.0, output free |" in text
    assert "| teacher | large@abc | 1 | not given |" in text


def test_the_command_prints_it_and_a_report_has_none(dialogues, capsys):
    main(["card", "--made", str(dialogues.dir)])
    assert "## Samples" in capsys.readouterr().out
    report = main(["survey", "--dialogues", f"a={dialogues.dir}", "--out", str(dialogues.dir.with_name("report"))])
    assert not report
    with pytest.raises(ArtifactError, match="is a 'report'"):
        text_of(load(dialogues.dir.with_name("report"), Spec))
