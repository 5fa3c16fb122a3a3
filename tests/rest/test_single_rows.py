"""Rows that a script records one by one: whatever it does next, the server has them."""

import pytest

RUN = "/v1/types/plugins/python/routes/run"
NEW = "from mldb import mldb\nd = mldb.create_dataset({'id': 'd', 'type': 'sparse.mutable'})\n"


@pytest.fixture
def run(client):
    def run(source, status=200):
        answer = client.post(RUN, json={"source": NEW + source})
        assert answer.status_code == status, answer.text
        return answer.json()

    yield run
    client.delete("/v1/datasets/d")


def count(client):
    return client.get("/v1/query", params={"q": "SELECT count(*) FROM d", "format": "atom"}).json()


def test_a_query_sees_them_without_a_commit(run):
    source = """
for i in range(500):
    d.record_row(f'r{i}', [['x', i, 0]])
request.set_return(mldb.query('SELECT count(*), sum(x) FROM d'))
"""
    assert run(source)["result"] == [["_rowName", "count(*)", "sum(x)"], ["[]", 500, 124750]]


def test_they_keep_their_order_among_other_recordings(run):
    source = """
d.record_row('r', [['x', 1, 0]])
d.record_rows([['r', [['x', 2, 1]]], ['s', []]])
d.record_rows([])
d.record_rows([[f'q{i}', []] for i in range(200)])
d.record_row('r', [['x', 3, 2]])
d.record_column('y', [['r', 4, 0]])
d.record_row('r', [['x', 5, 3]])
d.commit()
request.set_return(mldb.get('/v1/query', q="SELECT * FROM d WHERE rowName() = 'r'", format='sparse').json())
"""
    cells = [["x", 1], ["x", 2], ["x", 3], ["x", 5], ["y", 4]]
    assert run(source)["result"] == [[["_rowName", "r"], *cells]]


def test_they_are_there_when_the_script_has_ended(run, client):
    run("for i in range(100): d.record_row(i, [['x', i, 0]])")
    assert count(client) == 100
    client.delete("/v1/datasets/d")
    run("for i in range(100): d.record_row(i, [['x', i, 0]])\n1 / 0", 400)
    assert count(client) == 100


def test_threads_record_side_by_side(run):
    source = """
import threading
def record(k):
    for i in range(200): d.record_row(f'{k}.{i}', [['x', i, 0]])
threads = [threading.Thread(target=record, args=(k,)) for k in range(5)]
for thread in threads: thread.start()
for thread in threads: thread.join()
d.commit()
request.set_return(mldb.query('SELECT count(*) FROM d')[1][1])
"""
    assert run(source)["result"] == 1000


@pytest.mark.parametrize(
    ("then", "text"),
    [
        ("d.commit()", "dataset entry 'd'"),
        ("d.record_row('r', [['x', 2, 0]])\nd.commit()", "dataset entry 'd'"),
        ("", ""),
    ],
)
def test_a_dataset_that_is_gone_is_told(run, then, text):
    source = f"mldb.delete('/v1/datasets/d')\nd.record_row('r', [['x', 1, 0]])\n{then}"
    exception = run(source, 400)["exception"]
    assert (exception["type"], text in exception["message"]) == ("RuntimeError", True)


@pytest.mark.parametrize(
    ("row", "text"),
    [("'r', [['x', 1, 'soon']]", "soon"), ("'a\\0b', [['x', 1, 0]]", "NUL"), ("[], [['x', 1, 0]]", "empty row names")],
)
def test_what_the_server_refuses_is_raised_where_it_is_recorded(run, row, text):
    exception = run(f"d.record_row({row})\nd.commit()", 400)["exception"]
    assert exception["lineNumber"] == 3
    assert text in exception["message"]


def test_children_cannot_record(run):
    source = """
import os
d.record_row('r', [['x', 1, 0]])
child = os.fork()
if child == 0:
    try:
        d.record_row('s', [['x', 1, 0]])
    except RuntimeError:
        os._exit(7)
    os._exit(0)
request.set_return([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), mldb.query('SELECT count(*) FROM d')[1][1]])
"""
    assert run(source)["result"] == [7, 1]
