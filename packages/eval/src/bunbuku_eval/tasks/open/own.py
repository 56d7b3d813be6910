"""Open questions of one's own: `id`, `turns` (or `question`), and perhaps `category`, `references` and `criteria`."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from bunbuku_eval.tasks.talks import Talk, Talks
from bunbuku_eval.tasks.task import field


class OwnTalks(Talks):
    type: Literal["talks"] = "talks"
    name: str = Field(pattern=r"^[\w-]+$")
    terms: str = Field(min_length=1)
    """The licence of the data."""

    licence: ClassVar[str] = "as stated in `terms`"
    origin: ClassVar[str] = "a file of one's own"

    def talk(self, row: dict[str, Any], place: str) -> Talk:
        turns, references = row.get("turns"), row.get("references") or ()
        return Talk(
            id=field(row, "id", place),
            turns=tuple(map(str, turns)) if isinstance(turns, list) else (field(row, "question", place),),
            category=str(row.get("category") or ""),
            references=(references,) if isinstance(references, str) else tuple(map(str, references)),
            criteria=str(row.get("criteria") or ""),
        )
