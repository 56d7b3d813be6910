"""Invitations: a voter's name and a last day, signed, so that nobody votes as somebody else or uninvited."""

import base64
import hashlib
import hmac
import re
import time

MIN_SECRET_CHARS = 16
_VOTER = re.compile(r"[\w.@-]{1,64}")


def token(voter: str, *, expires: int, secret: str) -> str:
    """What a voter's link holds.

    Raises:
        ValueError: The name has other characters than letters, digits and `_.@-`, or more than 64 of them.
    """
    if not _VOTER.fullmatch(voter):
        raise ValueError(f"a voter's name is 1 to 64 letters, digits and _.@-, not {voter!r}")
    name = base64.urlsafe_b64encode(voter.encode()).decode().rstrip("=")
    return f"{name}~{expires}~{_signature(name, str(expires), secret)}"


def voter_of(text: str, *, secret: str, now: float | None = None) -> str | None:
    """Whose token it is; `None` for one that is forged, damaged or past its day.

    >>> made = token("猫田", expires=2_000_000_000, secret="a secret of many characters")
    >>> voter_of(made, secret="a secret of many characters", now=1.0)
    '猫田'
    >>> voter_of(made, secret="another secret of many characters", now=1.0) is None
    True
    """
    parts = text.split("~")
    if len(parts) != 3 or not text.isascii():
        return None
    name, expires, signature = parts
    if not hmac.compare_digest(signature, _signature(name, expires, secret)):
        return None
    if not expires.isdigit() or int(expires) < (time.time() if now is None else now):
        return None
    return base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()


def _signature(name: str, expires: str, secret: str) -> str:
    return hmac.new(secret.encode(), f"{name}~{expires}".encode(), hashlib.sha256).hexdigest()
