"""The HTML of the server's own pages: Jinja's templates in ``server/templates``, where everything is escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER: Final = Path(__file__).with_name("templates")


def rendered(template: str, **values: Any) -> str:
    """A template's text; ``jinja2.UndefinedError`` for a value that it reads and was not given."""
    return _environment().get_template(template).render(values)


def markup(html: str) -> Any:
    """HTML that a template takes as it is."""
    from markupsafe import Markup

    return Markup(html)  # noqa: S704 - for what our own renderer wrote


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
