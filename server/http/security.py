"""Who may call: Host names, web origins, the token (docs/security.md). Asked before any routing."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, urlencode

from server.http.plugin_origin import PAGE_COOKIE, PluginOrigin, is_plugin_content, page_may
from server.settings import Settings

COOKIE = "mldb_session"
# Our own pages load nothing but our own files and run no inline code.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
LOGIN_PATH = "/login"
# The login page and its looks must come before the token.
_OPEN_TO_ALL = frozenset({"/healthz", LOGIN_PATH, "/static/landing.css", "/static/icon.svg", "/favicon.ico"})
_KNOWN_HOSTS = 64  # Host headers that were found good are not taken apart again
_READS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that goes no further."""

    status: int
    message: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Login:
    """Go to ``location``: with the session's cookie after a good token, else to the page that asks for it.

    ``refused``: the status that a program would have got for a wrong token, 0 without one.
    """

    location: str
    cookie: str = ""
    refused: int = 0


Headers = dict[str, str]
_NO_TOKEN = Refusal(401, "a token is needed: Authorization: Bearer …", (("WWW-Authenticate", "Bearer"),))
_WRONG_TOKEN = Refusal(
    401, "that is not the token of this server, which is the setting token", (("WWW-Authenticate", "Bearer"),)
)
_BEYOND_PAGES = (
    "pages of plugins may call routes, query and apply functions; for anything else call a route of the plugin, "
    "or send the token: Authorization: Bearer …"
)


class Gate:
    """The rules for one set of settings. ``token`` is "" when none is needed."""

    def __init__(self, settings: Settings) -> None:
        self.token = settings.token or ("" if is_loopback(settings.host) else secrets.token_urlsafe(32))
        self.generated = bool(self.token) and not settings.token
        self._origins = frozenset(settings.allowed_origin)
        plugin_host = host_name(settings.plugin_origin.partition("://")[2])
        self._hosts = frozenset(name.lower() for name in (*settings.allowed_host, plugin_host) if name)
        self._local_only = is_loopback(settings.host)
        self._own_names = frozenset({"localhost", settings.host.lower(), socket.gethostname().lower()})
        self._known_hosts: set[str] = set()
        # The cookie proves knowledge of the token without being it.
        self._session = hmac.new(self.token.encode(), b"mldb session", hashlib.sha256).hexdigest()
        self._pages = PluginOrigin(settings, self.token)

    def check(self, verb: str, path: str, query: str, headers: Headers, port: int = 0) -> Refusal | Login | None:
        """None when the request may go on. ``port`` is that of the socket on which it came."""
        if not self._host_allowed(headers.get("host", "")):
            # DNS rebinding: a page's own name that was made to resolve to us.
            return Refusal(403, "this host name is not served here; see the setting allowed-host")
        if not self._origin_allowed(verb, headers):
            return Refusal(403, "requests from other web origins are refused; see the setting allowed-origin")
        if not self.token:
            return None
        # Nobody is to type the token where pages of plugins can look on.
        if self._pages.serves(headers["host"], port):
            return self._check_page(verb, path, query, headers)
        return None if path in _OPEN_TO_ALL else self._check_token(verb, path, query, headers)

    # ── Host ──

    def _host_allowed(self, header: str) -> bool:
        if header in self._known_hosts:
            return True
        allowed = self._name_allowed(host_name(header))
        if allowed and len(self._known_hosts) < _KNOWN_HOSTS:
            self._known_hosts.add(header)
        return allowed

    def _name_allowed(self, name: str) -> bool:
        if name in self._hosts or "*" in self._hosts or name in self._own_names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # A rebound name never arrives as an address; on loopback only loopback addresses make sense.
        return address.is_loopback or not self._local_only

    # ── Origin ──

    def origin_allowed(self, origin: str) -> bool:
        """Exact comparison with the settings; no patterns."""
        return origin in self._origins or ("*" in self._origins and origin != "null")

    def _origin_allowed(self, verb: str, headers: Headers) -> bool:
        origin = headers.get("origin")
        site = headers.get("sec-fetch-site")
        if origin is None and site is None:
            return True
        if origin is not None and self.origin_allowed(origin):
            return True
        if site is not None and site not in ("same-origin", "none"):
            # Following a link to us is fine; everything else that another site makes a browser do is not.
            return verb in _READS and headers.get("sec-fetch-mode") == "navigate"
        if origin is None or verb in _READS:
            return True
        _, _, authority = origin.partition("://")
        return authority.lower() == headers.get("host", "").lower()

    def cors(self, headers: Headers) -> list[tuple[str, str]]:
        """Headers that let pages of allowed origins read the answer; credentials are never allowed."""
        origin = headers.get("origin")
        if origin is None or not self.origin_allowed(origin):
            return []
        return [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]

    def preflight(self, headers: Headers) -> list[tuple[str, str]]:
        """The further headers of a CORS preflight's answer."""
        allowed = self.cors(headers)
        if not allowed or "access-control-request-method" not in headers:
            return allowed
        return [
            *allowed,
            ("Access-Control-Allow-Methods", "GET, PUT, POST, DELETE"),
            ("Access-Control-Allow-Headers", headers.get("access-control-request-headers", "")),
        ]

    # ── token ──

    def _check_token(self, verb: str, path: str, query: str, headers: Headers) -> Refusal | Login | None:
        if self._is_bearer(headers):
            return None
        paged = wants_page(verb, headers)
        if _has_cookie(headers, COOKIE, self._session):
            if paged and is_plugin_content(path):
                return Login(self._pages.entrance(headers["host"], path, query))
            return None
        pairs = parse_qsl(query, keep_blank_values=True)
        offered = next((value for name, value in pairs if name == "token"), None)
        if verb == "GET" and offered is not None:
            rest = urlencode([pair for pair in pairs if pair[0] != "token"])
            login = self.sign_in(offered, path + (f"?{rest}" if rest else ""), headers)
            if login is not None:
                return login
        if paged:
            target = path + (f"?{query}" if query and offered is None else "")
            to_form = f"{LOGIN_PATH}?{urlencode({'next': target}, errors='replace')}"
            return Login(to_form, refused=0 if offered is None else _WRONG_TOKEN.status)
        return _without_token(headers)

    def _check_page(self, verb: str, path: str, query: str, headers: Headers) -> Refusal | Login | None:
        """At the origin of plugin pages the console's session counts for nothing."""
        if self._is_bearer(headers) or path == "/healthz":
            return None
        clean = self._pages.redeemed(path, query) if verb == "GET" else None
        if clean is not None:
            return Login(clean, self._pages.cookie)
        known = _has_cookie(headers, PAGE_COOKIE, self._pages.session)
        if known and page_may(verb, path):
            return None
        console = self._pages.console(headers["host"], path, query) if wants_page(verb, headers) else None
        if console is not None:
            return Login(console)
        return Refusal(403, _BEYOND_PAGES) if known else _without_token(headers)

    def without_credentials(self, headers: Headers) -> Headers:
        """The headers as plugin code may see them: its visitors' token and sessions are none of its business."""
        if not self.token:
            return headers
        kept = {name: value for name, value in headers.items() if name != "cookie"}
        if self._is_bearer(headers):
            del kept["authorization"]
        pairs = [pair.strip() for pair in headers.get("cookie", "").split(";")]
        others = [pair for pair in pairs if pair and pair.partition("=")[0].strip() not in (COOKIE, PAGE_COOKIE)]
        return kept | ({"cookie": "; ".join(others)} if others else {})

    def _is_bearer(self, headers: Headers) -> bool:
        scheme, _, value = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and _same(value.strip(), self.token)

    def sign_in(self, token: str, target: str, headers: Headers) -> Login | None:
        """The way to a path of this server, with the session's cookie; None when the token is wrong."""
        if not self.token or not _same(token, self.token):
            return None
        # Only ever to our own path: "//host" and, as browsers read it, "/\\host" would leave.
        location = "/" + quote(target.lstrip("/\\"), safe="/?&=%:@!$'()*+,;~", errors="replace")
        secure = "; Secure" if _is_secure(headers) else ""
        return Login(location, f"{COOKIE}={self._session}; Path=/; HttpOnly; SameSite=Strict{secure}")


def _without_token(headers: Headers) -> Refusal:
    return _WRONG_TOKEN if "authorization" in headers else _NO_TOKEN


def _is_secure(headers: Headers) -> bool:
    """Whether the browser came by TLS, which ends at a proxy. Who says so falsely harms his own session only."""
    forwarded = headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    return forwarded == "https" or headers.get("origin", "").startswith("https://")


def wants_page(verb: str, headers: Headers) -> bool:
    """Browsers ask so for what they are going to show; scripts cannot make a browser ask otherwise."""
    return verb == "GET" and "text/html" in headers.get("accept", "")


def _has_cookie(headers: Headers, name: str, wanted: str) -> bool:
    cookie = headers.get("cookie", "")
    if name not in cookie:
        return False
    try:
        found = SimpleCookie(cookie).get(name)
    except CookieError:
        return False
    return found is not None and _same(found.value, wanted)


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())


def host_name(header: str) -> str:
    """The name or address in a Host header, without port and brackets, lower case."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0] if text.count(":") == 1 else text


def is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
