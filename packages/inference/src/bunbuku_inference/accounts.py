"""What asking costs: prices, a cap on them, and the account that a run keeps over all its models and restarts.

Prices and budgets are circumstance. What a run spends is written into the same transaction as the answers it paid for, so that
a process that is killed forgets neither, and a run that goes on does not begin its budget anew.
"""

from dataclasses import dataclass, field
from math import inf

from bunbuku_contracts.errors import Unfinished
from bunbuku_contracts.manifest import RunSettings
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt


class Price(RunSettings):
    """What a model costs, in any currency."""

    per_million_prompt_tokens: NonNegativeFloat = 0.0
    per_million_completion_tokens: NonNegativeFloat = 0.0
    per_hour: NonNegativeFloat = 0.0
    """Of the time that asking takes: of rented accelerators, for example."""


class Budget(RunSettings):
    """Where a run stops in good order, all its restarts together. What was asked before that is finished and kept."""

    max_cost: PositiveFloat | None = None
    """In the currency of the prices."""
    max_requests: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None


@dataclass(frozen=True, slots=True)
class Spending:
    """What was asked and computed; adds up."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Spending") -> "Spending":
        return Spending(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.seconds + other.seconds,
        )

    def cost(self, price: Price) -> float:
        """In the price's currency.

        >>> Spending(prompt_tokens=500_000, seconds=1800).cost(Price(per_million_prompt_tokens=3, per_hour=2))
        2.5
        """
        return (
            self.prompt_tokens * price.per_million_prompt_tokens / 1e6
            + self.completion_tokens * price.per_million_completion_tokens / 1e6
            + self.seconds * price.per_hour / 3600
        )


@dataclass
class Account:
    """What a run spends over all its models."""

    budget: Budget = field(default_factory=Budget)
    label: str = "run"
    """Names the run where its spending is kept."""
    accepted_tokens: int = 0
    """Written tokens that are part of what the run keeps, as far as it knows yet."""
    _prices: dict[str, Price] = field(default_factory=dict[str, Price])
    _spent: dict[str, Spending] = field(default_factory=dict[str, Spending])

    def purse(self, name: str, price: Price) -> "Purse":
        """The account of one model."""
        self._prices[name] = price
        self._spent[name] = Spending()
        return Purse(self, name)

    def pay(self, name: str, spending: Spending) -> None:
        """Enter what one model was asked."""
        self._spent[name] += spending

    @property
    def total(self) -> Spending:
        """Over all models."""
        return sum(self._spent.values(), Spending())

    @property
    def cost(self) -> float:
        """Over all models, each at its price."""
        return sum(spent.cost(self._prices[name]) for name, spent in self._spent.items())

    @property
    def used_up(self) -> str | None:
        """Which cap has been reached, as a sentence; `None` if none has."""
        total, budget = self.total, self.budget
        for name, spent, most in (
            ("max_cost", self.cost, budget.max_cost),
            ("max_requests", total.requests, budget.max_requests),
            ("max_completion_tokens", total.completion_tokens, budget.max_completion_tokens),
        ):
            if spent >= (inf if most is None else most):
                return f"`{name}` of the budget is {most:,}, and {spent:,.6g} was spent"
        return None


@dataclass(frozen=True)
class Purse:
    """One model's part in an account."""

    account: Account
    name: str

    @property
    def label(self) -> str:
        """Names the run and the model where their spending is kept."""
        return f"{self.account.label}/{self.name}"

    def pay(self, spending: Spending) -> None:
        """Enter what was asked."""
        self.account.pay(self.name, spending)

    @property
    def empty(self) -> bool:
        """Whether nothing more may be asked."""
        return self.account.used_up is not None


class BudgetSpent(Unfinished):
    """A budget is used up: the run stopped in good order, and everything it paid for is kept."""

    def __init__(self, account: Account, missing: int) -> None:
        super().__init__(
            f"{account.used_up}; {missing:,} requests of this step are still to be asked",
            hint="raise the budget in the run settings and give the same command: what was paid for is not asked again",
        )
