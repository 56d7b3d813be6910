"""Templates: how a task is put into words. Jinja2, sandboxed; an unknown variable is an error, not an empty place.

A template is named and versioned, and every item says which one made it (`name@version`). Mending the wording of one
means raising its version.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Self

import jinja2
from bunbuku_contracts import Config
from jinja2 import meta
from jinja2.sandbox import SandboxedEnvironment
from pydantic import Field, PositiveInt, model_validator

_ENVIRONMENT = SandboxedEnvironment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)


class Template(Config):
    r"""A user's turn and the assistant's, with variables in `{{ … }}`.

    >>> please = Template(name="please", user="英語にしてください。\n{{ text }}")
    >>> please.render_user(text="猫です。"), please.id
    ('英語にしてください。\n猫です。', 'please@1')
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    """Unique among a task's templates."""
    version: PositiveInt = 1
    user: str
    """What the user says."""
    assistant: str = "{{ answer }}"
    """What the assistant says."""

    @property
    def id(self) -> str:
        """Name and version, as items state it."""
        return f"{self.name}@{self.version}"

    def render_user(self, **variables: object) -> str:
        """The user's turn, white space around it left out."""
        return render(self.user, variables)

    def render_assistant(self, **variables: object) -> str:
        """The assistant's turn, white space around it left out."""
        return render(self.assistant, variables)

    @property
    def variables(self) -> frozenset[str]:
        """Every variable that the two turns name."""
        return variables_of(self.user) | variables_of(self.assistant)

    @model_validator(mode="after")
    def _parses(self) -> Self:
        for text in (self.user, self.assistant):
            try:
                variables_of(text)
            except jinja2.TemplateSyntaxError as error:
                raise ValueError(f"template {self.name!r} is not valid Jinja2: {error.message}") from error
        return self


def check_variables(templates: Sequence[Template], known: frozenset[str]) -> None:
    """Make sure that templates name only variables there will be, and that their names differ.

    Raises:
        ValueError: One does not; the message names it and what there is.
    """
    for template in templates:
        if unknown := sorted(template.variables - known):
            raise ValueError(f"template {template.name!r} names {unknown[0]!r}: there are only {sorted(known)}")
    names = [template.id for template in templates]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"two templates are called {twice!r}: give each its own name or version")


def render(text: str, variables: Mapping[str, object]) -> str:
    """A template with its variables filled in, white space around it left out."""
    return _compiled(text).render(variables).strip()


def variables_of(text: str) -> frozenset[str]:
    """The variables a template names."""
    return frozenset(meta.find_undeclared_variables(_ENVIRONMENT.parse(text)))


@lru_cache(maxsize=512)
def _compiled(text: str) -> jinja2.Template:
    return _ENVIRONMENT.from_string(text)
