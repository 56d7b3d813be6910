"""What people see while models are asked: a panel on a terminal, a few words in a log's line."""

from collections.abc import Mapping

from rich.panel import Panel
from rich.table import Table

from bunbuku_inference.accounts import Account
from bunbuku_inference.meter import Meter


def panel(meters: Mapping[str, Meter], account: Account) -> Panel:
    """Every model's meter, and what all of them cost."""
    table = Table(box=None, pad_edge=False)
    for column in ("model", "asked", "cached", "failed", "retries", "tokens in", "tokens out", "tokens/s"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for name, meter in meters.items():
        counts = (
            meter.requests,
            meter.cached,
            meter.failed,
            meter.retries,
            meter.prompt_tokens,
            meter.completion_tokens,
        )
        table.add_row(name, *(f"{count:,}" for count in counts), f"{meter.tokens_per_second:,.0f}")
    return Panel(table, title=spent(account), title_align="left")


def note(meters: Mapping[str, Meter], account: Account) -> str:
    """The same in a few words."""
    written = sum(meter.completion_tokens for meter in meters.values())
    failed = sum(meter.failed for meter in meters.values())
    return f"{written:,} tokens written, {failed:,} failed, {spent(account)}"


def spent(account: Account) -> str:
    """What was spent, and of how much.

    >>> spent(Account()), spent(Account(accepted_tokens=2000))
    ('spent 0, 0 requests', 'spent 0, 0 requests, 2,000 tokens accepted at 0 a million')
    """
    most, accepted = account.budget.max_cost, account.accepted_tokens
    said = f"spent {account.cost:,.4g}{f' of {most:,.4g}' if most else ''}, {account.total.requests:,} requests"
    if not accepted:
        return said
    return f"{said}, {accepted:,} tokens accepted at {account.cost / accepted * 1e6:,.4g} a million"
