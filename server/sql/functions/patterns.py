"""Perl-style regular expressions and host names (sql-dialect.md §7.2, §8.3)."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import regex

from server.errors import MldbError
from server.values.regexes import Pattern

_POSIX_CLASSES = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "space": r"\s",
    "blank": r" \t", "punct": r"!-/:-@\[-`{-~", "xdigit": "0-9A-Fa-f", "word": r"\w",
}  # fmt: skip
_POSIX = re.compile(r"\[:(\w+):\]")
_REFERENCE = re.compile(r"\$(?:(\d+)|\{(\d+)\}|(&)|(\$))|\\(?:(\d)|(.))", re.DOTALL)


@lru_cache(maxsize=256)
def compile_regex(pattern: str) -> Pattern:
    """A Perl-style pattern whose dot matches line ends as well; ``MldbError`` if it does not compile."""
    translated = _POSIX.sub(lambda found: _POSIX_CLASSES.get(found[1], found[0]), pattern).replace(r"\z", r"\Z")
    try:
        return Pattern(translated, regex.DOTALL)
    except ValueError as error:
        raise MldbError(
            f"Error when compiling regex '{pattern}': {error}. "
            "Regular expressions must adhere to Perl-style regular expression syntax."
        ) from None


def regex_replace(text: str, pattern: str, template: str) -> str:
    """All matches replaced; in the template ``$1``, ``\\1``, ``$&`` and ``$$`` stand for what Perl says."""
    compiled = compile_regex(pattern)
    return compiled.replace(text, lambda found: _REFERENCE.sub(lambda ref: _referred(found, ref), template))


def _referred(found: Any, reference: re.Match[str]) -> str:
    number = reference[1] or reference[2] or reference[5]
    if number is not None:
        return str(found[int(number)] or "") if int(number) <= found.re.groups else ""
    if reference[3]:
        return str(found[0])
    return "$" if reference[4] else {"n": "\n", "t": "\t", "r": "\r"}.get(reference[6], reference[6])


def extract_domain(url: str, *, remove_subdomain: bool = False) -> str:
    """The host of a URL; its last two labels with ``remove_subdomain``, unless it is an address."""
    if "://" not in url:
        raise MldbError(f"Attempt to create a URL without a scheme: '{url}'")
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        raise MldbError(f"not a URL: '{url}'") from None
    if not remove_subdomain or _is_address(host):
        return host
    return ".".join(host.split(".")[-2:])


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
