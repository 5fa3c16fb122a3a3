"""Answers as notebooks show them: the request, the status in colour, JSON with its syntax marked."""

from __future__ import annotations

import json
import types
from html import escape
from typing import Any


def with_html(answer: Any) -> Any:
    """The answer, which shows itself in a notebook."""
    answer._repr_html_ = types.MethodType(_repr_html, answer)
    return answer


def _repr_html(answer: Any) -> str:
    status = answer.status_code
    colour = "red" if status >= 400 else "green" if status < 300 else "inherit"
    reason = str(getattr(answer, "reason", "") or getattr(answer, "reason_phrase", ""))
    head = f"<strong>{escape(answer.request.method)} {escape(str(answer.request.url))}</strong><br>"
    return f'{head}<strong style="color: {colour}">{status} {escape(reason)}</strong><br>{_body(answer)}'


def _body(answer: Any) -> str:
    if not answer.headers.get("content-type", "").startswith("application/json"):
        # What plugins answer is theirs: it is shown as text, not run inside the notebook.
        return f"<pre>{escape(answer.text)}</pre>"
    try:
        text = json.dumps(answer.json(), indent=2, ensure_ascii=False)
    except ValueError:
        return f"<pre>{escape(answer.text)}</pre>"
    return _coloured(text)


def _coloured(text: str) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import JsonLexer

    shown: str = highlight(text, JsonLexer(), HtmlFormatter(noclasses=True, nobackground=True))
    return shown
