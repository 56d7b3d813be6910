"""The command line: what it teaches and how it refuses."""

import pytest
from bunbuku_eval.cli import main

STAGES = (
    *(
        "perplexity",
        "baseline",
        "choice",
        "generate",
        "score",
        "compare",
        "exposure",
        "judge",
        "agree",
        "rate",
        "report",
    ),
)


@pytest.mark.parametrize("stage", STAGES)
def test_help_teaches(stage, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main([stage, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "--out DIR" in said
    assert ("config fields:" in said) == (stage != "agree")  # which has nothing to choose
    assert len(said.splitlines()) > 20


def test_a_misspelt_field_is_one_sentence_with_the_right_name(tmp_path, tokens, tokenizer, corpus, capsys) -> None:
    (tmp_path / "config.toml").write_text("sampel = { documents = 3 }\n")
    roles = ["--tokens", str(tokens.dir), "--tokenizer", str(tokenizer.dir), "--corpus", f"{corpus.dir}#validation"]
    assert main(["baseline", str(tmp_path / "config.toml"), *roles, "--out", str(tmp_path / "out")]) == 1
    assert "did you mean 'sample'?" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_wrong_kind_of_artifact_is_one_sentence(tmp_path, tokenizer, corpus, capsys) -> None:
    roles = ["--checkpoints", f"dense={tokenizer.dir}", "--corpus", f"{corpus.dir}#validation"]
    assert main(["perplexity", *roles, "--out", str(tmp_path / "out")]) == 1
    assert "is a 'tokenizer' (schema 1), not a 'checkpoint' (schema 1)" in capsys.readouterr().err


def test_the_published_path_is_all_that_goes_to_standard_output(tmp_path, tokens, tokenizer, corpus, capsys) -> None:
    roles = ["--tokens", str(tokens.dir), "--tokenizer", str(tokenizer.dir), "--corpus", f"{corpus.dir}#validation"]
    config = ["--set", "sample.documents=5", "--set", "discount=0.75", "--set", "unigram_discount=0.75"]
    assert main(["baseline", *roles, *config, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}\n"
