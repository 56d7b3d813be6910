from bunbuku_contracts.cli import stage_cli

from bunbuku_eval.stages.agree import agree
from bunbuku_eval.stages.arena import arena, audit, ballots, import_ballots, invite, moderate_arena
from bunbuku_eval.stages.baseline import baseline
from bunbuku_eval.stages.choice import choice
from bunbuku_eval.stages.compare import compare
from bunbuku_eval.stages.exposure import exposure
from bunbuku_eval.stages.generate import generate
from bunbuku_eval.stages.harness import export, harness
from bunbuku_eval.stages.judge import judge
from bunbuku_eval.stages.leaderboard import leaderboard
from bunbuku_eval.stages.map import map_texts
from bunbuku_eval.stages.perplexity import perplexity
from bunbuku_eval.stages.rate import rate_votes
from bunbuku_eval.stages.report import report
from bunbuku_eval.stages.score import score

main = stage_cli(
    perplexity,
    baseline,
    choice,
    generate,
    score,
    compare,
    exposure,
    judge,
    agree,
    rate_votes,
    arena,
    invite,
    ballots,
    audit,
    moderate_arena,
    import_ballots,
    leaderboard,
    map_texts,
    harness,
    export,
    report,
)
