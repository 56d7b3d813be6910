"""The tiny run's own script, on a few made-up sentences: every console script, end to end."""

import json
import os
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from bunbuku_contracts import Dialogues, Report, Spec, lineage, load, read_sections
from bunbuku_synth import read_items
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
MINI = Path(__file__).parent / "mini"

WHO = {
    "猫": "The cat",
    "犬": "The dog",
    "狸": "The tanuki",
    "子供": "The child",
    "先生": "The teacher",
    "友達": "My friend",
}
WHERE = {"公園": "in the park", "学校": "at school", "駅前": "near the station", "台所": "in the kitchen"}
WHAT = {
    "歌を歌います": "sings a song",
    "本を読んでいます": "is reading a book",
    "お茶を飲みました": "drank some tea",
    "ご飯を食べたいです": "wants to eat rice",
    "静かに寝ていました": "was sleeping quietly",
    "友達を待っています": "is waiting for friends",
}
WHEN = {"今日は": "today", "昨日から": "since yesterday", "毎朝": "every morning", "いつも": "all the time"}


def write_sentences(path: Path) -> None:
    """Sentences in the shape of the collection that the tiny run reads: id, Japanese, English."""
    rows = product(WHEN.items(), WHO.items(), WHERE.items(), WHAT.items())
    lines = [
        f"{number}\t{when}{who}が{where}で{what}。\t{subject} {does} {place} {time}."
        for number, ((when, time), (who, subject), (where, place), (what, does)) in enumerate(rows, 1)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def tiny(folder: Path) -> str:
    sentences, teacher = folder / "sentences.tsv", folder / "teacher.gguf"
    if not sentences.exists():
        write_sentences(sentences)
        teacher.write_bytes(b"not asked anything in so small a run")
    command = [ROOT / "runs" / "tiny.sh", "--configs", MINI, "--out", folder / "out"]
    files = ["--sentences", sentences, "--teacher", teacher]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run([*command, *files], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def snapshot(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in [root, *root.rglob("*")]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("tiny")
    return folder, tiny(folder)


@pytest.mark.timeout(900)
def test_the_run_ends_with_the_lineage_and_the_path_of_a_page(run: tuple[Path, str]):
    folder, shown = run
    path = Path(re.findall(r"^report: (.+)$", shown, re.MULTILINE)[0])
    page = (folder / path).read_text(encoding="utf-8")
    assert page.startswith("<!")
    assert "sentences.tsv" in shown
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)  # self-contained


@pytest.mark.timeout(900)
def test_every_artifact_is_as_published_and_goes_back_to_the_sentences(run: tuple[Path, str]):
    folder, _ = run
    made = [load(path.parent, Spec) for path in (folder / "out").glob("*/manifest.json")]
    assert len(made) > 25
    for artifact in made:
        artifact.verify()
        nodes = list(lineage(artifact).walk())
        assert any(node.role == "source" for node in nodes)
        assert any("CC BY 2.0 FR" in licence or "CC-BY-2.0-FR" in licence for licence in artifact.spec.licences)


@pytest.mark.timeout(900)
def test_a_second_run_changes_nothing(run: tuple[Path, str]):
    folder, shown = run
    before = snapshot(folder / "out")
    assert tiny(folder) == shown
    assert snapshot(folder / "out") == before


@pytest.mark.timeout(900)
def test_the_report_has_what_the_models_were_measured_by(run: tuple[Path, str]):
    folder, _ = run
    report = load(folder / "out" / "report", Report)
    bits = load(folder / "out" / "perplexity", Report).manifest.metrics
    dense, upcycled, trained = (bits[f"bits_per_byte.{name}.total"] for name in ("dense", "upcycled", "moe"))
    assert abs(upcycled - dense) < 1e-3  # at the moment of upcycling nothing is lost
    assert trained < upcycled
    alike = load(folder / "out" / "similarity", Report).manifest.metrics
    assert alike["similarity.trained.mean"] < alike["similarity.upcycled.mean"]  # experts drift apart
    assert load(folder / "out" / "bigram", Report).manifest.metrics["bits_per_byte.kneser_ney.total"] > 0
    assert json.loads((report.dir / "manifest.json").read_text())["spec"]["page"] == "index.html"


@pytest.mark.timeout(900)
def test_the_leaderboard_follows_the_models_over_their_training(run: tuple[Path, str]):
    folder, shown = run
    board = load((folder / re.findall(r"^leaderboard: (.+)$", shown, re.MULTILINE)[0]).parent, Report)
    (section,) = read_sections(board)
    models = {str(row[0]) for row in section.tables[0].rows}
    ends = {"dense", "upcycled", "moe", "dense-sft", "moe-sft", "dense-chat", "moe-chat"}
    assert models > ends
    assert all(name.startswith("dense@") for name in models - ends)
    lines = [curve.points for curve in section.curves if curve.y_label == "bits_per_byte, perplexity"]
    # The dense model at its milestone and its end, the mixture as it was copied and at its end: the end is better.
    bits = [points for points in lines if len({tokens for tokens, _ in points}) > 1]
    assert [len(points) for points in bits] == [2, 2]
    assert all(points[0][0] < points[1][0] and points[0][1] > points[1][1] for points in bits)
    # After SFT and after DPO, on as many tokens, for each of both.
    assert [len(points) for points in lines if points not in bits] == [2, 2]


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_milestone_is_taught_to_answer_and_asked_verified_questions_that_teaching_did_not_hold(run: tuple[Path, str]):
    folder, _ = run
    [milestone] = (folder / "out").glob("dense-trained@*")
    out = folder / "milestone"
    done = recipe(folder, "milestone.sh", MINI, folder / "out", MILESTONE=milestone, MILESTONE_OUT=out, SFT_STEPS="1")
    assert done.returncode == 0, done.stderr[-4000:]
    asked = [json.loads(line) for line in (out / "questions" / "questions.jsonl").read_text().splitlines()]
    taught = {item.messages[0].content for item in read_items(load(folder / "out" / "dialogues", Dialogues))}
    assert asked and not {row["question"] for row in asked} & taught
    score = load(out / "score", Report).manifest.metrics
    for model in ("base", "taught"):
        assert 0 <= score[f"strict.{model}.verified.generation.chat"] <= 1
    for name in ("perplexity", "choice"):
        assert load(out / name, Report).manifest.metrics


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_branches_of_each_domain_are_merged_and_compared_with_one_model_of_all(run: tuple[Path, str]):
    folder, _ = run
    out = folder / "branches"
    options = ["--from", folder / "out", "--recipe", MINI, "--configs", MINI.parent / "branches", "--out", out]
    done = recipe(folder, "branches.sh", *options)
    assert done.returncode == 0, done.stderr[-4000:]
    bits = load(out / "perplexity", Report).manifest.metrics
    models = ("base", "ja", "en", "whole", "linear", "ties")
    assert all(bits[f"bits_per_byte.{name}.total"] > 0 for name in models)
    ja, en, linear = (load_file(out / name / "model.safetensors") for name in ("ja", "en", "linear"))
    changed = [name for name in ja if not torch.equal(ja[name], en[name])]
    assert len(changed) > len(ja) / 2, "the branches went apart"
    assert all(torch.allclose(linear[name], (ja[name] + en[name]) / 2, atol=1e-6) for name in ja)


def recipe(folder: Path, script: str, *options: object, **variables: object) -> subprocess.CompletedProcess[str]:
    """A script of runs/, with what it finds in its environment."""
    command = ["bash", str(ROOT / "runs" / script), *map(str, options)]
    environment = os.environ | {name: str(value) for name, value in variables.items()}
    environment |= {"OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_killed_five_times_it_ends_with_the_same_things(run: tuple[Path, str], tmp_path: Path):
    folder, _ = run
    options = ["--configs", MINI, "--sentences", folder / "sentences.tsv", "--teacher", folder / "teacher.gguf"]
    command = [
        sys.executable,
        ROOT / "benchmarks" / "bench_kills.py",
        folder / "out",
        "--out",
        tmp_path / "out",
        *options,
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert "0 broken promises" in done.stdout
