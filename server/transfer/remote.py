"""``s3:`` and ``sftp:`` URLs through fsspec, with the credentials that the server keeps."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from server.errors import MldbError, NotFound
from server.extras import missing
from server.transfer.addresses import checked_addresses
from server.transfer.schemes import Scheme, UrlStat
from server.transfer.streams import Source, buffered
from server.values.atoms import NEVER

Credentials = Callable[[str, str], Mapping[str, Any] | None]
_RESOURCE_TYPES = {"s3": "aws:s3", "sftp": "sftp"}
_CONNECT_SECONDS = 20  # no setting: a host that has not answered by then is not there
_SSH_PORT = 22
_MODULES = {"s3": "s3fs", "sftp": "paramiko"}


class RemoteScheme(Scheme):
    """``credentials(resourceType, url)`` gives the ``credential`` object whose resource fits best, or None.

    ``known_hosts``: the file of host keys that SFTP servers must have, in OpenSSH's format.
    """

    def __init__(self, scheme: str, credentials: Credentials, *, private: bool, known_hosts: Path) -> None:
        self._scheme = scheme
        self._credentials = credentials
        self._private = private
        self._known_hosts = known_hosts

    def open_read(self, url: str, *, patient: bool = False) -> Source:
        system, path = self._system(url)
        try:
            info = system.info(path)
            stream = buffered(RemoteReader(system, system.open(path, "rb"), url))
            return Source(stream, info.get("size"), _modified(info))
        except Exception as error:
            release(system)
            raise remote_error(error, url) from None

    def open_write(self, url: str) -> RemoteSink:
        system, path = self._system(url)
        try:
            return RemoteSink(system, path, url)
        except Exception as error:
            release(system)
            raise remote_error(error, url) from None

    def stat(self, url: str) -> UrlStat:
        try:
            with self._using(url) as (system, path):
                return _stat(system.info(path))
        except FileNotFoundError:
            return UrlStat(False)
        except Exception as error:
            raise remote_error(error, url) from None

    def entries(self, url: str) -> Iterable[tuple[str, UrlStat | None]]:
        try:
            with self._using(url) as (system, path):
                found = system.ls(path, detail=True)
        except Exception as error:
            raise remote_error(error, url) from None
        base = f"sftp://{urlsplit(url).netloc}" if self._scheme == "sftp" else "s3://"
        return [(base + item["name"], None if item.get("type") == "directory" else _stat(item)) for item in found]

    def delete(self, url: str) -> None:
        try:
            with self._using(url) as (system, path):
                system.rm_file(path)
        except Exception as error:
            raise remote_error(error, url) from None

    @contextmanager
    def _using(self, url: str) -> Iterator[tuple[Any, str]]:
        system, path = self._system(url)
        try:
            yield system, path
        finally:
            release(system)

    def _system(self, url: str) -> tuple[Any, str]:
        _require(self._scheme)
        import fsspec

        stored = self._credentials(_RESOURCE_TYPES[self._scheme], url) or {}
        parts = urlsplit(url)
        if self._scheme == "sftp":
            host, port = parts.hostname or "", parts.port or _SSH_PORT
            address = checked_addresses(host, port, private=self._private)[0]
            path = parts.path
            policy = _only_known(self._known_hosts, host, port)
            # A connection of its own, which ends with its last use: one that is kept may have been closed by the other
            # side. Files are written beside their place, as only there they can be sure to be moved to it.
            options = {
                "username": stored.get("id") or parts.username, "password": stored.get("secret"),
                "temppath": posixpath.dirname(path), "skip_instance_cache": True, "timeout": _CONNECT_SECONDS,
                "look_for_keys": False, "allow_agent": False,  # those of the account that the server runs as
                "host_key_policy": policy,
            }  # fmt: skip
            try:
                return fsspec.filesystem("sftp", host=address, port=port, **options), path
            except Exception as error:
                release(policy)
                raise remote_error(error, url) from None
        return fsspec.filesystem("s3", **_s3_options(stored)), url.removeprefix("s3://")


def _only_known(file: Path, host: str, port: int) -> Any:
    """The policy of a connection. It goes to an address that was checked; the key is that of the name in the URL."""
    import paramiko

    name = host if port == _SSH_PORT else f"[{host}]:{port}"

    class OnlyKnown(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
        client: Any = None  # a connection that is refused ends only when it is told to

        def missing_host_key(self, client: Any, _address: str, key: Any) -> None:
            self.client = client
            known = paramiko.HostKeys(str(file) if file.is_file() else None)
            if known.check(name, key):
                return
            found = "is not the one that is known" if known.lookup(name) else "is not known"
            raise MldbError(
                f"the {key.get_name()} key of {name} ({key.fingerprint}) {found}: when it is the right one, put what "
                f"'ssh-keyscan -p {port} {host}' tells into the file that the setting sftp-known-hosts names"
            )

    return OnlyKnown()


def release(holder: Any) -> None:
    """End the connection to an SFTP server that a file system holds; those of S3 are shared."""
    client = getattr(holder, "client", None)
    if client is not None:
        client.close()


def _s3_options(stored: Mapping[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {"use_listings_cache": False}  # it would never learn of what others write
    if not stored.get("id"):
        return options | {"anon": not stored}
    options |= {"key": stored["id"], "secret": stored.get("secret")}
    location = stored.get("location")
    if location:
        options["endpoint_url"] = f"{stored.get('protocol') or 'https'}://{location}"
    return options


def _require(scheme: str) -> None:
    from importlib.util import find_spec

    if find_spec("fsspec") is None or find_spec(_MODULES[scheme]) is None:
        raise missing(f"an {scheme}: URL", scheme)


class RemoteReader(io.RawIOBase):
    """A file of fsspec whose errors while reading become ours. The connection ends with it."""

    def __init__(self, system: Any, file: Any, url: str) -> None:
        self._system = system
        self._file = file
        self._url = url

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._file.seek(offset, whence)  # what it gives differs between file systems
        return self.tell()

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: Any, /) -> int:
        try:
            data = self._file.read(len(buffer))
        except Exception as error:
            raise remote_error(error, self._url) from None
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
            release(self._system)
        super().close()


class RemoteSink:
    """Writes through fsspec's own transaction: the object appears when the file is committed."""

    def __init__(self, system: Any, path: str, url: str) -> None:
        self._system = system
        self._file = system.open(path, "wb", autocommit=False)
        self._url = url

    def write(self, data: bytes, /) -> int:
        try:
            self._file.write(data)
            return len(data)
        except Exception as error:
            raise remote_error(error, self._url) from None

    def commit(self) -> None:
        try:
            self._file.close()
            self._file.commit()
        except Exception as error:
            raise remote_error(error, self._url) from None
        finally:
            release(self._system)

    def discard(self) -> None:
        try:
            self._file.discard()
        finally:
            release(self._system)


def _stat(info: Mapping[str, Any]) -> UrlStat:
    """What fsspec says of an object."""
    return UrlStat(True, int(info.get("size") or 0), _modified(info), str(info.get("ETag", "")))


def _modified(info: Mapping[str, Any]) -> float:
    """Seconds of the last change in an fsspec description."""
    found = info.get("LastModified") or info.get("mtime") or info.get("created")
    if isinstance(found, datetime):
        return found.timestamp()
    return float(found) if isinstance(found, int | float) else NEVER


def remote_error(error: Exception, url: str) -> Exception:
    if isinstance(error, MldbError):
        return error
    if isinstance(error, FileNotFoundError):
        return NotFound(f"opening '{url}': No such file or directory", code=400)
    return MldbError(f"cannot use '{url}': {error}")
