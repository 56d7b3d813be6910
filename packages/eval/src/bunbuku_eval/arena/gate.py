"""Who may come in, how often, and what is written down of those who may not."""

from dataclasses import dataclass, field

from fastapi import HTTPException, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from bunbuku_eval.arena.limits import Limit
from bunbuku_eval.arena.links import voter_of
from bunbuku_eval.arena.store import Store

COOKIE = "voter"
COOKIE_SECONDS = 30 * 86400
TOO_MANY = "too many requests; wait a little"


def _strangers() -> Limit:
    return Limit(per_second=0.5, burst=30)


def _notes() -> Limit:
    return Limit(per_second=0.1, burst=1)


@dataclass(frozen=True)
class Gate:
    """Invitations, limits and refusals."""

    store: Store
    secret: str
    limit: Limit
    """Of each voter's requests."""
    secure: bool = False
    """Whether voters come by HTTPS even where this server cannot see it."""
    strangers: Limit = field(default_factory=_strangers)
    """Of requests without an invitation, by address."""
    notes: Limit = field(default_factory=_notes)
    """Of lines in the audit log that say somebody asks too often: a flood must not fill the disk."""

    def voter(self, request: Request) -> str:
        """Who asks; an error for strangers, and for those who ask too often."""
        found = voter_of(request.cookies.get(COOKIE, ""), secret=self.secret)
        if found is None or self.store.is_blocked(found):
            self._turn_away(request, found)
            raise HTTPException(403, "you need an invitation")
        if not self.limit.allows(found):
            self._note_flood(found, request)
            raise HTTPException(429, TOO_MANY)
        return found

    def enter(self, token: str, request: Request) -> Response:
        """Take an invitation: a cookie for whom it was signed, nothing for anybody else."""
        found = voter_of(token, secret=self.secret)
        if found is None or self.store.is_blocked(found):
            self._turn_away(request, found)
            return JSONResponse({"detail": "this invitation is not valid, or no longer"}, 403)
        if not self.limit.allows(found):
            self._note_flood(found, request)
            return JSONResponse({"detail": TOO_MANY}, 429)
        self.store.note(found, "entered")
        response = RedirectResponse("/", 303)
        secure = self.secure or request.url.scheme == "https"
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure, max_age=COOKIE_SECONDS)
        return response

    def _turn_away(self, request: Request, voter: str | None) -> None:
        address = _address(request)
        if not self.strangers.allows(address):
            self._note_flood(address, request)
            raise HTTPException(429, TOO_MANY)
        why = "blocked" if voter else "no valid invitation"
        self.store.note(voter or "", "refused", f"{why}: {address} {_place(request)}")

    def _note_flood(self, who: str, request: Request) -> None:
        if self.notes.allows(who):
            self.store.note(who, "too many requests", _place(request))


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _place(request: Request) -> str:
    """What was asked for; an invitation is a secret, and no part of it is written down."""
    path = request.url.path
    return "/v/…" if path.startswith("/v/") else path[:80]
