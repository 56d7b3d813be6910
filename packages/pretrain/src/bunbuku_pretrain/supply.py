"""Whether there is text enough for a course, asked before anything starts, and the laps in which it is read.

Packings are made here, once, by the process that publishes the run. They stay in the scratch folder, so that a run
that goes on finds them.
"""

import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bunbuku_contracts import ArtifactError, BunbukuError, ConfigError

from bunbuku_pretrain.course import Course
from bunbuku_pretrain.laps import Lap, Stint, laps_of_packings, laps_of_text, stints
from bunbuku_pretrain.packing import Packing, Pieces, whole_documents
from bunbuku_pretrain.reading import TokenFile, lengths_of, sequences

MANY_EPOCHS = 4
"""Text read so often is nearly as good as new; beyond, ever less so: Muennighoff et al. 2023 (arXiv:2305.16264)."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Supply:
    """The text of a run.

    Args:
        where: For messages: where it lies.
        files: Of all parts.
        course: Of the run.
        default: The part that phases without a mix read.
        before: What was read of the parts before.
    """

    where: Path
    files: Mapping[str, TokenFile]
    course: Course
    default: str
    before: Sequence[Stint] = ()

    def block_tokens(self) -> int:
        """Tokens that stay together when text is shuffled.

        Raises:
            ConfigError: A sequence length does not divide `shuffle_tokens`.
        """
        lengths = {stretch.sequence_length for stretch in self.course.stretches}
        asked = self.course.config.shuffle_tokens
        for length in lengths:
            if asked is not None and asked % length:
                raise ConfigError(
                    f"`shuffle_tokens` {asked} is not a multiple of the sequence length {length}",
                    hint="make it one of all sequence lengths, or leave it out",
                )
        return asked or math.lcm(*lengths)

    def parts(self) -> list[str]:
        """The parts that are read, or were."""
        own = [part for counts in sequences(self.course, self.default) for part in counts]
        return list(dict.fromkeys([*(stint.part for stint in self.before), *own]))

    def check(self) -> None:
        """Refuse a course that its text cannot feed.

        Raises:
            BunbukuError: A part is not there, too short for a sequence, or read more often than it may be.
        """
        read: dict[str, int] = {}
        for stint in self.before:
            read[stint.part] = read.get(stint.part, 0) + stint.sequences * stint.sequence_length
        for phase, counts in zip(self.course.phases, sequences(self.course, self.default), strict=True):
            length = phase.sequence_length or 0
            for part, count in counts.items():
                have = self._file(part, phase.name).tokens
                if have <= length:
                    raise ArtifactError(
                        f"part {part!r} of {self.where} has {have} tokens to train on, a sequence of {length} needs one "
                        "more than that",
                        hint="give more text or shorten `sequence_length`",
                    )
                read[part] = read.get(part, 0) + count * length
                most = phase.most_epochs(part)
                if most is not None and read[part] > most * have:
                    raise BunbukuError(
                        f"phase {phase.name!r} needs {count * length:,} tokens of part {part!r}, which would have been read "
                        f"{read[part] / have:.2f} times when it ends; its `max_epochs` is {most:g} and there are {have:,}",
                        hint="give more text, a smaller weight or fewer tokens to the phase, or raise `max_epochs`",
                    )
        for part, count in read.items():
            if count > MANY_EPOCHS * self.files[part].tokens:
                epochs = count / self.files[part].tokens
                _logger.warning("part %r is read %.1f times; more than %d helps little", part, epochs, MANY_EPOCHS)

    def laps(self, *, block_tokens: int, seed: int, packings: Path) -> list[Lap]:
        """The laps of all parts, for which documents are packed if the config says so.

        Raises:
            ArtifactError: A part is too short to be shuffled in such blocks.
        """
        reads: list[Stint] = list(self.before)
        for phase, counts in zip(self.course.phases, sequences(self.course, self.default), strict=True):
            length = phase.sequence_length or 0
            reads += [Stint(part=part, sequence_length=length, sequences=count) for part, count in counts.items()]
        found: list[Lap] = []
        for part in self.parts():
            own = stints(read for read in reads if read.part == part)
            if self.course.config.packing == "best_fit":
                found += laps_of_packings(own, self._documents(part), seed=seed, pack=Packer(packings))
                continue
            tokens = self.files[part].tokens
            if tokens <= block_tokens:
                raise ArtifactError(
                    f"part {part!r} of {self.where} has {tokens} tokens, and is shuffled in blocks of {block_tokens}, which "
                    "the sequence lengths of the phases have in common",
                    hint="give more text, or sequence lengths that divide one another",
                )
            found += laps_of_text(own, tokens=tokens, block_tokens=block_tokens)
        return found

    def _documents(self, part: str) -> Pieces:
        documents = whole_documents(lengths_of(self.files[part]))
        if not len(documents.begins):
            raise ArtifactError(
                f"no document of part {part!r} of {self.where} has two tokens to predict one from another"
            )
        return documents

    def _file(self, part: str, phase: str) -> TokenFile:
        if part not in self.files:
            there = ", ".join(self.files)
            raise ArtifactError(
                f"phase {phase!r} reads part {part!r}, which {self.where} has not",
                hint=f"its parts are {there}; tokenize the others too: parts = [{part!r}, …]",
            )
        return self.files[part]


@dataclass(frozen=True)
class Packer:
    """Packs each thing once, into a folder."""

    folder: Path

    def __call__(self, name: str, pieces: Pieces, capacity: int) -> Packing:
        target = self.folder / name
        if not target.is_dir():
            shutil.rmtree(target.with_name(name + ".partial"), ignore_errors=True)
            Packing.of(pieces, capacity).save(target)
        return Packing.load(target)


def lengths_cut(lengths: np.ndarray, sequence_length: int, *, packed: bool) -> float:
    """Share of the documents that are not in one sequence as a whole.

    >>> lengths_cut(np.array([5, 5, 3]), 4, packed=True), round(lengths_cut(np.array([5, 5, 3]), 8, packed=False), 2)
    (0.0, 0.33)
    """
    predictions = np.maximum(lengths.astype(np.int64) - 1, 0)
    if packed:
        return float((predictions > sequence_length).mean())
    begins = np.cumsum(lengths, dtype=np.int64) - lengths
    last = begins + np.maximum(predictions - 1, 0)
    return float((begins // sequence_length != last // sequence_length).mean())
