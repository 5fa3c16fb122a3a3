"""Function application: reading input, batching, both output forms (rest-api.md §8). The functions are types of our
own, registered as any extension would."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pyarrow as pa

from server import tasks
from server.app import Server
from server.declarations import EntityType, Params
from server.errors import MldbError
from server.http.security import Gate
from server.settings import Settings
from server.shutdown import Shutdown
from server.values.batches import Cell, Column, RowBatch, RowType
from server.values.cells import cells_array
from server.values.kinds import Kind
from tests.waiting import PATIENCE


@dataclass
class Echo:
    """Gives back its input; remembers how large the batches were. The first one takes ``pause`` seconds."""

    input = RowType(open=True)
    output = RowType(open=True)
    sizes: list[int] = field(default_factory=list)
    pause: float = 0.0

    def bind(self, given: RowType) -> Bound:
        return Bound(self, given)


@dataclass
class Bound:
    function: Echo
    output: RowType

    def apply(self, batch: RowBatch) -> RowBatch:
        self.function.sizes.append(batch.length)
        time.sleep(self.function.pause)
        self.function.pause = 0.0
        for index, column in enumerate(batch.type.columns):
            if column.path == ("bad",) and True in batch.values[index].to_pylist():
                raise MldbError("a bad row")
            if column.path == ("bad",) and 1 in batch.values[index].to_pylist():
                raise MldbError("a bad row")
        return batch


class Fixed(Echo):
    """Knows the names x and y only; its output has a row of scores and an embedding."""

    input = RowType((Column(("x",), Kind.NUMBER), Column(("y",), Kind.NUMBER)))
    output = RowType((Column(("vector",), Kind.NUMBER, (3,)),), open=True)

    def bind(self, given: RowType) -> Scores:
        return Scores(self, self.output)


class Scores(Bound):
    def apply(self, batch: RowBatch) -> RowBatch:
        vector = pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.5, 3.0] * batch.length), 3)
        cells = [Cell(("scores", '"audi"'), -7.5, 0.0), Cell(("scores", "10"), 2, math.nan)]
        rest = cells_array([cells] * batch.length)
        return RowBatch(self.output, batch.length, [vector], [0.0], rest)


class Bare(Echo):
    output = RowType((Column((), Kind.INTEGER),))

    def bind(self, given: RowType) -> BareBound:
        return BareBound(self, self.output)


class BareBound(Bound):
    def apply(self, batch: RowBatch) -> RowBatch:
        sums = [0.0] * batch.length
        for index, column in enumerate(batch.type.columns):
            for row, value in enumerate(batch.values[index].to_pylist()):
                sums[row] += sum(value) if column.shape else value
        return RowBatch(self.output, batch.length, [pa.array(map(int, sums))], [math.nan])


class Brief(Echo):
    """Remembers the thread and the task of each batch."""

    output = RowType((Column(("n",), Kind.INTEGER),))

    def __init__(self) -> None:
        self.calls: list[tuple[int, bool, bool]] = []

    def bind(self, given: RowType) -> BriefBound:
        return BriefBound(self, self.output)


class BriefBound(Bound):
    brief = True

    def apply(self, batch: RowBatch) -> RowBatch:
        apart = threading.current_thread().name == "stoppable"
        self.function.calls.append((batch.length, apart, tasks.current() is not None))
        return RowBatch(self.output, batch.length, [pa.array([7] * batch.length)], [math.nan])


def types(made: dict[str, Echo]) -> list[EntityType]:
    def create(kind):
        def build(creation):
            made[creation.id] = kind()
            return made[creation.id]

        return build

    return [
        EntityType("function", name, Params, "A test's own", create(kind))
        for name, kind in (("echo", Echo), ("fixed", Fixed), ("bare", Bare), ("brief", Brief))
    ]


@contextmanager
def running(tmp_path) -> Iterator[tuple[Server, dict[str, Echo], httpx.AsyncClient]]:
    settings = Settings(data_dir=tmp_path)
    server = Server(settings, Gate(settings), Shutdown())
    made: dict[str, Echo] = {}
    server.host.types.register(types(made))
    yield server, made, httpx.AsyncClient(transport=httpx.ASGITransport(server.gateway), base_url="http://localhost")
    server._close()


async def apply(client, name, given, route="application", **more):
    body = json.dumps({"input": given, **more})
    return await client.request("GET", f"/v1/functions/{name}/{route}", content=body)


def run(tmp_path, test):
    async def body():
        with running(tmp_path) as (server, made, client):
            await server.start()
            async with client:
                for name in ("echo", "fixed", "bare", "brief"):
                    answer = await client.put(f"/v1/functions/{name}", json={"type": name})
                    assert answer.status_code == 201, answer.text
                await test(client, made)

    asyncio.run(body())


COMPAT = [
    ({"w": 2, "h": 3.5}, '{"output":{"h":3.5,"w":2}}'),
    (
        {"s": "x", "n": None, "t": {"ts": "2015-01-01T00:00:00Z"}},
        '{"output":{"n":null,"s":"x","t":{"ts":"2015-01-01T00:00:00Z"}}}',
    ),
    ({"r": {"b": 1, "a": {"c": 2}}}, '{"output":{"r":[["a",[[["c",[2,"NaD"]]],"NaD"]],["b",[1,"NaD"]]]}}'),
    ({"v": [1, 2, 3]}, '{"output":{"v":{"shape":[3],"type":"FLOAT64","val":[1,2,3]}}}'),
    ({"v": [[1, 2], [3, 4.5]]}, '{"output":{"v":{"shape":[2,2],"type":"FLOAT64","val":[[1,2],[3,4.5]]}}}'),
    ({"v": ["a", 1]}, '{"output":{"v":[[0,["a","NaD"]],[1,[1,"NaD"]]]}}'),
    ({"x": {"num": "NaN"}, "b": {"blob": [0, "hi"]}}, '{"output":{"b":{"blob":[0,"hi"]},"x":{"num":"NaN"}}}'),
    ({"b": {"blob": {"base64": "AGhp"}}}, '{"output":{"b":{"blob":[0,"hi"]}}}'),
    ({"b": {"blob": {"base64": ""}}}, '{"output":{"b":{"blob":[]}}}'),
    ({"b": {"base64": "AGhp"}}, '{"output":{"b":[["base64",["AGhp","NaD"]]]}}'),
    ({}, '{"output":{}}'),
]  # fmt: skip


def test_compat_output(tmp_path):
    async def test(client, made):
        for given, text in COMPAT:
            answer = await apply(client, "echo", given)
            assert (answer.status_code, answer.text) == (200, text)
        kept = await apply(client, "echo", {"a": 1, "b": 2}, keepValues=["b", "z"])
        assert kept.text == '{"output":{"b":2,"z":null}}'
        fixed = await apply(client, "fixed", {"x": 1})
        assert fixed.text == (
            '{"output":{"scores":[["\\"audi\\"",[-7.5,"1970-01-01T00:00:00Z"]],[10,[2,"NaD"]]],'
            '"vector":{"shape":[3],"type":"FLOAT64","val":[1,2.5,3]}}}'
        )

    run(tmp_path, test)


def test_plain_output_and_query_string(tmp_path):
    async def test(client, made):
        answer = await apply(client, "echo", {"r": {"1": "b", "0": "a"}, "e": {}, "v": [[1], [2]]}, outputFormat="json")
        assert answer.text == '{"r":["a","b"],"v":[[1],[2]]}'
        params = {"input": '{"w":2}', "outputFormat": "json"}
        answer = await client.get("/v1/functions/echo/application", params=params)
        assert answer.text == '{"w":2}'

    run(tmp_path, test)


def test_batch(tmp_path):
    async def test(client, made):
        answer = await apply(client, "bare", [[1, 2, 3], [4, 5], [6], []], "batch")
        assert answer.text == "[6,9,6,0]"
        answer = await apply(client, "echo", {"q": {"w": 3}, "p": {"w": "x"}}, "batch")
        assert answer.text == '{"p":{"w":"x"},"q":{"w":3}}'
        assert (await apply(client, "echo", None, "batch")).text == "null"
        wrong = await apply(client, "echo", [], "batch", outputFormat="xml")
        assert wrong.json()["error"].startswith("batch apply only accepts 'json'")

    run(tmp_path, test)


def test_errors(tmp_path):
    async def test(client, made):
        assert (await apply(client, "bare", {"x": 1})).json() == {"error": "Expected row expression", "httpCode": 500}
        assert (await apply(client, "bare", {"x": 1}, outputFormat="json")).text == "1"
        unknown = await apply(client, "fixed", {"x": 1, "z": 2})
        assert unknown.json()["error"].startswith("Unknown field 'z' extracting type")
        for given in (5, [1], "x"):
            assert (await apply(client, "echo", given)).status_code == 400
        odd = await apply(client, "echo", {}, outputFormat="xml")
        assert odd.json()["error"].startswith("Unknown 'format' for application call")
        cell = await apply(client, "echo", {"x": {"num": "one"}})
        assert cell.json()["error"] == "Unknown numeric value 'one'"
        posted = await client.post("/v1/functions/echo/application", json={"input": {}})
        assert posted.status_code == 404
        mixed = await client.request("GET", "/v1/functions/echo/application?input={}", content='{"input":{"x":1}}')
        assert mixed.json() == {"error": "You cannot mix query string and body parameters", "httpCode": 400}
        assert (await client.get("/v1/functions/echo/application/")).status_code == 404

    run(tmp_path, test)


def test_concurrent_calls_are_joined_and_fail_alone(tmp_path):
    async def test(client, made):
        made["echo"].pause = 1.0  # meanwhile the others come
        given = [{"n": index, "bad": index == 40} for index in range(100)]
        answers = await asyncio.gather(*(apply(client, "echo", each) for each in given))
        for index, answer in enumerate(answers):
            if index == 40:
                assert answer.json() == {"error": "a bad row", "httpCode": 400}
            else:
                assert answer.json()["output"]["n"] == index
        assert max(made["echo"].sizes) == 32

    run(tmp_path, test)


def test_a_function_may_call_itself_over_rest(tmp_path):
    """A call that waits in the queue of the very call that waits for it is taken up all the same."""

    async def test(client, made):
        loop = asyncio.get_running_loop()
        inner = []

        class Recursive(Bound):
            def apply(self, batch: RowBatch) -> RowBatch:
                if threading.active_count() and not inner:
                    inner.append(None)
                    call = asyncio.run_coroutine_threadsafe(apply(client, "echo", {"n": 1}), loop)
                    inner[0] = call.result(PATIENCE).json()
                return batch

        made["echo"].bind = lambda given: Recursive(made["echo"], given)
        answer = await asyncio.wait_for(apply(client, "echo", {"n": 2}), PATIENCE)
        assert answer.json() == {"output": {"n": 2}}
        assert inner == [{"output": {"n": 1}}]

    run(tmp_path, test)


def test_info(tmp_path):
    async def test(client, made):
        info = (await client.get("/v1/functions/fixed/info")).json()
        assert [column["columnName"] for column in info["input"][0]["knownColumns"]] == ["x", "y"]
        assert info["output"]["knownColumns"][0]["valueInfo"]["kind"] == "embedding"
        assert (await client.get("/v1/functions/fixed/details")).text == "null\n"

    run(tmp_path, test)


def test_a_brief_function_gets_single_rows_in_the_thread_of_the_query(tmp_path):
    async def test(client, made):
        for rows in ("{x: 1}", "{x: 1, y: 2}"):
            query = f"SELECT brief({{value}})[n] AS n FROM row_dataset({rows})"
            answer = await client.get("/v1/query", params={"q": query, "format": "soa", "rowNames": "false"})
            assert set(answer.json()["n"]) == {7}
        assert made["brief"].calls == [(1, False, True), (2, True, True)]

    run(tmp_path, test)
