"""What asking has cost so far."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Meter:
    """Running totals of one open model. Tokens are those really computed: what the cache answered is not in them."""

    requests: int = 0
    """Requests asked, answered from the cache or not."""
    cached: int = 0
    """Of these, answered from the cache, or equal to another request of the same call."""
    failed: int = 0
    prompt_tokens: int = 0
    """Read in order to write."""
    completion_tokens: int = 0
    """Written."""
    scored_tokens: int = 0
    """Given a log-probability."""
    seconds: float = 0.0
    """Spent in `generate` and `score`."""
    retries: int = 0
    """Attempts that a server made necessary beyond the first."""
    reasons: Counter[str] = field(default_factory=Counter[str])
    """Failures by their reason."""

    @property
    def tokens_per_second(self) -> float:
        """Tokens written a second of asking."""
        return self.completion_tokens / self.seconds if self.seconds else 0.0

    def metrics(self, prefix: str) -> dict[str, float]:
        """The totals under dotted names, for a manifest.

        >>> Meter(requests=2).metrics("teacher")["teacher.requests"]
        2.0
        """
        totals = {name: float(value) for name, value in vars(self).items() if name != "reasons"}
        totals |= {f"failed.{reason}": float(count) for reason, count in sorted(self.reasons.items())}
        return {f"{prefix}.{name}": value for name, value in totals.items()}
