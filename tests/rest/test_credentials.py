"""Which stored credential is used for a URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.entities.credentials import Credentials


@pytest.mark.parametrize(
    ("resource", "url", "found"),
    [
        ("sftp://host", "sftp://host/a.csv", True),
        ("sftp://host", "sftp://host:22/a.csv", True),
        ("sftp://host:22", "sftp://host:22/a.csv", True),
        ("sftp://host/", "sftp://host/a.csv", True),
        ("sftp://host/folder", "sftp://host/folder/a.csv", True),
        ("sftp://me@host", "sftp://me@host/a.csv", True),
        ("sftp://", "sftp://anywhere/a.csv", True),
        ("", "sftp://anywhere/a.csv", True),
        ("sftp://host", "sftp://host.example.org/a.csv", False),
        ("sftp://host", "sftp://host:22@example.org/a.csv", False),
        ("sftp://host", "sftp://host@example.org/a.csv", False),
        ("sftp://host:22", "sftp://host:2222/a.csv", False),
        ("sftp://host/other", "sftp://host/a.csv", False),
        ("s3://bucket-", "s3://bucket-of-mine/a.csv", True),
    ],
)
def test_a_host_is_named_whole(tmp_path: Path, resource: str, url: str, found: bool) -> None:
    stored = Credentials(tmp_path / "credentials.json")
    store = {"resourceType": "test", "resource": resource, "credential": {"id": "me", "secret": "word"}}
    stored.add("", {"store": store})
    assert (stored.lookup("test", url) is not None) is found
    assert stored.lookup("other", url) is None


def test_the_longest_resource_counts(tmp_path: Path) -> None:
    stored = Credentials(tmp_path / "credentials.json")
    for name, resource in (("all", "sftp://"), ("host", "sftp://host"), ("folder", "sftp://host/folder/")):
        store = {"resourceType": "sftp", "resource": resource, "credential": {"id": name}}
        stored.add(name, {"store": store})
    urls = ("sftp://elsewhere/a", "sftp://host/a", "sftp://host/folder/a")
    assert [stored.lookup("sftp", url) for url in urls] == [{"id": "all"}, {"id": "host"}, {"id": "folder"}]
