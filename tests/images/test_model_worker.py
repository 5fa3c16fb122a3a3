"""The model worker as a process: batches, hostile rows, death, hanging, memory."""

import io
import os
import signal
import socket
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from PIL import Image

from runtime.models import frames
from server import tasks
from server.entities.progress import TaskProgress
from server.errors import Cancelled, MldbError, Unavailable
from server.learning.model_worker import Model, ModelWorker, Node
from tests.images.conftest import PICTURE_INPUT, picture
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.timeout(180)  # the first use of a fixture starts TensorFlow, on a busy machine


def inception(graphs, *outputs):
    return Model(graphs / "inception.pb", (PICTURE_INPUT,), outputs or ("pool_3",))


def run_one(models, model, content):
    return models.run(model, {PICTURE_INPUT: [content]}, 1)[model.outputs[0]][0]


def empty_png(width, height):
    """A valid header for any size, and almost no pixels."""

    def chunk(tag, data):
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def animation(frames, size):
    images = [Image.new("P", (size, size), index) for index in range(frames)]
    for index, image in enumerate(images):
        image.putpixel((index, index), 255 - index)
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:])
    return buffer.getvalue()


def test_describe(models, graphs):
    inputs, outputs = models.describe(graphs / "inception.pb", [PICTURE_INPUT], ["pool_3", "softmax"])
    assert inputs == {PICTURE_INPUT: Node("string", ())}
    assert outputs == {"pool_3": Node("float32", (1, 1, 1, 12)), "softmax": Node("float32", (1, 5))}


def test_star_is_what_no_node_reads(models, graphs):
    _, outputs = models.describe(graphs / "inception.pb", [PICTURE_INPUT], None)
    assert list(outputs) == ["softmax"]


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "devices", "message"),
    [
        ("dense", ["nope"], ["y"], "", "the graph has no node 'nope'"),
        ("dense", ["x"], ["nope"], "", "the graph has no node 'nope'"),
        ("dense", ["x"], ["y"], "GPU", "no device matches 'GPU'"),
        ("complex", ["x"], ["missing/node"], "", "the graph has no node 'missing/node'"),
    ],
)
def test_describe_refuses(models, graphs, name, inputs, outputs, devices, message):
    with pytest.raises(MldbError, match=message) as caught:
        models.describe(graphs / f"{name}.pb", inputs, outputs, devices)
    assert caught.value.code == 400
    assert caught.value.message.startswith("Unable to run model: ")


@pytest.mark.parametrize("content", [b"", b"not a graph at all", b"\x0a\xff\xff\xff\xff\x0f"])
def test_a_file_that_is_no_graph(models, tmp_path, content):
    file = tmp_path / "model.pb"
    file.write_bytes(content)
    with pytest.raises(MldbError, match="not a frozen TensorFlow graph"):
        models.describe(file, ["x"], ["y"])


def test_batches_give_what_single_rows_give(models, graphs):
    model = inception(graphs, "pool_3", "softmax")
    pictures = [picture(seed, (20 + seed, 60 - seed % 30)) for seed in range(75)]
    batch = models.run(model, {PICTURE_INPUT: pictures}, len(pictures))
    assert {values[0].shape for values in batch.values()} == {(1, 1, 1, 12), (1, 5)}
    for seed in (0, 31, 32, 74):
        single = models.run(model, {PICTURE_INPUT: [pictures[seed]]}, 1)
        for name, values in single.items():
            np.testing.assert_allclose(batch[name][seed], values[0], rtol=0.05, atol=0.02)
    assert not np.allclose(batch["pool_3"][0], batch["pool_3"][1])
    assert batch["softmax"][0].sum() == pytest.approx(1, abs=1e-3)


def test_png_and_gif_are_pictures_too(models, graphs):
    reference = run_one(models, inception(graphs), picture(3, form="PNG"))
    for form in ("JPEG", "GIF"):
        other = run_one(models, inception(graphs), picture(3, form=form))
        assert np.abs(other - reference).max() < 0.2 * np.abs(reference).max()


def test_a_graph_that_mixes_its_rows_is_run_row_by_row(models, graphs):
    model = Model(graphs / "mixing.pb", (PICTURE_INPUT,), ("features",))
    for _ in range(2):
        values = models.run(model, {PICTURE_INPUT: [picture(seed) for seed in range(6)]}, 6)["features"]
        assert all(np.abs(value).max() < 1e-6 for value in values)


@pytest.mark.parametrize("rows", [np.arange(12.0).reshape(4, 3), list(np.arange(12).reshape(4, 1, 3))])
def test_number_graphs_take_rows_with_and_without_the_batch_dimension(models, graphs, rows):
    outputs = models.run(Model(graphs / "dense.pb", ("x",), ("y", "total")), {"x": rows}, 4)
    assert [value.tolist() for value in outputs["y"]][1] == [[6.0, 8.0, 10.0]]
    assert [value.tolist() for value in outputs["total"]] == [[6.0], [24.0], [42.0], [60.0]]


def test_graphs_for_single_rows(models, graphs):
    vector = models.run(Model(graphs / "vector.pb", ("x",), ("y",)), {"x": np.zeros((70, 3))}, 70)["y"]
    assert len(vector) == 70
    assert vector[69].tolist() == [1.0, 1.0, 1.0]
    text = models.run(Model(graphs / "text.pb", ("text",), ("upper", "length")), {"text": [b"a", b"bcd"]}, 2)
    assert [value.item() for value in text["upper"]] == [b"A", b"BCD"]
    assert [value.item() for value in text["length"]] == [1, 3]


def test_a_tensor_without_a_kind_in_rows(models, graphs):
    with pytest.raises(MldbError, match="Can't return tensor of this type from TensorFlow"):
        models.run(Model(graphs / "complex.pb", ("x",), ("z",)), {"x": np.ones(1)}, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a picture"),
        (b"GIF89a", "picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (picture(1)[:100], "picture"),
        (picture(1)[:-300], "."),
        (picture(1, form="PNG")[:200], "."),
        (picture(1, form="WEBP"), "."),
        (empty_png(50_000, 50_000), "50000 x 50000 pixels exceeds the limit of 4000000 pixels"),
        (empty_png(2_000, 2_001), "exceeds the limit"),
        (empty_png(2_000, 2_000), "."),
        (empty_png(2**31 - 1, 2**31 - 1), "."),
        (animation(20, 500), "20 frames of 500 x 500 pixels exceeds"),
        (animation(3, 20), "."),
        (None, "is null"),
        (np.zeros(3), "must be a blob or a string"),
    ],
)
def test_hostile_pictures_are_errors_and_the_worker_survives(models, graphs, content, message):
    before = run_one(models, inception(graphs), picture(1))
    pid = models.pid
    with pytest.raises(MldbError, match=message) as caught:
        run_one(models, inception(graphs), content)
    assert caught.value.code == 400
    assert caught.value.message.startswith("Unable to run model: ")
    assert "\n" not in caught.value.message
    assert "{{" not in caught.value.message
    assert models.pid == pid
    np.testing.assert_array_equal(run_one(models, inception(graphs), picture(1)), before)


def test_concurrent_calls_share_runs_and_only_the_guilty_fails(models, graphs):
    model = inception(graphs)
    expected = [run_one(models, model, picture(seed)) for seed in range(8)]

    def call(number):
        if number % 9 == 8:
            with pytest.raises(MldbError, match="not a picture"):
                run_one(models, model, b"broken")
            return
        np.testing.assert_allclose(run_one(models, model, picture(number % 9)), expected[number % 9], atol=0.05)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(call, range(90)))


def test_an_end_is_an_end_also_with_frames_unread():
    here, there = socket.socketpair()
    with here:
        frames.send(here, {"id": 1})
        there.close()
        assert frames.receive(here) is None


def test_a_killed_worker_is_an_error_for_its_callers_and_is_replaced(models, graphs):
    model = inception(graphs)
    run_one(models, model, picture(0))
    pid = models.pid
    failures = []

    given, calls, rounds = {PICTURE_INPUT: [picture(0)] * 32}, [], []

    def flood():
        try:
            while True:
                calls.append(None)
                rounds.append(models.run(model, given, 32))
        except Unavailable as error:
            failures.append(error)

    thread = threading.Thread(target=flood)
    thread.start()
    until(lambda: rounds)
    os.kill(pid, signal.SIGSTOP)
    until(lambda: len(calls) > len(rounds))
    time.sleep(0.3)  # whatever the thread was doing, a call is under way now
    os.kill(pid, signal.SIGKILL)
    thread.join(PATIENCE)
    (failure,) = failures
    assert failure.code == 503
    assert failure.message.startswith("the model worker died: SIGKILL; another one answers the next request")
    assert run_one(models, model, picture(0)).shape == (1, 1, 1, 12)
    assert models.pid not in (None, pid)


def test_a_worker_that_does_not_answer_is_replaced(graphs):
    worker = ModelWorker(timeout=0.2)
    try:
        with pytest.raises(Unavailable, match=r"did not answer within 0\.2 seconds") as caught:
            worker.describe(graphs / "dense.pb", ["x"], ["y"])
        assert caught.value.code == 504
        assert worker.pid is None
    finally:
        worker.close()


def test_memory_is_limited(graphs):
    """The pixel limit lifted, a picture that needs gigabytes meets the memory limit: an error, or a death and 503."""
    worker = ModelWorker(memory=1200, pixels=10**12)
    try:
        assert run_one(worker, inception(graphs), picture(1)).shape == (1, 1, 1, 12)
        huge = io.BytesIO()
        Image.new("L", (20_000, 20_000)).save(huge, "PNG")
        with pytest.raises(MldbError):
            run_one(worker, inception(graphs), huge.getvalue())
    finally:
        worker.close()


def test_a_host_that_is_gone_takes_the_worker_with_it_and_the_log_hears_of_it(graphs):
    lines = []
    worker = ModelWorker(log=lines.append)
    worker.warm(Model(graphs / "dense.pb", ("x",), ("y",)))
    process = psutil.Process(worker.pid)
    worker._process._connection.shutdown(socket.SHUT_RDWR)
    process.wait(PATIENCE)
    until(lambda: any(line.startswith("the model worker") for line in lines))
    assert not any("oneDNN" in line or "absl::InitializeLog" in line for line in lines)
    worker.close()


def test_a_cancelled_task_waits_no_longer_and_the_worker_goes_on(models, graphs):
    model = inception(graphs)
    run_one(models, model, picture(0))
    pid, progress, outcome = models.pid, TaskProgress(), []

    def ask():
        with tasks.acting_for(progress), pytest.raises(Cancelled):
            run_one(models, model, picture(1))
        outcome.append("cancelled")

    os.kill(pid, signal.SIGSTOP)
    try:
        thread = threading.Thread(target=ask)
        thread.start()
        until(lambda: models._process._pending)
        progress.cancel()
        thread.join(PATIENCE)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert outcome == ["cancelled"]
    assert run_one(models, model, picture(1)).shape == (1, 1, 1, 12)
    assert models.pid == pid
