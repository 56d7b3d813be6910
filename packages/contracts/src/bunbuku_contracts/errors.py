"""Errors a person can act on: each says what is wrong, where, and what to do next."""


class BunbukuError(Exception):
    """Base of every error raised on purpose. The command line prints it without a traceback and exits with `status`."""

    status = 1

    def __init__(self, problem: str, *, hint: str = "") -> None:
        super().__init__(problem)
        self.hint = hint


class ConfigError(BunbukuError):
    """A config file, a run-settings file or an override does not fit the class it is for."""


class ArtifactError(BunbukuError):
    """An artifact is absent, of another kind, damaged, or cannot be written."""


class RecipeDrift(BunbukuError):
    """The destination already holds an artifact made from another recipe."""


class Unfinished(BunbukuError):
    """The work was stopped in good order, and goes on when the same command is given again.

    Exit status 75, `EX_TEMPFAIL` of sysexits.h, by which a batch system's script knows to queue it anew.
    """

    status = 75
