"""``s3:`` URLs against a local S3 server, over REST: credentials, reading, writing, listing, archives."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import boto3
import httpx
import pytest
from botocore.config import Config

from tests.conftest import RunningServer
from tests.ports import free_port
from tests.transfer.runs import error, status
from tests.waiting import PATIENCE, until

BUCKET = "mldb-bucket"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = RunningServer(tmp_path_factory.mktemp("server") / "data", environment={"AWS_MAX_ATTEMPTS": "1"})
    yield running
    running.stop()


def answers(port, process):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/moto-api/").is_success
    except httpx.HTTPError:
        assert process.poll() is None, "moto ended"
        return False


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """Host and port of an S3 server that checks nobody's keys."""
    port = free_port()
    program = Path(sys.executable).parent / "moto_server"
    process = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        cwd=tmp_path_factory.mktemp("s3"), env=os.environ | {"AWS_DEFAULT_REGION": "us-east-1"},
    )  # fmt: skip
    try:
        until(lambda: answers(port, process), "moto does not answer")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def bucket(s3, client):
    """A bucket, its credentials stored; boto's client of it."""
    boto = boto3.client(
        "s3", endpoint_url=f"http://{s3}", aws_access_key_id="key", aws_secret_access_key="secret",
        region_name="us-east-1", config=Config(retries={"max_attempts": 1}),
    )  # fmt: skip
    boto.create_bucket(Bucket=BUCKET)
    credentials(client, "bucket", f"s3://{BUCKET}/", s3)
    yield boto
    boto.close()


def credentials(client, name, resource, location):
    credential = {"protocol": "http", "location": location, "id": "key", "secret": "secret"}
    store = {"resource": resource, "resourceType": "aws:s3", "credential": credential}
    assert client.put(f"/v1/credentials/{name}", json={"store": store}).status_code == 201


@pytest.mark.parametrize("name", ["a/b é.csv", "packed.csv.gz", "packed.csv.zst"])
def test_there_and_back(client, bucket, name):
    url = f"s3://{BUCKET}/{name}"
    for count in (3, 5):  # written over: the second one counts
        status(client, "export.csv", exportData=f"SELECT x FROM (SELECT {count} AS x)", dataFileUrl=url)
        status(client, "import.text", dataFileUrl=url, outputDataset="back")
        assert client.query("SELECT x FROM back")[1][1] == count
    assert [item["Key"] for item in bucket.list_objects_v2(Bucket=BUCKET, Prefix=name)["Contents"]] == [name]


def test_models_and_datasets(client, bucket):
    client.put("/v1/datasets/d", json={"type": "sparse.mutable"})
    rows = [[f"r{n}", [["x", n, 0], ["l", n % 2, 0]]] for n in range(20)]
    client.post("/v1/datasets/d/multirows", json=rows)
    client.post("/v1/datasets/d/commit")
    params = {"trainingData": "SELECT {x} AS features, l AS label FROM d", "algorithm": "dt", "functionName": "f"}
    status(client, "classifier.train", modelFileUrl=f"s3://{BUCKET}/models/a.cls", **params)
    assert client.query("SELECT f({features: {x: 3}})[score] AS s")[1][1] > 0.5
    output = {"type": "beh.mutable", "params": {"dataFileUrl": f"s3://{BUCKET}/d.beh"}}
    status(client, "transform", inputData="SELECT x FROM d", outputDataset=output)
    loaded = {"type": "beh", "params": {"dataFileUrl": f"s3://{BUCKET}/d.beh"}}
    assert client.put("/v1/datasets/loaded", json=loaded).status_code == 201
    assert client.query("SELECT sum(x) AS s FROM loaded")[1][1] == 190


def test_what_others_write_is_seen(client, bucket):
    """A bucket is looked at anew each time: what is listed, and what is in an object that was replaced."""
    bucket.put_object(Bucket=BUCKET, Key="shared/a.csv", Body=b"x\n1\n")
    listing = {"path": f"s3://{BUCKET}/shared", "outputDataset": "shared"}
    reading = {"dataFileUrl": f"s3://{BUCKET}/shared/a.csv", "outputDataset": "read"}
    assert status(client, "list.files", **listing)["rowCount"] == 1
    status(client, "import.text", **reading)
    bucket.put_object(Bucket=BUCKET, Key="shared/a.csv", Body=b"x\n2\n30\n")
    bucket.put_object(Bucket=BUCKET, Key="shared/b.csv", Body=b"x\n3\n")
    assert status(client, "list.files", **listing)["rowCount"] == 2
    status(client, "import.text", **reading)
    assert client.query("SELECT x FROM read")[1:] == [["2", 2], ["3", 30]]
    bucket.delete_object(Bucket=BUCKET, Key="shared/b.csv")
    assert status(client, "list.files", **listing)["rowCount"] == 1


def test_archives_and_listings(client, bucket):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("in/side.csv", "x\n7\n")
    bucket.put_object(Bucket=BUCKET, Key="listed/a.zip", Body=packed.getvalue())
    bucket.put_object(Bucket=BUCKET, Key="listed/deep/b.csv", Body=b"x\n8\n")
    url = f"archive+s3://{BUCKET}/listed/a.zip#in/side.csv"
    status(client, "import.text", dataFileUrl=url, outputDataset="inside")
    assert client.query("SELECT x FROM inside")[1][1] == 7
    assert status(client, "list.files", path=f"s3://{BUCKET}/listed", outputDataset="files")["rowCount"] == 2
    found = {name.strip('"'): size for name, size in client.query("SELECT size FROM files")[1:]}
    assert found[f"s3://{BUCKET}/listed/deep/b.csv"] == 4
    assert f"s3://{BUCKET}/listed/a.zip" in found


def test_what_is_not_there(client, bucket):
    missing = error(client, "import.text", dataFileUrl=f"s3://{BUCKET}/none.csv", outputDataset="none")
    assert "No such file or directory" in missing
    message = error(
        client, "export.csv", exportData="SELECT 1 AS x FROM (SELECT 1)", dataFileUrl="s3://no-such-bucket-here/x.csv"
    )  # fmt: skip
    assert "s3://no-such-bucket-here/x.csv" in message


def test_the_longest_resource_wins(client, bucket, s3):
    """A wrong place for the whole of S3 does not matter where a nearer rule fits."""
    credentials(client, "all", "s3://", "127.0.0.1:1")
    bucket.put_object(Bucket=BUCKET, Key="near.csv", Body=b"x\n1\n")
    status(client, "import.text", dataFileUrl=f"s3://{BUCKET}/near.csv", outputDataset="near")
    credentials(client, "nearest", f"s3://{BUCKET}/private/", "127.0.0.1:1")
    bucket.put_object(Bucket=BUCKET, Key="private/far.csv", Body=b"x\n1\n")
    message = error(
        client, "import.text", dataFileUrl=f"s3://{BUCKET}/private/far.csv", outputDataset="far"
    )  # fmt: skip
    assert "cannot use" in message
    client.delete("/v1/credentials/nearest")
    status(client, "import.text", dataFileUrl=f"s3://{BUCKET}/private/far.csv", outputDataset="far")
    client.delete("/v1/credentials/all")


def test_a_failed_write_leaves_no_object(client, bucket):
    client.put("/v1/datasets/twice", json={"type": "sparse.mutable"})
    rows = [["a", [["x", 1, 0]]], ["b", [["x", 1, 0], ["x", 2, 10]]]]
    client.post("/v1/datasets/twice/multirows", json=rows)
    client.post("/v1/datasets/twice/commit")
    message = error(
        client, "export.csv", exportData="SELECT x FROM twice", dataFileUrl=f"s3://{BUCKET}/half.csv"
    )  # fmt: skip
    assert "cells having multiple values" in message
    assert bucket.list_objects_v2(Bucket=BUCKET, Prefix="half")["KeyCount"] == 0
