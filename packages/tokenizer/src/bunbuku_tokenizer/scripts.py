"""What a string is written in: kanji, kana, letters of other scripts, or signs."""

import unicodedata


def kind_of(spelling: str) -> str:
    """What a piece is made of.

    >>> [kind_of(piece) for piece in ("石油", "食べる", "です", "ネコ", " the", "。", "7")]
    ['kanji', 'kanji and kana', 'hiragana', 'katakana', 'letters of other scripts', 'signs, digits and spaces', 'signs, digits and spaces']
    """
    scripts = {_script(character) for character in spelling.replace("ー", "").strip(" ")} or {"other"}
    if len(scripts) > 1 and "kanji" in scripts:
        return "kanji and kana"
    return _NAMES[max(scripts)]


_NAMES = {
    "kanji": "kanji",
    "hiragana": "hiragana",
    "katakana": "katakana",
    "letter": "letters of other scripts",
    "other": "signs, digits and spaces",
}


def _script(character: str) -> str:
    name = unicodedata.name(character, "")
    if name.startswith("CJK") or character in "々〇〆":
        return "kanji"
    if name.startswith(("HIRAGANA", "KATAKANA")):
        return "hiragana" if name.startswith("HIRAGANA") else "katakana"
    return "letter" if character.isalpha() else "other"


def is_japanese(text: str) -> bool:
    """Whether `text` is in kanji and kana throughout.

    >>> [is_japanese(text) for text in ("人々", "コーヒー", "第1", "2026", "。")]
    [True, True, False, False, False]
    """
    return all(_script(character) in ("kanji", "hiragana", "katakana") for character in text)
