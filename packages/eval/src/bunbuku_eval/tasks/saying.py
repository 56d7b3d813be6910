"""How answers are said in prose: announced, denied, and taken back."""

import re
from collections import Counter

MARKER = re.compile(
    r"(?:答え|答|回答|正解|解答|結論|answer|出力)(?:は|:|が|としては|\s+is\b|\s)*[、,]?\s*", re.IGNORECASE
)
"""What comes before an answer."""
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?")
_CORRECTION = re.compile(
    r"(?:^|(?<=[。、,.!?\n\s」』)]))(?:いや|いえ|違った|違いました|訂正(?:します|すると)?|失礼(?:しました)?|すみません|"
    r"間違えました|間違いでした|やはり|やっぱり|正しくは|actually|wait|no)(?=[、,。.:!…\s])[、,。.:!…\s]*",
    re.IGNORECASE,
)
_COUNTER = r"(?:番|号|個|つ|円|人|本|枚|回|年|歳|匹|点|度|cm|m|km|kg|g|%)?"
_DENIED = (
    r"[」』\"”）)*]*\s?" + _COUNTER + r"(?:の[^、。,\n]{0,12}?)?[」』\"”]*(?:という(?:の|こと|わけ)?)?"
    r"(?:(?:では|じゃ|とは|でも)(?:なくて?[、,]?"
    r"|(?:ない(?!か|でしょうか|だろうか|のでは)|ありません(?!か)|言え|いえ|言いがた)[^。\n、,]{0,8}[、,]?)"
    r"|でも(?=[^。\n]{0,24}でも(?:な(?:い|く)|ありませ))|以外"
    r"|は(?:違|誤|間違|不正解|不適|正しくな|当てはまら|あてはまら|適切でな|ありえ)[^。\n、,]{0,8}[、,]?)"
)

_CLOSING = {"「": "」", "『": "』", "“": "”", '"': '"'}
_MARK = re.compile(r'[「」『』“”"]')


def quoted(text: str) -> str | None:
    """The first thing that stands in quotation marks, with the quotations inside it; `None` without one.

    >>> quoted("答えは「『坊っちゃん』の主人公」です"), quoted("「「水」"), quoted("水")
    ('『坊っちゃん』の主人公', '水', None)
    """
    wanted: list[str] = []
    starts: list[int] = []
    awaited: Counter[str] = Counter()
    pairs: list[tuple[int, int]] = []
    """Those that lie in no other."""
    for at in (found.start() for found in _MARK.finditer(text)):
        letter = text[at]
        if awaited[letter]:
            # What was opened since and not closed is no quotation.
            while (last := wanted.pop()) != letter:
                awaited[last] -= 1
                starts.pop()
            awaited[letter] -= 1
            start = starts.pop()
            while pairs and pairs[-1][0] > start:
                pairs.pop()
            if at > start + 1:
                pairs.append((start, at))
        elif letter in _CLOSING:
            wanted.append(_CLOSING[letter])
            awaited[wanted[-1]] += 1
            starts.append(at)
    return text[pairs[0][0] + 1 : pairs[0][1]] if pairs else None


def announced(text: str) -> str | None:
    """What stands behind the last 「答えは」; `None` without one.

    >>> announced("3足す2なので、答えは5です。"), announced("5です。")
    ('5です。', None)
    """
    marked = list(MARKER.finditer(text))
    return text[marked[-1].end() :] if marked else None


def corrected(text: str) -> str | None:
    """What stands behind the last word that takes back what was said; `None` without one.

    >>> corrected("答えは2です。いや、3です。"), corrected("いやな味がする。"), corrected("3です。")
    ('3です。', None, None)
    """
    found = list(_CORRECTION.finditer(text))
    return text[found[-1].end() :] if found else None


def without_denial(text: str, word: re.Pattern[str]) -> str:
    """The text without the places where the word is said not to be it.

    >>> without_denial("机ではない", re.compile("机")), without_denial("答えは3ではなく2です", NUMBER)
    ('', '答えは2です')
    >>> without_denial("3は奇数ではない", NUMBER), without_denial("机ではないでしょうか", re.compile("机"))
    ('3は奇数ではない', '机ではないでしょうか')
    """
    denied = re.compile(rf"(?:(?<=\bnot )|)(?:{word.pattern}){_DENIED}", word.flags)
    return re.sub(rf"\bnot (?:{word.pattern})", "", denied.sub("", text), flags=word.flags)
