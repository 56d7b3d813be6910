"""The open tasks, a file each."""

from bunbuku_eval.tasks.open.elyza import ElyzaTasks100
from bunbuku_eval.tasks.open.mt_bench import JapaneseMTBench
from bunbuku_eval.tasks.open.own import OwnTalks
from bunbuku_eval.tasks.open.vicuna import JapaneseVicunaQA
from bunbuku_eval.tasks.talks import Talks

TALKS: tuple[type[Talks], ...] = (JapaneseMTBench, ElyzaTasks100, JapaneseVicunaQA, OwnTalks)

__all__ = ["TALKS", "ElyzaTasks100", "JapaneseMTBench", "JapaneseVicunaQA", "OwnTalks"]
