"""Learn to tell texts apart from labelled examples."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from bunbuku_contracts import Artifact, BunbukuError, Classifier, Corpus, Draft, Picture, Section, Table, page, stage
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveFloat

from bunbuku_corpus import grading, pictures
from bunbuku_corpus.classifier import Facts, Linear, Probabilities, write_classifier
from bunbuku_corpus.features import Features
from bunbuku_corpus.grading import Grade
from bunbuku_corpus.labels import Example, LabelFields, read_examples
from bunbuku_corpus.learning import learn as learn_linear

TITLE = "How well the classifier tells texts apart"
_CUTS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)


class LearnConfig(LabelFields):
    """What is learned from which examples, and how it is tested."""

    features: Features = Features()
    """What is read of a text."""
    test: float = Field(default=0.2, gt=0, lt=1)
    """Share of the examples that nothing is learned from, by a hash of the text: equal texts are on one side."""
    strength: PositiveFloat = 10.0
    """Inverse of the regularization: the larger, the closer to the examples."""
    folds: int = Field(default=5, ge=2)
    """Parts that are held out in turn to make the scores probabilities."""
    seed: NonNegativeInt = 0
    """Of the folds and the intervals."""
    mistakes: NonNegativeInt = 20
    """Tested texts shown that the classifier is surest and wrong of."""


@stage("corpus.learn", revision=2, bitwise=False)
def learn(draft: Draft, config: LearnConfig, labels: Path, corpus: Artifact[Corpus] | None = None) -> Classifier:
    """Learn a classifier from labelled texts, make its scores probabilities, and test it on texts it has not seen.

    `--labels` is JSON Lines: `{"text": "…", "label": "good"}`, or `{"id": "…", "label": "good"}` for documents of
    `--corpus`; or a file in fastText's format, whose lines begin with `__label__good`. Labels may be any words, two or more. The page has every measure with its 95 % interval, how sure and how
    right the classifier is, and what dropping a label from each probability on would do: choose thresholds there for
    `classify`. Needs scikit-learn (`bunbuku-corpus[learn]`); `classify` does not.
    """
    examples = read_examples(labels, corpus, config)
    parts = _divide(examples, config)
    names = tuple(sorted({one.label for one in examples}))
    numbers = {name: number for number, name in enumerate(names)}
    train = np.array([numbers[one.label] for one in parts.train], np.int64)
    rows = config.features.of([one.text for one in parts.train])
    learned = learn_linear(
        rows, train, config.features.slots, strength=config.strength, folds=config.folds, seed=config.seed
    )
    facts = Facts(labels=names, features=config.features, temperature=learned.temperature, biases=learned.biases)
    linear = Linear(facts, learned.weights)
    write_classifier(draft, linear)
    truth = np.array([numbers[one.label] for one in parts.test], np.int64)
    probabilities = linear.probabilities([one.text for one in parts.test])
    found = grading.grades(probabilities, truth, names, seed=config.seed)
    draft.metrics |= {"examples.train": len(train), "examples.test": len(truth), "temperature": learned.temperature}
    for one in found:
        draft.metrics |= {one.name: one.value} if one.value == one.value else {}
        low, high = one.interval
        draft.metrics |= {f"{one.name}.low": low, f"{one.name}.high": high} if low == low else {}
    tested = _Tested(parts.test, probabilities, truth, names)
    page.publish(draft, TITLE, _sections(parts, tested, found, config), {"reliability.svg": _picture(tested)})
    return Classifier(labels=names)


class _Parts(NamedTuple):
    train: list[Example]
    test: list[Example]


class _Tested(NamedTuple):
    examples: list[Example]
    probabilities: Probabilities
    truth: NDArray[np.int64]
    labels: tuple[str, ...]


def _divide(examples: Sequence[Example], config: LearnConfig) -> _Parts:
    parts = _Parts([], [])
    for example in examples:
        digest = hashlib.blake2b(
            " ".join(example.text.split()).encode("utf-8", "surrogatepass"), digest_size=8
        ).digest()
        parts[int.from_bytes(digest) < config.test * 2**64].append(example)
    kinds = Counter(one.label for one in examples)
    if len(kinds) < 2:
        raise BunbukuError(f"every example is called {next(iter(kinds))!r}", hint="give examples of two labels or more")
    for label in sorted(kinds):
        counts = [sum(one.label == label for one in part) for part in parts]
        if counts[0] < config.folds or not counts[1]:
            raise BunbukuError(
                f"the label {label!r} has {counts[0]} examples to learn from and {counts[1]} to test on; "
                f"{config.folds} and 1 are needed",
                hint="label more, or lower `folds`",
            )
    return parts


def _picture(tested: _Tested) -> str:
    points = [(one.confidence, one.accuracy) for one in grading.reliability(tested.probabilities, tested.truth)]
    return pictures.curve(points, x_label="how sure it is", y_label="how often it is right", diagonal=True)


def _sections(parts: _Parts, tested: _Tested, found: Sequence[Grade], config: LearnConfig) -> tuple[Section, ...]:
    kinds = {name: [Counter(one.label for one in part)[name] for part in parts] for name in tested.labels}
    said = (
        f"Learned from {len(parts.train):,} examples, tested on {len(parts.test):,} others. Intervals are Wilson's for "
        "shares, of 500 resamplings for the rest. Examples that are nearly the same may be on both sides: deduplicate "
        "them before they are labelled, or these numbers flatter.",
    )
    measures = tuple((one.name, *(_number(value) for value in (one.value, *one.interval))) for one in found)
    cuts = grading.cuts(tested.probabilities, tested.truth, tested.labels, _CUTS)
    dropping = tuple(
        (one.label, one.threshold, one.called, _number(one.precision), _number(one.recall)) for one in cuts
    )
    return (
        Section(
            title="What it gets right",
            paragraphs=said,
            tables=(
                Table(columns=("measure", "value", "95 % low", "95 % high"), rows=measures),
                Table(columns=("label", "learned from", "tested on"), rows=tuple((k, *v) for k, v in kinds.items())),
            ),
        ),
        Section(
            title="Whether its probabilities are to be believed",
            paragraphs=(
                "On the dashed line it is right as often as it says. Each dot is a tenth of the tested texts.",
            ),
            pictures=(Picture(path="reliability.svg", caption="How sure, and how often right"),),
        ),
        Section(
            title="What thresholds would do",
            tables=(Table(columns=("label", "from probability", "called so", "precision", "recall"), rows=dropping),),
        ),
        Section(title="Where it is surest and wrong", tables=(_mistakes(tested, config.mistakes),)),
    )


def _number(value: float | None) -> float | None:
    return None if value is None or value != value else round(value, 4)


def _mistakes(tested: _Tested, count: int) -> Table:
    guesses, sure = tested.probabilities.argmax(axis=1), tested.probabilities.max(axis=1)
    wrong = [int(row) for row in np.argsort(-sure, kind="stable") if guesses[row] != tested.truth[row]]
    rows = tuple(
        (
            tested.labels[tested.truth[row]],
            tested.labels[guesses[row]],
            round(float(sure[row]), 3),
            " ".join(tested.examples[row].text.split())[:160],
        )
        for row in wrong[:count]
    )
    return Table(columns=("labelled", "called", "probability", "text"), rows=rows, caption=f"{len(wrong):,} in all")
