import pytest
from bunbuku_corpus.document import Document
from bunbuku_corpus.edits import (
    AnyEdit,
    DropBoilerplateLines,
    DropMenus,
    Edit,
    MaskPersonalInformation,
    RepairMojibake,
    TrimFooter,
    UnifyPunctuation,
)
from bunbuku_corpus.filters import MostlyMenus
from bunbuku_corpus.mojibake import garbled, repair
from bunbuku_corpus.normalization import Changes, Normalization, normalize
from bunbuku_corpus.preparation import Preparation
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

EVERY = TypeAdapter(list[AnyEdit]).validate_python(
    [{"type": name} for name in TypeAdapter(AnyEdit).json_schema()["discriminator"]["mapping"]]
)
PROSE = "「明日は晴れるでしょうか」と、彼女は窓の外を見ながら言った。答える者はいなかった。"
WIDE = "Ｐｙｔｈｏｎ　３．１２　（１２３）　ｶﾞｲﾄﾞ①㈱　～−—　café déjà vu naïve Åse"


@pytest.mark.parametrize("wrong", ["latin-1", "cp1252"])
def test_utf8_that_was_read_as_another_encoding_is_read_anew(wrong: str):
    # Windows-1252 has no character for five bytes; whoever read them so kept them as controls.
    misread = "".join(
        bytes([byte]).decode(wrong) if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else chr(byte)
        for byte in PROSE.encode()
    )
    assert misread != PROSE
    assert repair(misread) == PROSE
    assert garbled([misread])[0] > 0.9 * len(misread) and garbled([PROSE])[0] == 0


@pytest.mark.parametrize(
    ("encoding", "wrong"),
    [("utf-8", "cp932"), ("cp932", "cp1252"), ("euc_jp", "latin-1"), ("euc_jp", "cp932"), ("cp932", "utf-8")],
)
def test_other_wrong_readings_are_noticed(encoding: str, wrong: str):
    misread = (PROSE * 3).encode(encoding).decode(wrong, "replace" if wrong == "utf-8" else "ignore")
    assert garbled([misread])[0] > 0.1 * len(misread)


def test_repair_leaves_full_width_text_and_spaces_as_they_are():
    assert repair(WIDE) == WIDE
    assert RepairMojibake().apply(WIDE) == WIDE
    assert garbled([WIDE])[0] == 0


@given(st.text())
def test_repair_leaves_what_is_no_mojibake(text: str):
    if repair(text) != text:
        assert garbled([text])[0] or any("\x80" <= char <= "\u2122" for char in text)


@given(st.text(), st.sampled_from(EVERY))
def test_an_edit_gives_the_same_every_time(text: str, edit: Edit):
    assert edit.apply(text) == edit.apply(text)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("電話は03-1234-5678です", "電話は000-0000-0000です"),
        ("携帯 090-1234-5678", "携帯 000-0000-0000"),
        ("0120-123-456まで", "000-0000-0000まで"),
        ("（03）1234-5678", "000-0000-0000"),
        ("+81-3-1234-5678", "000-0000-0000"),
        ("０３－１２３４－５６７８", "000-0000-0000"),
        ("taro.yamada+x@mail.example.co.jp へ", "email@example.com へ"),
        ("サーバーは10.0.0.254です", "サーバーは192.0.2.1です"),
        ("2024-01-02 から 2024-12-31", "2024-01-02 から 2024-12-31"),
        ("ISBN 978-4-00-310101-8", "ISBN 978-4-00-310101-8"),
        ("バージョン1.2.3.4.5", "バージョン1.2.3.4.5"),
        ("〒100-0001 東京都千代田区1-2-3", "〒100-0001 東京都千代田区1-2-3"),
        ("価格は0123456789円", "価格は0123456789円"),
        ("3時@駅前", "3時@駅前"),
    ],
)
def test_personal_information_is_masked_and_other_numbers_are_not(text: str, masked: str):
    assert MaskPersonalInformation().apply(text) == masked


def test_menus_go_and_sentences_stay():
    page = f"ホーム | 会社概要 | 採用情報\n{PROSE}\n続きを読む\nお問い合わせは、下の番号までお願いします。\n前へ 次へ"
    assert DropBoilerplateLines().apply(page) == f"{PROSE}\nお問い合わせは、下の番号までお願いします。"


def test_a_footer_goes_and_a_text_that_is_all_footer_is_left_to_filters():
    assert TrimFooter().apply(f"{PROSE}\n\nサイトマップ 利用規約\n© 2020 Example") == PROSE
    assert TrimFooter().apply("サイトマップ 利用規約\n") == "サイトマップ 利用規約\n"
    assert TrimFooter().apply("利用規約") == "利用規約"
    assert TrimFooter().apply(PROSE + "\n" + PROSE) == PROSE + "\n" + PROSE


def test_a_full_width_one_stays_a_number():
    text = "１月１日，１．５倍に増えた．これは，重要である．「１」は引用符ではない．"
    unified = UnifyPunctuation().apply(text)
    assert unified == "１月１日、１．５倍に増えた。これは、重要である。「１」は引用符ではない。"
    for form in ("none", "NFC"):
        assert "１" in normalize(unified, Normalization(form=form), Changes())
    assert normalize("１", Normalization(form="NFKC"), Changes()) == "1"


def _prepared(text: str, *edits: Edit, **normalization: bool) -> tuple[str, Changes]:
    changes = Changes()
    how = Preparation.model_validate({"edits": [edit.model_dump() for edit in edits], "normalization": normalization})
    return how.prepare(Document("a", text, "web", None, "MIT", "ja"), changes).text, changes


def test_edits_see_normalized_lines():
    page = "ホーム | お問い合わせ\r本文はここまでです。\r続きもあります。\rプライバシーポリシー\r(C) 2020 例"
    text, changes = _prepared(page, TrimFooter(), DropBoilerplateLines())
    assert text == "本文はここまでです。\n続きもあります。"
    assert changes.edited == {"drop_boilerplate_lines": 1, "trim_footer": 1} and changes.newlines == 4


def test_mojibake_is_read_anew_before_its_controls_are_removed_whatever_the_order_of_edits():
    misread = (PROSE + "\n会社概要 お問い合わせ").encode().decode("latin-1")
    assert any("\x80" <= char <= "\x9f" for char in misread)
    for edits in ((RepairMojibake(), DropBoilerplateLines()), (DropBoilerplateLines(), RepairMojibake())):
        assert _prepared(misread, *edits)[0] == PROSE


def test_punctuation_is_unified_behind_japanese_alone():
    unify = UnifyPunctuation().apply
    assert unify("値は３．１４，幅はＡ．Ｂ．Ｃ，と書く．次に，") == "値は３．１４，幅はＡ．Ｂ．Ｃ，と書く。次に、"
    assert unify("お待ちください．．．") == "お待ちください。。。"
    few = "一つ、二つ、三つ，四つ。"
    assert unify(few) == few
    assert unify("Ａ，Ｂ，Ｃ，と、書く") == "Ａ，Ｂ，Ｃ，と、書く"


MENU = ["会社概要", "沿革", "採用情報", "拠点一覧", "製品情報", "株主総会", "環境報告", "なぜ当社か？", "特集記事"]


def test_labels_in_a_line_and_numbered_headings_are_menus_and_tables_are_none():
    line = "ホーム | 会社概要 | 採用情報 | 沿革 | 製品一覧 | 地図 | 規約 | 索引"
    assert DropMenus().apply(f"{line}\n{PROSE}") == PROSE
    assert DropMenus().apply(f"| {line} |\n{PROSE}") == f"| {line} |\n{PROSE}"
    headings = "\n".join(f"6.{n}. 人にわかりやすく話すこと" for n in range(8))
    assert DropMenus().apply(f"{headings}\n{PROSE * 4}") == PROSE * 4
    assert DropMenus().apply(f"{headings.replace('.', '')}\n{PROSE * 4}") != PROSE * 4


def test_a_notice_under_many_menus_is_not_all_that_is_left():
    notice = "このサイトは更新を停止しています。"
    page = "\n".join([notice, *MENU * 4])
    assert DropMenus().apply(page) == page
    assert MostlyMenus().drops(page)
    assert DropMenus(prose=10).apply(page) == notice
    assert DropMenus().apply("\n".join([notice * 20, *MENU * 4])) == notice * 20


def test_menus_go_and_verse_code_and_what_is_menu_alone_stay():
    page = "\n".join([*MENU, PROSE, PROSE, *MENU])
    assert DropMenus().apply(page) == f"{PROSE}\n{PROSE}"
    assert DropMenus().apply("\n".join(MENU)) == "\n".join(MENU)
    verse = "\n".join([PROSE, *(["雨にもまけず", "風にもまけず", "雪にも夏の暑さにもまけぬ"] * 4)])
    code = "\n".join([PROSE, *(f"let value{n} = read({n});" for n in range(12))])
    for text in (verse, code, PROSE):
        assert DropMenus().apply(text) == text
