"""Which network addresses outgoing requests may reach (security.md row 6)."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator

from server.errors import MldbError

Resolver = Callable[[str, int], list[str]]
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


def resolve(host: str, port: int) -> list[str]:
    """All addresses of a host as the system gives them; also reads decimal and hexadecimal spellings."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise MldbError(f"Couldn't resolve host name '{host}'") from None
    return list(dict.fromkeys(str(address[4][0]) for address in found))


def checked_addresses(host: str, port: int, *, private: bool, resolver: Resolver = resolve) -> list[str]:
    """The addresses to connect to; an error when any of them is not public and ``private`` is off.

    One bad address among good ones is refused as well: an answer that mixes them is an attempt to get one through.
    """
    addresses = resolver(host, port)
    if not addresses:
        raise MldbError(f"Couldn't resolve host name '{host}'")
    if not private and not all(is_public(address) for address in addresses):
        raise MldbError(
            f"requests to '{host}' are refused: it is a loopback or private address; the setting is fetch_private",
            code=403,
        )
    return addresses


def is_public(address: str) -> bool:
    """Whether an address is out in the internet, looking through IPv4 addresses inside IPv6 ones."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(one.is_global and not one.is_multicast and not one.is_reserved for one in _meant(parsed))


def _meant(address: _Address) -> Iterator[_Address]:
    """The address and what it is carried to: mapped, compatible, 6to4, Teredo and NAT64 hold an IPv4 address."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
        return
    if address in _NAT64 or address in _COMPATIBLE:
        yield ipaddress.IPv4Address(address.packed[12:])
        return
    yield address
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
