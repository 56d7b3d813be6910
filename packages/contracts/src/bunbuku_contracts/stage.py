"""A stage: a function from a config and input artifacts to one output artifact.

    @stage("corpus.dedup", revision=2)
    def dedup(draft: Draft, config: DedupConfig, corpus: Artifact[Corpus]) -> Corpus:
        ...

is called with a destination where the body has a draft, and returns what was published:

    clean = dedup(Path("runs/clean"), DedupConfig(), corpus)

The signature is the whole interface: it gives the command line its options, the recipe its roles, and the type checker
everything else. An input is an `Artifact`, a `dict` of several, or a `Path` from outside the pipeline, which is named by
the hash of what is found there. A parameter called `run` takes the stage's run settings: circumstance, never hashed.

A view has the same kind of signature and makes nothing: it shows, or serves.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Concatenate, cast

from bunbuku_contracts import provenance
from bunbuku_contracts.artifact import MANIFEST, Artifact, load
from bunbuku_contracts.draft import Draft, drafting, publish
from bunbuku_contracts.errors import ArtifactError, RecipeDrift
from bunbuku_contracts.lineage import write_lineage
from bunbuku_contracts.manifest import Config, Manifest, Recipe, Run, RunSettings, Spec
from bunbuku_contracts.roles import Given, One, Role, Signature, flatten, named, place


@dataclass(frozen=True)
class Stage[S: Spec, C: Config, **P]:
    """A named, versioned stage. Calling it makes its artifact, or finds it made."""

    name: str
    revision: int
    resumable: bool
    bitwise: bool
    body: Callable[Concatenate[Draft, C, P], S]

    def __call__(self, out: Path, config: C, *args: P.args, **kwargs: P.kwargs) -> Artifact[S]:
        given = cast(dict[str, Given], dict(zip(self.roles, args, strict=False)) | kwargs)
        run = cast(RunSettings, given.pop("run", None) or self.signature.run())
        inputs = flatten(given)
        recipe = Recipe(
            stage=self.name,
            revision=self.revision,
            config=config.model_dump(mode="json"),
            inputs={role: named(one) for role, one in inputs.items()},
        )
        if (out / MANIFEST).exists():
            return self._up_to_date(out, recipe)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ArtifactError(f"{out} is there and is no artifact", hint="give another --out, or remove it")
        making = _Making(self, recipe, run, inputs, out)
        with drafting(out, recipe.digest, resumable=self.resumable) as draft:
            if (out / MANIFEST).exists():  # made by another between the look above and the lock
                return self._up_to_date(out, recipe)
            draft.label, draft.inputs = self.name, given
            draft._milestone = making.milestone  # pyright: ignore[reportPrivateUsage]  # not for bodies to set
            spec = self.body(draft, config, *args, **kwargs)
            return publish(draft, making.manifest(draft, spec), out)

    @cached_property
    def signature(self) -> Signature:
        return Signature.of(self.body)

    @property
    def spec(self) -> type[S]:
        """The kind of artifact it makes."""
        return self.signature.made

    @property
    def config(self) -> type[C]:
        return cast(type[C], self.signature.config)

    @property
    def roles(self) -> dict[str, Role]:
        """Each input's name and kind."""
        return self.signature.roles

    def _up_to_date(self, out: Path, recipe: Recipe) -> Artifact[S]:
        made = load(out, self.spec)
        if made.manifest.recipe.digest == recipe.digest:
            return made
        changes = "\n".join(f"  {line}" for line in differences(made.manifest.recipe, recipe))
        raise RecipeDrift(
            f"{out} was made from another recipe:\n{changes}",
            hint="give another --out, or delete that one if nothing needs it",
        )


def stage[S: Spec, C: Config, **P](
    name: str, *, revision: int = 1, resumable: bool = False, bitwise: bool = True
) -> Callable[[Callable[Concatenate[Draft, C, P], S]], Stage[S, C, P]]:
    """Make a stage of a function. See the module's docstring.

    Args:
        name: `package.verb`, for example `corpus.dedup`.
        revision: Bump it when the same config and inputs would now make other bytes.
        resumable: Whether the body goes on from what it finds in its draft after a crash.
        bitwise: Whether the same recipe always gives the same bytes. If not, the documentation says what differs.
    """
    return lambda body: Stage(name, revision, resumable, bitwise, body)


@dataclass(frozen=True)
class View[**P]:
    """A named look at artifacts. Calling it shows or serves; it makes nothing."""

    name: str
    body: Callable[P, None]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        self.body(*args, **kwargs)

    @cached_property
    def signature(self) -> Signature:
        return Signature.of(self.body)


def view[**P](name: str) -> Callable[[Callable[P, None]], View[P]]:
    """Make a view of a function `body(config, role, …, *, run)` that returns nothing."""
    return lambda body: View(name, body)


@dataclass(frozen=True)
class _Making:
    """One call of a stage: what its manifest will say."""

    stage: Stage[Any, Any, ...]
    recipe: Recipe
    run: RunSettings
    inputs: dict[str, One]
    out: Path
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.perf_counter)

    def manifest[S: Spec](self, draft: Draft, spec: S) -> Manifest[S]:
        """The manifest of what lies in `draft`, lineage written and licences carried on."""
        write_lineage(draft.dir, self.inputs.values())
        carried = (one.spec.licences for one in self.inputs.values() if isinstance(one, Artifact))
        licences = tuple(sorted({*spec.licences, *(licence for some in carried for licence in some)}))
        spec = spec.model_copy(update={"licences": licences})
        return Manifest[type(spec)](
            kind=spec.kind,
            schema_version=spec.schema_version,
            spec=spec,
            recipe=self.recipe,
            files=draft.files(),
            metrics=draft.metrics,
            run=self._run(),
        )

    def milestone(self, name: str, make: Callable[[Draft], Any]) -> Artifact[Any]:
        out = self.out.with_name(f"{self.out.name}@{name}")
        recipe = self.recipe.model_copy(update={"milestone": name})
        recipe = Recipe.model_validate(recipe.model_dump())  # the copy would keep the cached digest
        if (out / MANIFEST).exists():
            made = load(out, Spec)
            if made.manifest.recipe.digest == recipe.digest:
                return made
            raise RecipeDrift(f"{out} was made from another recipe", hint="delete it if nothing needs it")
        making = replace(self, recipe=recipe, out=out)
        with drafting(out, recipe.digest, resumable=False) as draft:
            draft.label = f"{self.stage.name}@{name}"
            return publish(draft, making.manifest(draft, make(draft)), out)

    def _run(self) -> Run:
        source = provenance.source(self.stage.body)
        return Run(
            package=source.package,
            version=source.version,
            commit=source.commit,
            started=self.started,
            seconds=round(time.perf_counter() - self.clock, 3),
            host=provenance.host(),
            python=provenance.python(),
            bitwise=self.stage.bitwise,
            settings=self.run.model_dump(mode="json"),
            inputs={role: os.path.relpath(place(one), self.out) for role, one in self.inputs.items()},
            peak_bytes=provenance.peak_bytes(),
        )


def differences(old: Recipe, new: Recipe) -> Iterator[str]:
    """Every leaf that differs between two recipes, as `config.lr: 0.001 -> 0.0003`."""
    yield from changed_leaves(old.model_dump(mode="json"), new.model_dump(mode="json"))


def changed_leaves(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """Every leaf that differs between two JSON values, as `path.to.leaf: before -> after`."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key, _ABSENT) != after.get(key, _ABSENT):
            yield f"{key}: {_shown(before, key)} -> {_shown(after, key)}"


_ABSENT = object()


def _shown(leaves: dict[str, object], key: str) -> str:
    return repr(leaves[key]) if key in leaves else "(absent)"


def _leaves(value: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, dict) and value:
        for key, child in cast(dict[str, object], value).items():
            yield from _leaves(child, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, list) and value:
        for index, child in enumerate(cast(list[object], value)):
            yield from _leaves(child, f"{prefix}.{index}" if prefix else str(index))
    else:
        yield prefix, value
