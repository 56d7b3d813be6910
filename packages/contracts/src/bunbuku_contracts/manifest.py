"""The manifest: what was asked, what was made, and how the run went.

Three blocks, two digests:

- `recipe`  what was asked: stage, config, inputs.  `recipe.digest` answers "is this up to date?"
- `files`   what was made: every byte of it.        `content` answers "is this the same thing?"
- `run`     how it went: when, where, which commit. Never hashed.

Inputs are named by *content*, so an upstream stage that reruns and makes the same bytes leaves everything downstream of
it up to date. Files under `log/` and `lineage/` are listed and verified, but are no part of the content.
"""

from datetime import datetime
from functools import cached_property
from pathlib import PurePosixPath
from typing import Annotated, ClassVar, Generic, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    JsonValue,
    NonNegativeInt,
    PositiveInt,
    StringConstraints,
    model_validator,
)

from bunbuku_contracts.digest import Sha256, hash_json

LOG = "log"
LINEAGE = "lineage"
OUTSIDE_CONTENT = (LOG, LINEAGE)
"""Folders of an artifact that say how it came about, not what it is."""


def _inside(path: str) -> str:
    """A relative POSIX path that stays inside the artifact."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or str(pure) != path or path == ".":
        raise ValueError(f"{path!r} is not a plain path inside the artifact")
    return path


RelativePath = Annotated[str, AfterValidator(_inside)]
Part = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Named = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}(#[a-z0-9][a-z0-9_-]*)?$")]
"""An input by content, with the part that was read if one was named."""


class Frozen(BaseModel):
    """A value: immutable, closed to unknown fields, its field docstrings in the JSON schema."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Config(Frozen):
    """Base of every stage's config. Paths, devices and worker counts do not belong in it: see `RunSettings`."""


class RunSettings(Frozen):
    """Base of every stage's run settings: circumstance, recorded in the manifest and never hashed."""


class Spec(Frozen):
    """What a consumer may rely on about one kind of artifact. One subclass a kind."""

    kind: ClassVar[str] = "any"
    schema_version: ClassVar[int] = 1

    licences: tuple[str, ...] = ()
    """Licences of the text it was made from, sorted: the union over all inputs."""


class File(Frozen):
    """One file of an artifact."""

    path: RelativePath
    bytes: NonNegativeInt
    sha256: Sha256
    part: Part = "data"
    """The part it belongs to: a reader names one (`DIR#train`), and gets `data` if it names none."""
    rows: NonNegativeInt | None = None
    """Documents or examples in it, where that means something."""
    tokens: NonNegativeInt | None = None

    @property
    def in_content(self) -> bool:
        """Whether it is part of what was made, and not of how that went."""
        return self.path.partition("/")[0] not in OUTSIDE_CONTENT


class Recipe(Frozen):
    """What was asked. Equal recipes ask for the same artifact."""

    stage: str
    """`package.stage`, for example `corpus.dedup`."""
    revision: PositiveInt
    """Bumped by hand when the same config and inputs would now make other bytes."""
    config: dict[str, JsonValue]
    """The whole resolved config, defaults included."""
    inputs: dict[str, Named]
    """Role to content digest, with `#part` if a part was named; `role.name` where a role takes many."""
    milestone: str | None = None
    """Set on what a long stage publishes on its way."""

    @cached_property
    def digest(self) -> str:
        """Names what was asked: equal digests, equal requests."""
        return hash_json(self.model_dump(mode="json"))


class Run(Frozen):
    """How it went. Circumstance, never identity."""

    package: str
    version: str
    commit: str | None = None
    """Git commit of the package's source, `+dirty` appended if the tree had changes; `None` outside a checkout."""
    started: datetime
    seconds: float
    host: str
    python: str
    bitwise: bool = True
    """Whether the stage promises the same bytes for the same recipe; its documentation says what is missing if not."""
    settings: dict[str, JsonValue] = {}
    """The stage's run settings."""
    inputs: dict[str, str] = {}
    """Role to where the input lay, relative to this artifact: a hint for `bunbuku tree`."""
    peak_bytes: NonNegativeInt = 0
    """Largest resident set of the process, or of the largest of its children, since it began."""


S = TypeVar("S", bound=Spec, covariant=True)
"""Declared, not inferred: a frozen model is read only, which the type checker cannot see from its fields."""


class Manifest(Frozen, Generic[S]):  # noqa: UP046
    """The commit record of an artifact: written last, so an artifact exists iff this file does."""

    kind: str
    schema_version: PositiveInt
    spec: S
    recipe: Recipe
    files: tuple[File, ...]
    metrics: dict[str, float]
    run: Run

    @cached_property
    def content(self) -> str:
        """Digest of what was made: the kind, its spec and every file, and nothing about the run."""
        files = sorted((file.path, file.bytes, file.sha256, file.part) for file in self.files if file.in_content)
        spec = self.spec.model_dump(mode="json")
        return hash_json({"kind": self.kind, "version": self.schema_version, "spec": spec, "files": files})

    @property
    def bytes(self) -> int:
        """Size of what was made, logs and lineage left out."""
        return sum(file.bytes for file in self.files if file.in_content)

    @property
    def rows(self) -> int:
        return sum(file.rows or 0 for file in self.files)

    @property
    def tokens(self) -> int:
        return sum(file.tokens or 0 for file in self.files)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that files of the content belong to, sorted."""
        return tuple(sorted({file.part for file in self.files if file.in_content}))

    @model_validator(mode="after")
    def _paths_are_unique(self) -> Self:
        if len({file.path for file in self.files}) != len(self.files):
            raise ValueError("a path is listed twice")
        return self
