"""MongoDB over REST: a collection as a dataset, recording, importing, querying; against a server of its protocol."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from datetime import UTC, datetime
from types import SimpleNamespace

import bson
import pymongo
import pytest

from server.bridges import mongodb as mongodb_bridge
from server.errors import MldbError

OID = bson.ObjectId.from_datetime(datetime(2020, 1, 2, tzinfo=UTC))


@pytest.fixture(scope="module")
def shop(mongodb):
    with pymongo.MongoClient(mongodb) as client:
        yield client.get_default_database()


@pytest.fixture
def people(shop):
    shop.people.drop()
    shop.people.insert_many(
        [
            {"_id": OID, "name": "Zoé", "age": 30, "home": {"town": "Montréal", "no": 7}, "tags": ["a", "b"]},
            {"_id": "max", "age": 41.5, "born": datetime(1980, 1, 1, tzinfo=UTC), "photo": b"\x00\xff", "none": None,
             "price": bson.Decimal128("12.5"), "alive": True},
        ]
    )  # fmt: skip
    return shop.people


def dataset(client, name, type, mongodb, collection):
    params = {"uriConnectionScheme": mongodb, "collection": collection}
    return client.put(f"/v1/datasets/{name}", json={"type": type, "params": params})


def rows(client, query):
    found = client.query(query, "full")
    return {
        row["rowName"]: {name: value for name, value, _ in row["columns"] if value is not None} for row in found
    }  # fmt: skip


ZOE = {"_id": str(OID), "name": "Zoé", "age": 30, "home.town": "Montréal", "home.no": 7, "tags.0": "a", "tags.1": "b"}


def test_a_collection_is_a_dataset(client, mongodb, people):
    assert dataset(client, "people", "mongodb.dataset", mongodb, "people").is_success
    found = rows(client, "SELECT * EXCLUDING (photo) FROM people")
    assert found[str(OID)] == ZOE
    assert found["max"] == {
        "_id": "max", "age": 41.5, "born": {"ts": "1980-01-01T00:00:00Z"}, "price": 12.5, "alive": 1,
    }  # fmt: skip
    query = f"SELECT latest_timestamp(age) AS t FROM people WHERE rowName() = '{OID}'"
    assert client.query(query)[1][1] == "2020-01-02T00:00:00Z"
    people.update_one({"_id": "max"}, {"$set": {"age": 42}})
    assert client.query("SELECT sum(age) AS s FROM people")[1][1] == 72


def test_recording(client, mongodb, shop):
    assert dataset(client, "orders", "mongodb.record", mongodb, "orders").is_success
    many = [["a", [["x.y", 1, 0], ["x.z", "é", 0]]], ["b", [["when", {"ts": "2020-01-01T00:00:00Z"}, 0]]]]
    client.post("/v1/datasets/orders/multirows", json=many)
    assert shop.orders.count_documents({}) == 0
    assert client.post("/v1/datasets/orders/commit").is_success
    client.post("/v1/datasets/orders/rows", json={"rowName": "b", "columns": [["n", 2, 0]]})
    client.post("/v1/datasets/orders/commit")
    assert list(shop.orders.find(sort=[("_id", 1)])) == [{"_id": "a", "x": {"y": 1, "z": "é"}}, {"_id": "b", "n": 2}]
    answer = client.post("/v1/datasets/orders/rows", json={"rowName": "c", "columns": [["x", 1, 0], ["x.y", 1, 0]]})
    assert "cannot have a value at 'x'" in answer.json()["error"]
    assert "cannot be queried" in client.get_json("/v1/query", {"q": "SELECT * FROM orders"}).json()["error"]


def run(client, mongodb, **params):
    config = {"uriConnectionScheme": mongodb, "collection": "people", "outputDataset": "imported", **params}
    return client.post("/v1/procedures", json={"type": "mongodb.import", "params": config})


def test_import(client, mongodb, people):
    answer = run(client, mongodb)
    assert answer.json()["status"]["firstRun"]["status"] == {"numInsertedRows": 2, "numParsingErrors": 0}
    assert rows(client, "SELECT * FROM imported")[str(OID)] == ZOE
    params = {"select": "age + 1 AS older, home", "where": "age < 35", "named": "oid() + '!'"}
    assert run(client, mongodb, **params).json()["status"]["firstRun"]["status"]["numInsertedRows"] == 1
    assert rows(client, "SELECT * FROM imported") == {
        f"{OID}!": {"older": 31, "home.town": "Montréal", "home.no": 7}
    }  # fmt: skip
    assert run(client, mongodb, limit=1, offset=1).json()["status"]["firstRun"]["status"]["numInsertedRows"] == 1
    assert run(client, mongodb, limit=0).json()["status"]["firstRun"]["status"]["numInsertedRows"] == 0


def test_documents_without_a_counterpart(client, mongodb, people):
    people.insert_one({"_id": "odd", "pattern": bson.Regex("a+")})
    answer = run(client, mongodb)
    assert "The document 'odd' holds a value of type Regex" in answer.json()["details"]["runError"]["error"]
    answer = run(client, mongodb, ignoreParsingErrors=True)
    assert answer.json()["status"]["firstRun"]["status"] == {"numInsertedRows": 2, "numParsingErrors": 1}


def test_query_function(client, mongodb, people):
    params = {"uriConnectionScheme": mongodb, "collection": "people"}
    client.put("/v1/functions/first", json={"type": "mongodb.query", "params": params})
    found = client.query("""SELECT first({query: '{"age": {"$gt": 35}}'})[alive] AS alive""")
    assert found[1][1] == 1
    params["output"] = "NAMED_COLUMNS"
    client.put("/v1/functions/all", json={"type": "mongodb.query", "params": params})
    asked = {"input": {"query": '{"age": {"$gt": 1}}'}, "outputFormat": "json"}
    found = client.get_json("/v1/functions/all/application", asked).json()["output"]
    assert set(found) == {"max", str(OID)}
    asked = {"input": {"query": f'{{"_id": {{"$oid": "{OID}"}}}}'}, "outputFormat": "json"}
    assert client.get_json("/v1/functions/all/application", asked).json()["output"][str(OID)]["age"] == 30
    for wrong in ("age = 3", "[1]", None):
        answer = client.get_json("/v1/functions/all/application", {"input": {"query": wrong}})
        assert answer.status_code == 400
        assert "'query' must be a" in answer.json()["error"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mongodb://127.0.0.1:1", "names no database"),
        ("http://127.0.0.1/x", "the minimal uriConnectionScheme format is mongodb://<host>"),
        ("mongodb://nowhere.invalid/x", "Couldn't resolve host name"),
    ],
)
def test_bad_addresses(client, uri, message):
    answer = dataset(client, "bad", "mongodb.dataset", uri, "c")
    assert answer.status_code == 400
    assert message in answer.json()["error"]


def test_private_hosts_are_refused(start_server, mongodb):
    with start_server().client() as client:
        answer = dataset(client, "people", "mongodb.dataset", mongodb, "people")
        assert answer.status_code == 403
        assert "fetch_private" in answer.json()["error"]


class Secondary(socketserver.BaseRequestHandler):
    """A member of a replica set that names ``others`` as members, the first as the primary."""

    others: tuple[str, ...]

    def handle(self) -> None:
        while head := self.request.recv(16, socket.MSG_WAITALL):
            length, number, _, kind = struct.unpack("<iiii", head)
            self.request.recv(length - 16, socket.MSG_WAITALL)
            answer = bson.encode({
                "ok": 1, "isWritablePrimary": False, "ismaster": False, "secondary": True, "setName": "rs", "hosts":
                list(self.others), "primary": self.others[0], "maxWireVersion": 21, "minWireVersion": 0,
                "maxBsonObjectSize": 1 << 24, "maxMessageSizeBytes": 1 << 25, "maxWriteBatchSize": 1000,
                "helloOk": True,
            })  # fmt: skip
            if kind == 2004:  # OP_QUERY, of the first hello
                body = struct.pack("<iqii", 8, 0, 0, 1) + answer
                reply = struct.pack("<iiii", 16 + len(body), 1, number, 1) + body
            else:
                body = struct.pack("<iB", 0, 0) + answer
                reply = struct.pack("<iiii", 16 + len(body), 1, number, 2013) + body
            self.request.sendall(reply)


def test_hosts_that_a_replica_set_names_are_checked(monkeypatch):
    """A listed member listens: nobody may come, as the policy knows only the host of the address."""
    with (
        socket.create_server(("127.0.0.1", 0)) as member,
        socketserver.ThreadingTCPServer(("127.0.0.1", 0), Secondary) as named,
    ):
        named.daemon_threads = True
        Secondary.others = (f"127.0.0.1:{member.getsockname()[1]}", f"localhost:{member.getsockname()[1]}")
        port = named.server_address[1]
        threading.Thread(target=named.serve_forever, daemon=True).start()

        def checked(host, asked, *, private):
            if asked != port:
                raise MldbError(f"{host}:{asked} is refused", code=403)

        monkeypatch.setattr(mongodb_bridge, "checked_addresses", checked)
        services = SimpleNamespace(
            urls=SimpleNamespace(credential=lambda *_: None), settings=SimpleNamespace(fetch_private=False)
        )
        for options in ("", "?replicaSet=rs"):
            place = SimpleNamespace(uriConnectionScheme=f"mongodb://127.0.0.1:{port}/x{options}", collection="c")
            with (
                pytest.raises(MldbError, match=r"127\.0\.0\.1:\d+ is refused"),
                mongodb_bridge.collection_of(services, place) as collection,
            ):
                collection.find_one()
        member.settimeout(1)
        with pytest.raises(TimeoutError):
            member.accept()
        named.shutdown()
