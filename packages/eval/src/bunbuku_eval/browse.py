"""One self-contained page to look through answers: filter by model, task, flag and flips; search in all texts.

Answers are data in the page and never markup: they stand in a JSON block in which `<` is escaped, a script sets them as
text, and the page's content-security policy names that script by its hash, so that no other runs and nothing is fetched.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_SURROGATE = re.compile("[\ud800-\udfff]")
FILTERS = ("model", "task", "category", "mode", "style", "phrasing", "verdict")
SHOWN = (
    *FILTERS,
    *("id", "seed", "judged", "rating", "prompt", "gold", "output", "understood", "strict", "lenient", "format_ok"),
    *("degenerate", "flags", "contaminated", "flipped", "failure", "finish", "tokens"),
)


def page(title: str, rows: Sequence[Mapping[str, Any]], *, total: int) -> str:
    """The page of these rows; `total` is how many there are in all."""
    prompts = {text: at for at, text in enumerate(dict.fromkeys(str(row["prompt"]) for row in rows))}
    columns = [name for name in SHOWN if any(name in row for row in rows)]
    values = [[prompts[str(row["prompt"])] if name == "prompt" else row.get(name) for name in columns] for row in rows]
    data = {"columns": columns, "filters": list(FILTERS), "prompts": list(prompts), "rows": values, "total": total}
    return scripted("browse", title, data)


def scripted(name: str, title: str, data: object, **more: object) -> str:
    """The page `NAME.html.j2` with its style, its script and data, of which only that script may run."""
    script = _read(f"{name}.js")
    template = _environment().get_template(f"{name}.html.j2")
    return template.render(
        title=title, style=_read(f"{name}.css"), script=script, digest=_digest(script), data=as_json(data), **more
    )


def as_json(value: object) -> str:
    r"""JSON that can stand in a script element: nothing in it ends the element or begins a comment.

    >>> as_json("</script><!--")
    '"\\u003c/script\\u003e\\u003c!--"'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    escapes = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
    # Half a surrogate pair is no text: browsers have been seen to end over it.
    return _SURROGATE.sub("\ufffd", text.translate(str.maketrans(escapes)))


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _read(name: str) -> str:
    return files("bunbuku_eval").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    return Environment(loader=PackageLoader("bunbuku_eval"), autoescape=True, undefined=StrictUndefined)
