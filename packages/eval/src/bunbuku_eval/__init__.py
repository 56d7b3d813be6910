"""Perplexity, tasks, judges, votes and one page that shows the whole run.

Every measurement is a stage that ends in a report artifact: its numbers in the manifest's metrics, its tables in
`sections.json`, and one row an item in `items.parquet`. `report` is the stage that gathers such artifacts, of this
package or any other, into a single HTML page.
"""

from bunbuku_contracts.intervals import Interval, wilson

from bunbuku_eval.answers import mark
from bunbuku_eval.bits import bits_per_byte
from bunbuku_eval.documents import Document, Sample
from bunbuku_eval.intervals import bootstrap_ratio
from bunbuku_eval.judges import JudgeConfig
from bunbuku_eval.kneser_ney import BigramCounts, KneserNeyBigram
from bunbuku_eval.prompts import Prompt
from bunbuku_eval.ratings import Rating, Ratings, bradley_terry, rate
from bunbuku_eval.run import EvalRun
from bunbuku_eval.stages.agree import AgreeConfig, agree
from bunbuku_eval.stages.baseline import BaselineConfig, baseline
from bunbuku_eval.stages.choice import ChoiceConfig, choice
from bunbuku_eval.stages.compare import CompareConfig, compare
from bunbuku_eval.stages.exposure import ExposureConfig, exposure
from bunbuku_eval.stages.generate import GenerateConfig, generate
from bunbuku_eval.stages.harness import ExportConfig, HarnessConfig, HarnessRun, export, harness
from bunbuku_eval.stages.judge import judge
from bunbuku_eval.stages.leaderboard import LeaderboardConfig, leaderboard
from bunbuku_eval.stages.map import MapConfig, map_texts
from bunbuku_eval.stages.perplexity import PerplexityConfig, perplexity
from bunbuku_eval.stages.rate import RateConfig, rate_votes
from bunbuku_eval.stages.report import ReportConfig, report
from bunbuku_eval.stages.score import ScoreConfig, score
from bunbuku_eval.tasks import Hub, Phrasing, Question, Questions, Task
from bunbuku_eval.verdicts import preference, rating
from bunbuku_eval.votes import Votes, one_sided, read_votes

__all__ = [
    "AgreeConfig",
    "BaselineConfig",
    "BigramCounts",
    "ChoiceConfig",
    "CompareConfig",
    "Document",
    "EvalRun",
    "ExportConfig",
    "ExposureConfig",
    "GenerateConfig",
    "HarnessConfig",
    "HarnessRun",
    "Hub",
    "Interval",
    "JudgeConfig",
    "KneserNeyBigram",
    "LeaderboardConfig",
    "MapConfig",
    "PerplexityConfig",
    "Phrasing",
    "Prompt",
    "Question",
    "Questions",
    "RateConfig",
    "Rating",
    "Ratings",
    "ReportConfig",
    "Sample",
    "ScoreConfig",
    "Task",
    "Votes",
    "agree",
    "baseline",
    "bits_per_byte",
    "bootstrap_ratio",
    "bradley_terry",
    "choice",
    "compare",
    "export",
    "exposure",
    "generate",
    "harness",
    "judge",
    "leaderboard",
    "map_texts",
    "mark",
    "one_sided",
    "perplexity",
    "preference",
    "rate",
    "rate_votes",
    "rating",
    "read_votes",
    "report",
    "score",
    "wilson",
]
