"""``sftp:`` URLs against a local SSH server, over REST: credentials, reading, writing, listing, refusals."""

from __future__ import annotations

import asyncio
import threading
import zipfile
from typing import ClassVar

import asyncssh
import pytest

from tests.conftest import RunningServer
from tests.transfer.test_s3 import error, status
from tests.waiting import until


class _Passwords(asyncssh.SSHServer):
    """One user, one password. ``connections``: those that were made."""

    connections: ClassVar[list[asyncssh.SSHServerConnection]] = []
    open: ClassVar[set[asyncssh.SSHServerConnection]] = set()

    def connection_made(self, connection):
        self.connections.append(connection)
        self.open.add(connection)
        self._connection = connection

    def connection_lost(self, exc):
        self.open.discard(self._connection)

    def begin_auth(self, username):
        return True

    def password_auth_supported(self):
        return True

    def validate_password(self, username, password):
        return (username, password) == ("ann", "secret")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = RunningServer(tmp_path_factory.mktemp("server") / "data", "--fetch-private")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sftp")


@pytest.fixture(scope="module")
def key():
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture(scope="module")
def host(folder, key):
    """Host and port of an SSH server whose files are the machine's."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def listen():
        return await asyncssh.create_server(
            _Passwords, "127.0.0.1", 0, server_host_keys=[key], sftp_factory=asyncssh.SFTPServer
        )

    async def close(listening):
        listening.close()
        for connection in _Passwords.connections:
            connection.abort()
            await connection.wait_closed()
        await listening.wait_closed()

    listening = asyncio.run_coroutine_threadsafe(listen(), loop).result(20)
    yield f"127.0.0.1:{listening.get_port()}"
    asyncio.run_coroutine_threadsafe(close(listening), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)
    loop.close()


@pytest.fixture(scope="module")
def known(host, key, server):
    """The server's file of known hosts, with the key in it."""
    name, _, port = host.partition(":")
    file = server.data_dir / "known_hosts"
    file.write_text(f"[{name}]:{port} {key.export_public_key().decode().strip()}\n")
    return file


@pytest.fixture(scope="module")
def base(host, folder, client, known):
    """URL of the folder, its credentials stored."""
    url = f"sftp://{host}{folder}"
    credential = {"protocol": "sftp", "location": host, "id": "ann", "secret": "secret"}
    store = {"resource": f"sftp://{host}/", "resourceType": "sftp", "credential": credential}
    assert client.put("/v1/credentials/ssh", json={"store": store}).status_code == 201
    return url


@pytest.mark.parametrize("name", ["plain.csv", "with é.csv", "packed.csv.gz"])
def test_there_and_back(client, base, folder, name):
    for count in (3, 5):  # written over: the second one counts
        status(client, "export.csv", exportData=f"SELECT x FROM (SELECT {count} AS x)", dataFileUrl=f"{base}/{name}")
        status(client, "import.text", dataFileUrl=f"{base}/{name}", outputDataset="back")
        assert client.query("SELECT x FROM back")[1][1] == count
    assert (folder / name).exists()


def test_archives_and_listings(client, base, folder):
    (folder / "listed" / "deep").mkdir(parents=True)
    with zipfile.ZipFile(folder / "listed" / "a.zip", "w") as archive:
        archive.writestr("in/side.csv", "x\n7\n")
    (folder / "listed" / "deep" / "b.csv").write_text("x\n8\n")
    url = f"archive+{base}/listed/a.zip#in/side.csv"
    status(client, "import.text", dataFileUrl=url, outputDataset="inside")
    assert client.query("SELECT x FROM inside")[1][1] == 7
    assert status(client, "list.files", path=f"{base}/listed", outputDataset="files")["rowCount"] == 2
    found = {name.strip('"'): size for name, size in client.query("SELECT size FROM files")[1:]}
    assert found[f"{base}/listed/deep/b.csv"] == 4


def test_what_is_not_there(client, base):
    assert "No such file or directory" in error(
        client, "import.text", dataFileUrl=f"{base}/none.csv", outputDataset="none"
    )


def test_a_failed_write_leaves_no_file(client, base, folder):
    client.put("/v1/datasets/twice", json={"type": "sparse.mutable"})
    rows = [["a", [["x", 1, 0]]], ["b", [["x", 1, 0], ["x", 2, 10]]]]
    client.post("/v1/datasets/twice/multirows", json=rows)
    client.post("/v1/datasets/twice/commit")
    message = error(client, "export.csv", exportData="SELECT x FROM twice", dataFileUrl=f"{base}/half.csv")
    assert "cells having multiple values" in message
    assert not (folder / "half.csv").exists()
    assert not [file.name for file in folder.iterdir() if file.name.count("-") == 4]  # where it was written meanwhile


def test_a_wrong_password_is_refused(client, base, host, folder):
    (folder / "read.csv").write_text("x\n1\n")
    credential = {"protocol": "sftp", "location": host, "id": "ann", "secret": "wrong"}
    store = {"resource": base, "resourceType": "sftp", "credential": credential}
    assert client.put("/v1/credentials/nearer", json={"store": store}).status_code == 201
    message = error(client, "import.text", dataFileUrl=f"{base}/read.csv", outputDataset="refused")
    assert "cannot use" in message
    assert "wrong" not in message
    client.delete("/v1/credentials/nearer")
    status(client, "import.text", dataFileUrl=f"{base}/read.csv", outputDataset="allowed")


def test_only_known_hosts_get_the_password(client, base, known, host, folder):
    (folder / "known.csv").write_text("x\n1\n")
    text = known.read_text()
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    try:
        for content, found in (
            ("", "is not known"),
            (f"[127.0.0.1]:{host.partition(':')[2]} {other}\n", "that is known"),
        ):
            known.write_text(content)
            message = error(client, "import.text", dataFileUrl=f"{base}/known.csv", outputDataset="known")
            assert found in message
            assert "ssh-keyscan -p" in message
            assert "sftp-known-hosts" in message
            assert str(known) not in message
    finally:
        known.write_text(text)
    status(client, "import.text", dataFileUrl=f"{base}/known.csv", outputDataset="known")
    params = {"exportData": "SELECT 1 AS x FROM (SELECT 1)", "dataFileUrl": "file:///mldb_data/known_hosts"}
    answer = client.put("/v1/procedures/own", json={"type": "export.csv", "params": params})
    assert answer.status_code == 403
    assert "cannot be accessed" in answer.text


def test_connections_end_with_their_use(client, base, folder):
    """Without waiting for the collector."""
    status(client, "export.csv", exportData="SELECT 1 AS x FROM (SELECT 1)", dataFileUrl=f"{base}/short.csv")
    status(client, "import.text", dataFileUrl=f"{base}/short.csv", outputDataset="short")
    status(client, "list.files", path=str(base), outputDataset="files")
    error(client, "import.text", dataFileUrl=f"{base}/none.csv", outputDataset="none")
    until(lambda: not _Passwords.open, _Passwords.open)
