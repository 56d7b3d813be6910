"""What the corpus's audit finds is what the evaluation leaves out: the one's `items.parquet` is read by the other."""

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from random import Random

import pytest
from bunbuku_contracts import Architecture, Artifact, Checkpoint, Config, Corpus, Draft, read_sections, stage
from bunbuku_corpus import ContaminationConfig, GatherConfig, contamination, gather
from bunbuku_eval import EvalRun, ScoreConfig, score
from bunbuku_inference import OpenAIEngine

SERVER = Path(__file__).parents[2] / "packages/eval/tests/server.py"
LETTERS = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわ"


class Nothing(Config):
    """No settings."""


@stage("pretrain.export")
def named(draft: Draft, config: Nothing) -> Checkpoint:
    """A model that a server answers for."""
    (draft.dir / "config.json").write_text("{}")
    shape = Architecture(layers=1, hidden_size=8, ffn_size=8, heads=1, kv_heads=1, vocab_size=8)
    return Checkpoint(architecture=shape, format="hf", step=0, tokens_seen=0, tokenizer="0" * 64)


def rows() -> list[dict[str, object]]:
    """Thirty questions that have nothing in common."""
    random = Random(0)
    return [
        {"q_id": 100 + n, "question": "".join(random.choices(LETTERS, k=24)), "label": n % 5,
         **{f"choice{at}": season for at, season in enumerate(("春", "夏", "秋", "冬", "梅雨"))}}
        for n in range(30)
    ]  # fmt: skip


def lines(path: Path, found: Sequence[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found), encoding="utf-8")
    return path


@pytest.fixture(params=["q_id", "id"], ids=["by id", "by line"])
def audited(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Artifact, set[str]]:
    """A task's file, the audit of it, and the ids of the questions that were put into the corpus."""
    questions = rows()
    planted = questions[::3]
    texts = [
        {"id": f"d{n}", "licence": "CC0-1.0", "language": "ja",
         "text": f"第{n}回の町内会の便りです。今月も皆さまの声をお届けします。{row['question']}また来月お会いしましょう。"}
        for n, row in enumerate(planted)
    ]  # fmt: skip
    corpus: Artifact[Corpus] = gather(tmp_path / "raw", GatherConfig(), lines(tmp_path / "texts.jsonl", texts))
    folder = tmp_path / "data"
    folder.mkdir()
    file = lines(folder / "jcommonsenseqa-v1.3-valid.jsonl", questions)
    config = ContaminationConfig.model_validate({"id": request.param, "fields": ["question"]})
    return folder, contamination(tmp_path / "audit", config, corpus, file), {str(row["q_id"]) for row in planted}


def test_scores_without_what_the_audit_found_are_those_of_the_questions_that_were_not_planted(
    tmp_path: Path, audited: tuple[Path, Artifact, set[str]]
) -> None:
    folder, audit, planted = audited
    known = {str(row["question"]): str(row["label"]) for row in rows() if str(row["q_id"]) in planted}

    def says(prompt: str, seed: int) -> str:
        """It has learnt the planted answers by heart, and says of all others a label that is none of them."""
        return next((label for question, label in known.items() if question in prompt), "9")

    with _talker()(says) as server:
        run = EvalRun(engine=OpenAIEngine(base_url=server.url, served_model="talker", attempts=1))
        config = ScoreConfig.model_validate({"tasks": ["jcommonsenseqa"], "styles": ["chat"], "bootstrap_rounds": 100})
        report = score(
            tmp_path / "score",
            config,
            {"m": named(tmp_path / "model", Nothing())},
            folder,
            {"jcommonsenseqa": audit},
            run=run,
        )
    section = next(one for one in read_sections(report) if one.title == "Without contaminated items")
    (row,) = section.tables[0].rows
    assert row[4:7] == (len(planted), 0, 30)
    every, flagged, clean = (str(cell).split(" ")[0] for cell in row[7:])
    assert (float(every), float(flagged), float(clean)) == (pytest.approx(10 / 30, abs=1e-3), 1, 0)


def _talker():
    spec = spec_from_file_location("eval_test_server", SERVER)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["eval_test_server"] = module
    spec.loader.exec_module(module)
    return module.Talker
