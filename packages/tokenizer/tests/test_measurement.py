from bunbuku_contracts import Artifact, Corpus, Tokenizer, read_sections
from bunbuku_tokenizer import Encoder, MeasureConfig, measure
from bunbuku_tokenizer.documents import Document
from bunbuku_tokenizer.measurement import measure_documents, sections


def test_every_count_is_what_encoding_says(encoder: Encoder) -> None:
    texts = {"ja": ["石油 石油", "𠮷"], "en": ["the kettle\n"]}
    documents = [Document(text, text, language) for language, some in texts.items() for text in some]
    found = measure_documents(encoder, documents, examples=1)
    for language, some in texts.items():
        counts = found.languages[language]
        ids = [id for text in some for id in encoder.encode(text)]
        assert (counts.documents, counts.chars, counts.tokens) == (len(some), sum(map(len, some)), len(ids))
        assert counts.bytes == len("".join(some).encode())
        assert counts.byte_tokens == sum(piece.startswith("<0x") for text in some for piece in encoder.pieces(text))
        assert counts.not_back == counts.differing == 0
    assert found.overall.tokens == found.used.sum()
    assert [language for language, _ in found.examples] == ["ja", "en"]
    assert found.problem is None


def test_a_form_that_differs_is_counted_and_the_first_document_named(encoder: Encoder) -> None:
    fast = type(encoder.fast).from_str(encoder.fast.to_str())  # without the setting that leaves special tokens alone
    broken = Encoder(encoder.sentencepiece, fast)
    documents = [Document("fine", "石油", "ja"), Document("bad", "終わり</s>", "ja"), Document("worse", "<s>", "ja")]
    found = measure_documents(broken, documents, examples=0)
    assert found.languages["ja"].differing == 2
    assert found.problem == "document 'bad': SentencePiece and Hugging Face give different ids"
    assert next(sections(found, ["x"] * len(found.used))).paragraphs == (found.problem,)


def test_a_report_has_numbers_by_language_and_overall(
    tokenizer: Artifact[Tokenizer], corpus: Artifact[Corpus], tmp_path
) -> None:
    report = measure(tmp_path / "report", MeasureConfig(), tokenizer, corpus)
    metrics = report.manifest.metrics
    assert metrics["ja.tokens"] + metrics["en.tokens"] == metrics["overall.tokens"] > 0
    assert metrics["overall.round_trip_failures"] == metrics["overall.id_differences"] == 0
    assert 1 < metrics["ja.characters_per_token"] < metrics["ja.bytes_per_token"]
    compression, spending, cut = read_sections(report)
    assert [row[0] for row in compression.tables[0].rows] == ["en", "ja", "overall"]
    assert sum(int(row[1] or 0) for row in spending.tables[0].rows) == tokenizer.spec.vocab_size
    shares = [share for _, share in spending.curves[0].points]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(cut.tables[0].rows) == 6
