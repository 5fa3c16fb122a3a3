"""What the pages beside the console have in common with it: colours, the theme that was chosen, the way back."""

from __future__ import annotations

from typing import Final

_ENTRIES: Final = (
    ("Plugins", "/"),
    ("Query", "/console/query"),
    ("Datasets", "/console/datasets"),
    ("Functions", "/console/functions"),
    ("Procedures", "/console/procedures"),
    ("Logs", "/logs/mldb"),
    ("API", "/reference"),
    ("Docs", "/doc/"),
)

_MARK: Final = ' aria-current="page"'

HEAD: Final = """<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/tokens.css">
<link rel="stylesheet" href="/static/site.css">
<script src="/static/theme.js"></script>"""


def navigation(current: str) -> str:
    """The entries of the console's navigation as HTML; ``current`` is the address of the one that is open."""
    links = "".join(f'<a href="{href}"{_MARK if href == current else ""}>{label}</a>' for label, href in _ENTRIES)
    brand = '<a class="brand" href="/"><img src="/static/icon.svg" alt="">MLDB</a>'
    return f'<nav class="site" aria-label="Console">{brand}{links}</nav>'
