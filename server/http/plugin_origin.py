"""The web origin of plugin pages: apart from the console's as soon as there is a token (docs/security.md).

A page can do whatever its origin's cookies allow. So pages of plugins come from a port (or a name) of their own, where
the console's session counts for nothing and a page session opens what a page needs. The way there is a redirect of the
console with a ticket, valid for seconds, in exchange for which the plugin origin sets its own cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

from server.settings import Settings

PAGE_COOKIE: Final = "mldb_page"
_TICKET: Final = "mldb_ticket"
_TICKET_SECONDS: Final = 60
# What pages may read; their plugin's routes, queries and function calls come on top.
_READABLE: Final = frozenset({"datasets", "functions", "procedures", "plugins", "types"})
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN: Final = frozenset({"/ping", "/healthz", "/readyz", "/favicon.ico"})


class PluginOrigin:
    """Where plugin pages live, and what they may do. ``secret`` is the server's token."""

    def __init__(self, settings: Settings, secret: str) -> None:
        self._settings = settings
        self._secret = secret.encode()
        self._public = settings.plugin_origin.rstrip("/")
        self.session = self._sign("page")

    def serves(self, host: str, port: int) -> bool:
        """Is this the origin of plugin pages? ``host`` as the Host header has it, ``port`` that of the socket."""
        if self._public:
            return host.lower() == self._public.partition("://")[2].lower()
        return port != 0 and port == self._settings.plugin_port

    def entrance(self, host: str, path: str, query: str) -> str:
        """Where the console sends a browser that asks it for a page of a plugin."""
        base = self._public or f"http://{_name(host)}:{self._settings.plugin_port}"
        until = str(int(time.time()) + _TICKET_SECONDS)
        ticket = urlencode({_TICKET: f"{until}.{self._sign('ticket ' + until)}"})
        return base + _address(path, f"{query}&{ticket}" if query else ticket)

    def console(self, host: str, path: str, query: str) -> str | None:
        """The same address at the console's origin; None when only a proxy knows it."""
        if self._public:
            return None
        return f"http://{_name(host)}:{self._settings.port}{_address(path, query)}"

    def redeemed(self, path: str, query: str) -> str | None:
        """The address without its ticket, if there is one and it is good."""
        pairs = parse_qsl(query, keep_blank_values=True)
        ticket = next((value for name, value in pairs if name == _TICKET), "")
        until, _, signature = ticket.partition(".")
        wanted = self._sign("ticket " + until)
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), wanted.encode()) or int(until) < time.time():
            return None
        return _address(path, urlencode([pair for pair in pairs if pair[0] != _TICKET], errors="replace"))

    @property
    def cookie(self) -> str:
        """Lax, as the first page is reached by a redirect of the console, which may have another site's name."""
        secure = "; Secure" if self._public.startswith("https:") else ""
        return f"{PAGE_COOKIE}={self.session}; Path=/; HttpOnly; SameSite=Lax{secure}"

    def _sign(self, text: str) -> str:
        content = b"mldb plugins " + text.encode("utf-8", "replace")
        return hmac.new(self._secret, content, hashlib.sha256).hexdigest()


def is_plugin_content(path: str) -> bool:
    """Is a path, as sent, one that a plugin answers?"""
    segments = path[1:].split("/")
    return segments[:2] == ["v1", "plugins"] and len(segments) > 3 and segments[3] in ("routes", "doc")


def page_may(verb: str, path: str) -> bool:
    """What a page session is for: routes of plugins, queries, function calls, and reading what there is."""
    segments = path[1:].split("/")
    if is_plugin_content(path) or path in _OPEN:
        return True
    if segments == ["v1", "query"]:
        return verb in _READS or verb == "POST"
    if segments[:1] != ["v1"] or len(segments) < 2 or segments[1] not in _READABLE:
        return False
    applies = segments[1] == "functions" and len(segments) == 4 and segments[3] in ("application", "batch")
    return verb in _READS or (applies and verb == "POST")


def _address(path: str, query: str) -> str:
    """A path of ours with its query, fit for a Location header; never another host, as ``//host`` would be."""
    safe = "/%:@!$&'()*+,;=~"
    own = "/" + quote(path.lstrip("/\\"), safe=safe, errors="replace")
    return f"{own}?{quote(query, safe=safe, errors='replace')}" if query else own


def _name(host: str) -> str:
    """The Host header without its port; brackets stay."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
