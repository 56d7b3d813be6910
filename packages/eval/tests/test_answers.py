"""What one answer is worth: denials, corrections, parity with llm-jp-eval, languages, and numbers of a whole task."""

import math
from typing import Any

import numpy as np
import pytest
from bunbuku_eval import Question, Questions, mark
from bunbuku_eval.answers import Answered, Condition
from bunbuku_eval.degenerate import flags
from bunbuku_eval.estimates import Grid, draws, estimate
from bunbuku_eval.metrics import bleu, char_f1, sentence_bleu
from bunbuku_eval.radar import radar
from bunbuku_eval.tasks import JNLI, JSTS, MAWPS, MGSM, JCommonsenseQA, JSQuAD, task_class
from scipy.stats import pearsonr, spearmanr

ROW = {"q_id": 3, "question": "引き出しは？", "label": 3} | dict(
    zip([f"choice{at}" for at in range(5)], ("本", "靴", "皿", "机", "鍵"), strict=True)
)


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ("机ではない", None),
        ("机ではありません。", None),
        ("机ではなく皿です。", "2"),
        ("机じゃなくて鍵です", "4"),
        ("答えは本でも靴でもなく、机です。", "3"),
        ("3番以外の、2番です。", "2"),
        ("答えは3ではないでしょうか。", "3"),
        ("机は誤りで、正解は皿です", "2"),
        ("0.本,1.靴,2.皿,3.机,4.鍵", None),
        ("0. 本\n1. 靴\n2. 皿\n3. 机\n4. 鍵", None),
        ("0.本,1.靴,2.皿", None),
        ("選択肢：0.本,1.靴,2.皿,3.机,4.鍵\n答え：3", "3"),
        ("本、靴、皿、机、鍵のうち、机です", "3"),
        ("答えは2です。いや、3です。", "3"),
        ("答えは2です。すみません、正しくは3でした。", "3"),
        ("答えは2です。よって皿を選びます。", "2"),
        ("the answer is not 2, it is 3", "3"),
    ],
)
def test_what_is_denied_listed_or_taken_back_is_no_answer(said, understood) -> None:
    task = JCommonsenseQA()
    assert task.understood(said, task.question(ROW, "item 1")) == understood


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ("entailment / contradiction / neutral", None),
        ("entailmentではなく、neutralです。", "neutral"),
        ("含意でも矛盾でもなく、中立です", "neutral"),
        ("neutral ではありません", None),
    ],
)
def test_labels_in_words_are_denied_likewise(said, understood) -> None:
    task = JNLI()
    one = task.question({"sentence_pair_id": 1, "sentence1": "a", "sentence2": "b", "label": "neutral"}, "item 1")
    assert task.understood(said, one) == understood


def test_who_denies_one_of_two_has_said_the_other() -> None:
    task = task_class("jcola").model_validate({})
    one = task.question({"uid": 1, "sentence": "猫寝る", "label": 0}, "item 1")
    assert task.understood("容認できるとは言えない。", one) == "0"
    assert task.understood("1ではありません。", one) == "0"


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ("答えは3ではなく2です", "2"),
        ("答えは3ではなく、2です。", "2"),
        ("答えは12です。いや、計算を間違えました。答えは15です。", "15"),
        ("答えは12です。すみません、15個です。", "15"),
        ("5個ではありません。8個です。", "8"),
        ("答えは8です。残りの3個は箱にあります。", "8"),
        ("3は奇数ではないので、4です", "4"),
    ],
)
def test_a_number_that_is_denied_or_taken_back_is_no_answer(said, understood) -> None:
    task = MGSM()
    assert task.understood(said, task.question({"question": "?", "answer": "8"}, "item 1")) == understood


def test_a_grade_that_is_denied_is_not_the_grade() -> None:
    task = JSTS()
    one = task.question({"sentence_pair_id": 1, "sentence1": "a", "sentence2": "b", "label": 2}, "item 1")
    assert task.understood("3ではなく2です", one) == "2"


# Parity with llm-jp-eval.


def asked(compare: str, answer: Any, **more: Any) -> tuple[Questions, Question]:
    task = Questions.model_validate({"name": "own", "file": "f", "terms": "CC0-1.0", "compare": compare, **more})
    return task, task.question({"id": "1", "question": "?", "answer": answer}, "item 1")


def test_parity_is_the_metric_that_the_task_names() -> None:
    task, one = asked("char_f1", "東京都")
    assert mark(task, one, "東京").parity == mark(task, one, "東京").strict == char_f1("東京", "東京都") == 0.8
    task, one = asked("set_f1", "猫\n犬")
    assert mark(task, one, "猫\n馬").parity == 0.5
    task, one = asked("bleu", "猫が好きです")
    assert 0 < mark(task, one, "猫は好きです").parity < 1


def test_parity_of_ones_own_questions_takes_any_right_answer_and_llm_jp_evals_own_sets_the_first() -> None:
    task, one = asked("exact_match", ["東京", "東京都"])
    assert mark(task, one, "東京都").parity == 1
    row = {"id": "1", "context": "青い", "question": "?", "answers": [{"text": "小笠原諸島"}, {"text": "小笠原"}]}
    found = mark(JSQuAD(), JSQuAD().question(row, "item 1"), "小笠原")
    assert found.strict == 1
    assert found.parity == char_f1("小笠原", "小笠原諸島") < 1


def test_parity_of_a_correlation_reads_the_output_as_it_came() -> None:
    task = JSTS()
    one = task.question({"sentence_pair_id": 1, "sentence1": "a", "sentence2": "b", "label": 2}, "item 1")
    found = [mark(task, one, said).parity_value for said in ("2.5点です。", "4", "9", "あ" * 60 + "3", "なし")]
    assert found == [2.5, 4.0, 9.0, 3.0, -2.0]
    assert mark(task, one, "あ" * 60 + "3").strict_value == -2.0


# Numbers of a whole task.


def grid(pairs: list[tuple[float, float]], metric: Any) -> Grid:
    task, way = JSTS(), Condition("m", "jsts", "generation", "chat", "scale", 0)
    found = []
    for n, (said, gold) in enumerate(pairs):
        one = Question(str(n), {}, (str(gold),))
        found.append(Answered(way, one, "", 0, str(said), mark(task, one, str(said))))
    return Grid.of(found, metric=metric)


PAIRS = [(0.5, 1.0), (1.0, 0.0), (1.5, 2.0), (1.5, 4.0), (4.5, 4.5), (5.0, 3.0), (2.0, 2.5)]


def test_spearman_is_of_ranks_and_pearson_of_values() -> None:
    said, gold = zip(*PAIRS, strict=True)
    pearson, spearman = pearsonr(said, gold)[0], spearmanr(said, gold)[0]
    assert pearson != pytest.approx(spearman, abs=0.01)
    for metric, expected in (("pearson", pearson), ("spearman", spearman)):
        for measure in ("strict", "lenient", "parity"):
            assert estimate(grid(PAIRS, metric), measure, rounds=50, seed=0).value == pytest.approx(expected)


def test_spearman_under_a_draw_is_that_of_the_drawn_items() -> None:
    weights = draws(len(PAIRS), rounds=40, seed=1)
    found = grid(PAIRS, "spearman").statistic("strict")(weights)
    for row, value in zip(weights, found, strict=True):
        drawn = [pair for pair, times in zip(PAIRS, row, strict=True) for _ in range(int(times))]
        said, gold = zip(*drawn, strict=True)
        if len(set(said)) > 1 and len(set(gold)) > 1:
            assert value == pytest.approx(spearmanr(said, gold)[0])
        else:
            assert math.isnan(value)


def test_a_bleu_task_is_scored_by_the_whole_set_and_drawn_again_sentence_by_sentence() -> None:
    said = ["猫が魚を食べた。", "犬は走る。", "", "雨が降っている。"]
    gold = ["猫が魚を食べました。", "犬が走っている。", "鳥が飛ぶ。", "雨が降っている。"]
    task, _ = asked("bleu", "あ")
    way, found = Condition("m", "own", "generation", "chat", "plain", 0), []
    for n, (text, right) in enumerate(zip(said, gold, strict=True)):
        one = Question(str(n), {}, (right,))
        found.append(Answered(way, one, "", 0, text, mark(task, one, text)))
    one = Grid.of(found, metric="bleu")
    assert estimate(one, "strict", rounds=20, seed=0).value == pytest.approx(bleu(said, gold) / 100)
    # llm-jp-eval's own figure is the mean over sentences.
    alone = [sentence_bleu(text, right) for text, right in zip(said, gold, strict=True)]
    assert estimate(one, "parity", rounds=20, seed=0).value == pytest.approx(np.mean(alone) / 100)
    weights = np.array([[2.0, 0.0, 1.0, 1.0]])
    again = [said[0], said[0], said[2], said[3]], [gold[0], gold[0], gold[2], gold[3]]
    assert one.statistic("strict")(weights)[0] == pytest.approx(bleu(*again) / 100)


def test_an_undefined_score_is_no_nought_on_the_radar() -> None:
    drawn = radar({"m": [0.5, None, 1.0, 0.25]}, ["読解", "類似", "算数", "知識"], title="t")
    assert drawn.count("<polygon") == 4  # the four rings alone
    assert drawn.count("<polyline") == 2
    assert drawn.count("<circle") == 3
    assert "m (undefined: 類似)" in drawn


# Languages and gibberish.

SALAD = (
    "電子フォックスcla待ちELLjecla奥前電子待ち青GALLERYhepうら有限注Walkersent希望WindowミネjeLOCワイヤービング静embedded"
    "スタンダードマークELLLAテロ結婚伝ObserverBOXnoBeam静Cincマルセイ保存注hop白木流vistaメディア"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The answer to this question is a desk.", ("not_japanese",)),
        ("这个问题的答案是桌子，因为它很大。", ("not_japanese",)),
        ("我不認為你們的答案是對的，也很不好。", ("not_japanese",)),
        ("이 질문에 대한 대답은 책상이라고 생각합니다.", ("not_japanese",)),
        ("Ответ на этот вопрос — письменный стол.", ("not_japanese",)),
        (SALAD, ("salad",)),
        ("xkcdvbn qwrtpsd fghjklz mnbvcxz プロの rtghbvn", ("salad", "not_japanese")),
        ("東京都千代田区霞が関一丁目二番地", ()),
        ("経済的、社会的、文化的な不平等", ()),
        ("Wolfgang Mozart", ()),
        ("Pythonのprint関数でHello Worldと表示します。", ()),
        ("次の通りです。\n```python\nfor item in items:\n    print(item.name, item.value)\n```", ()),
        ("機械学習モデルの評価には、データセットを分割して使います。", ()),
        ("entailment", ()),
        ("3", ()),
    ],
)
def test_another_language_and_gibberish_are_flagged_and_japanese_is_not(text, expected) -> None:
    assert flags(text) == expected


def test_a_text_of_many_scripts_is_flagged_whatever_the_language() -> None:
    text = "สวัสดี привет 안녕하세요 नमस्ते hello γειά σου مرحبا 漢字 かな " * 2 + "мир เรา 세계 शांति"
    assert "salad" in flags(text, japanese=False)


def test_a_wrong_language_is_worth_nothing_and_a_label_in_latin_letters_is_no_language() -> None:
    task = JCommonsenseQA()
    one = task.question(ROW, "item 1")
    found = mark(task, one, "I think that the best choice among these would be number 3")
    assert (found.flags, found.strict, found.lenient) == (("not_japanese",), 0, 0)
    nli = JNLI()
    other = nli.question({"sentence_pair_id": 1, "sentence1": "a", "sentence2": "b", "label": "neutral"}, "item 1")
    assert mark(nli, other, "contradiction").flags == ()
    assert mark(MAWPS(), Question("1", {}, ("3",)), "答えは3です").flags == ()
    english, asked_of = asked("char_f1", "The cat sat on the mat today")
    assert mark(english, asked_of, "The dog sat on the mat today").flags == ()
