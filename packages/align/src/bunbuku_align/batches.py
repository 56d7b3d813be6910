"""Rows as the trainers read them: in their order, once from the beginning to the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence

from bunbuku_align.examples import IGNORED, Example, Pair
from bunbuku_align.order import training_order
from bunbuku_align.packing import pack
from bunbuku_align.training import TrainingConfig


class PackedRow(NamedTuple):
    """Several dialogues end to end."""

    input_ids: list[int]
    labels: list[int]
    seq_lengths: list[int]

    @property
    def length(self) -> int:
        """Tokens that a model reads."""
        return len(self.input_ids)


@dataclass(frozen=True)
class Packed:
    """Makes a batch of packed rows: positions begin anew with each dialogue, by which transformers keeps them apart.

    There is no attention mask: with one, transformers 5 does not look at the positions. Padding is alone at position 0.
    """

    pad_id: int

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        labels = [_but_first(row["labels"], row["seq_lengths"]) for row in rows]
        positions = [[place for length in row["seq_lengths"] for place in range(length)] for row in rows]
        return {
            "input_ids": _padded([row["input_ids"] for row in rows], self.pad_id),
            "labels": _padded(labels, IGNORED),
            "position_ids": _padded(positions, 0),
        }


def packed(rows: Sequence[Example], max_tokens: int) -> list[PackedRow]:
    """The rows, several in one."""
    return [
        PackedRow(
            [id for row in together for id in rows[row].input_ids],
            [label for row in together for label in rows[row].labels],
            [rows[row].length for row in together],
        )
        for together in pack([row.length for row in rows], max_tokens)
    ]


def ordered(rows: Sequence[Example] | Sequence[PackedRow], config: TrainingConfig) -> Dataset:
    """Dialogues in the order in which they are trained on."""
    return Dataset.from_list([row._asdict() for row in rows]).select(_order(rows, config))


def paired(rows: Sequence[Pair], reference: Sequence[tuple[float, float]] | None, config: TrainingConfig) -> Dataset:
    """Pairs in their order, with what the reference says of them if that is known."""
    data = Dataset.from_list([row._asdict() for row in rows])
    if reference is not None:
        chosen, rejected = zip(*reference[: len(rows)], strict=True)
        data = data.add_column("ref_chosen_logps", list(chosen))
        data = data.add_column("ref_rejected_logps", list(rejected))
    return data.select(_order(rows, config))


def mixed_up(
    rows: Sequence[Pair], reference: Sequence[tuple[float, float]] | None, config: TrainingConfig, batch: int
) -> Dataset:
    """Good and bad answers of `batch` pairs at a time, each with an answer to another prompt of the same batch."""
    order, data = _order(rows, config), []
    for start in range(0, len(order), batch):
        some = order[start : start + batch]
        answers = [(row, True) for row in some] + [(row, False) for row in some]
        ids = [rows[row].chosen_ids if good else rows[row].rejected_ids for row, good in answers]
        for (row, good), own, other in zip(answers, ids, ids[-1:] + ids[:-1], strict=True):
            entry = {
                "prompt_ids": rows[row].prompt_ids,
                "completion_ids": own,
                "KL_completion_ids": other,
                "label": good,
            }
            if reference is not None:
                entry["ref_logps"] = reference[row][not good]
            data.append(entry)
    return Dataset.from_list(data)


def _order(rows: Sequence[Example] | Sequence[Pair] | Sequence[PackedRow], config: TrainingConfig) -> list[int]:
    return training_order(
        [row.length for row in rows],
        examples=config.examples(len(rows)),
        batch=config.batch_examples,
        seed=config.seed,
    )


def _but_first(labels: list[int], lengths: Sequence[int]) -> list[int]:
    """The labels, with nothing trained where a dialogue begins: what comes before it is another."""
    found, start = list(labels), 0
    for length in lengths:
        found[start] = IGNORED
        start += length
    return found


def _padded(rows: Sequence[list[int]], value: int) -> torch.Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)
