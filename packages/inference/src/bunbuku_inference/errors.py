"""What goes wrong with a model or a server, as errors a person can act on."""

from collections.abc import Sequence

from bunbuku_contracts.errors import BunbukuError

from bunbuku_inference.request import Failure


class EngineError(BunbukuError):
    """The engine cannot answer anything: not installed, not reachable, no such model, no permission."""


class RequestsFailed(BunbukuError):
    """Some requests have no outcome. All others of the same call are finished and, if there is a cache, in it."""

    def __init__(self, failures: Sequence[Failure], asked: int, *, name: str) -> None:
        first = failures[0]
        super().__init__(
            f"{len(failures)} of {asked} requests to {name!r} failed, the first as {first.reason!r}: {first.detail}",
            hint=_REMEDY[first.reason],
        )
        self.failures = tuple(failures)


_REMEDY = {
    "too_long": "shorten the prompt, or take a model or server with a longer context",
    "rejected": "read the server's reason above; asking again will not help",
    "malformed": "look at the server's own log: is it of a version that speaks this protocol?",
    "dropped": "ask again, if it is wanted after all",
    "exhausted": "look at the server's own log, then run again: finished requests are not asked twice",
}
