"""What a stage wants people to see, as data: headings, paragraphs, tables, pictures and curves.

Any artifact may hold a `sections.json`. Whoever draws a page renders it without knowing the stage that wrote it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from bunbuku_contracts.errors import ArtifactError
from bunbuku_contracts.manifest import Frozen, RelativePath

if TYPE_CHECKING:
    from bunbuku_contracts.artifact import Artifact
    from bunbuku_contracts.draft import Draft

SECTIONS = "sections.json"


class Table(Frozen):
    """Rows of cells under named columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int | None, ...], ...]
    caption: str = ""


class Picture(Frozen):
    """A PNG or SVG inside the artifact."""

    path: RelativePath
    caption: str


class Curve(Frozen):
    """A line through points, in their order."""

    name: str
    x_label: str
    y_label: str
    points: tuple[tuple[float, float], ...]


class Section(Frozen):
    """One heading and what stands under it."""

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    curves: tuple[Curve, ...] = ()


_SECTIONS = TypeAdapter(tuple[Section, ...])


def write_sections(draft: "Draft", sections: Iterable[Section]) -> None:
    """Write `sections.json` into the draft, as a part of its own together with its pictures."""
    sections = tuple(sections)
    path = draft.dir / SECTIONS
    path.write_bytes(_SECTIONS.dump_json(sections, indent=1) + b"\n")
    draft.count(path, part="sections")
    for section in sections:
        for picture in section.pictures:
            draft.count(draft.dir / picture.path, part="sections")


def read_sections(artifact: "Artifact[Any]") -> tuple[Section, ...]:
    """The artifact's sections, none if it has none.

    Raises:
        ArtifactError: `sections.json` does not read as sections.
    """
    path = artifact.dir / SECTIONS
    if not path.is_file():
        return ()
    try:
        return _SECTIONS.validate_json(path.read_bytes())
    except ValueError as error:
        raise ArtifactError(
            f"{path} does not read as sections: {error}", hint=f"bunbuku verify {artifact.dir}"
        ) from error
