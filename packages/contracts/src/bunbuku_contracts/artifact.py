"""An artifact is a manifest at a place. Loading checks it; `draft` makes and publishes it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, PositiveInt, ValidationError

from bunbuku_contracts.digest import hash_files
from bunbuku_contracts.errors import ArtifactError
from bunbuku_contracts.kinds import KINDS
from bunbuku_contracts.manifest import File, Manifest, Spec

MANIFEST = "manifest.json"


class Header(BaseModel):
    """The two fields every version of every manifest has: read first, to know how to read the rest."""

    kind: str
    schema_version: PositiveInt

    @classmethod
    def read(cls, dir: Path) -> Self:
        """The header of the artifact at `dir`.

        Raises:
            ArtifactError: There is no artifact, or its manifest is not JSON with these fields.
        """
        path = dir / MANIFEST
        try:
            return cls.model_validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError) as error:
            hint = "it is made last: was the run that makes it cut off? Run it again"
            raise ArtifactError(f"no artifact at {str(dir)!r}: it has no {MANIFEST}", hint=hint) from error
        except OSError as error:
            raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            hint = "it was altered after it was published: make the artifact again"
            raise ArtifactError(f"{path} does not read as a manifest: {_first(error)}", hint=hint) from error


@dataclass(frozen=True)
class Artifact[S: Spec]:
    """A published artifact: `manifest` says what, `dir` says where, `part` which part of it is meant."""

    dir: Path
    manifest: Manifest[S]
    part: str | None = None

    @property
    def spec(self) -> S:
        return self.manifest.spec

    @property
    def content(self) -> str:
        """Content digest: equal contents are the same thing, wherever they lie."""
        return self.manifest.content

    def files(self, part: str | None = None) -> tuple[File, ...]:
        """The files of `part`, else of the part this artifact was named with, else of `data`, sorted by path.

        Raises:
            ArtifactError: It has no such part.
        """
        wanted = part or self.part or "data"
        found = tuple(file for file in self.manifest.files if file.in_content and file.part == wanted)
        if not found:
            parts = ", ".join(self.manifest.parts) or "none"
            hint = f"name one, for example {self.dir}#{next(iter(self.manifest.parts), 'data')}"
            raise ArtifactError(f"{self.dir} has no part {wanted!r}; its parts are: {parts}", hint=hint)
        return tuple(sorted(found, key=lambda file: file.path))

    def path(self, file: File) -> Path:
        """Where `file` lies."""
        return self.dir / file.path

    def check_present(self) -> None:
        """Check that every file is there and as long as it was: a `stat` a file.

        Raises:
            ArtifactError: One is not.
        """
        for file in self.manifest.files:
            found = self.path(file)
            if not found.is_file() or found.stat().st_size != file.bytes:
                hint = f"`bunbuku verify {self.dir}` looks at every file; make the artifact again to mend it"
                raise ArtifactError(f"{found} is missing or not {file.bytes} bytes long", hint=hint)

    def verify(self) -> None:
        """Rehash every file. Costs a full read: about a second a GB and thread.

        Raises:
            ArtifactError: A file is not what was published; every such file is named.
        """
        self.check_present()
        digests = hash_files(self.path(file) for file in self.manifest.files)
        changed = [
            file.path for file, digest in zip(self.manifest.files, digests, strict=True) if digest != file.sha256
        ]
        if changed:
            raise ArtifactError(
                f"{self.dir} was altered after it was published: {', '.join(changed)} "
                f"{'is' if len(changed) == 1 else 'are'} not the file{'s' * (len(changed) > 1)} that the manifest names",
                hint="make the artifact again",
            )


def load[S: Spec](dir: Path, spec: type[S], *, part: str | None = None) -> Artifact[S]:
    """Read the artifact at `dir`, refusing one of another kind or with a file missing or resized.

    That much is a `stat` a file; `Artifact.verify` reads every byte. `Spec` itself stands for any known kind.

    Raises:
        ArtifactError: There is none, or it is of another kind or schema, damaged, or has no such part.
    """
    header = Header.read(dir)
    found = _known(dir, header) if spec is Spec else spec
    wanted = (found.kind, found.schema_version)
    if (header.kind, header.schema_version) != wanted:
        raise ArtifactError(
            f"{dir} is a {header.kind!r} (schema {header.schema_version}), not a {wanted[0]!r} (schema {wanted[1]})",
            hint=_remedy(dir, header, wanted),
        )
    try:
        manifest = Manifest[found].model_validate_json((dir / MANIFEST).read_bytes())
    except ValidationError as error:
        hint = "it was altered after it was published: make the artifact again"
        raise ArtifactError(f"{dir / MANIFEST} does not read as a manifest: {_first(error)}", hint=hint) from error
    artifact = Artifact(dir, manifest, part)
    artifact.check_present()
    if part is not None:
        artifact.files()
    return artifact  # pyright: ignore[reportReturnType]  # `found` is `spec`, or a subclass where `spec` is `Spec`


def _known(dir: Path, header: Header) -> type[Spec]:
    if header.kind not in KINDS:
        known = ", ".join(sorted(KINDS))
        hint = "a newer bunbuku may know it: upgrade bunbuku-contracts"
        raise ArtifactError(f"{dir} is a {header.kind!r}; known kinds are {known}", hint=hint)
    return KINDS[header.kind]


def _remedy(dir: Path, header: Header, wanted: tuple[str, int]) -> str:
    if header.kind != wanted[0]:
        return f"give a {wanted[0]} artifact"
    if header.schema_version > wanted[1]:
        return "a newer bunbuku wrote it: upgrade bunbuku-contracts"
    return f"move it to the present schema with `bunbuku migrate {dir}`, or make it again"


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}" if where else problem["msg"]
