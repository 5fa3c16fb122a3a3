"""Trainings tell how far they are while they work, not only that they begin and end."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from server.learning import fit_progress, svd, training_job, tsne
from server.learning.config import resolve
from server.learning.examples import Examples
from server.learning.fit_progress import lines_told, watched
from server.learning.learners import train
from server.learning.matrix import Sparse
from server.learning.probability import calibrate
from tests.learning.tables import examples, rings

LEARNERS = {
    "one linear model": {"type": "glz", "regularization_factor": 1e-9},
    "naive Bayes": {"type": "naive_bayes"},
    "one tree": {"type": "decision_tree"},
    "a neural network": {"type": "perceptron", "arch": "4", "max_iter": 60, "batch_size": 5},
    "boosting": {"type": "boosting", "max_iter": 5, "weak_learner": {"type": "decision_tree", "max_depth": 1}},
    "fastText": {"type": "fasttext", "dims": 3, "epoch": 30},
}


def inside(told):
    """The different values between begin and end, which must rise."""
    assert told == sorted(told)
    return {share for share in told if 0 < share < 1}


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_tells_how_far_it_is(name, monkeypatch):
    monkeypatch.setattr(fit_progress, "_SECONDS", 0.002)
    matrix, label = rings(300)
    told = []
    data = examples(np.concatenate([matrix, abs(matrix)], axis=1), label, 2)
    train(resolve(LEARNERS[name]), data, np.random.default_rng(0), told.append)
    assert len(inside(told)) > 1


def test_a_linear_model_of_many_columns_tells_its_rounds():
    rng = np.random.default_rng(1)
    columns = np.sort(rng.integers(0, 5000, (200, 20)), axis=1).astype(np.int32).ravel()
    matrix = Sparse(np.arange(201) * 20, columns, np.ones(4000, np.float32), 5000)
    narrow = examples(np.zeros((200, 5000)), np.arange(200) % 2, 2)
    told = []
    data = Examples(narrow.space, matrix, narrow.labels, 2, narrow.weights)
    train(resolve({"type": "glz"}), data, np.random.default_rng(0), told.append)
    assert len(inside(told)) > 2


def test_a_calibration_tells_its_rounds():
    told = []
    scores = np.linspace(-1, 1, 100)
    calibrate(scores, scores + np.sin(scores * 50) > 0, np.ones(100), "logit", told.append)
    assert len(inside(told)) > 1


def test_a_decomposition_by_subspace_tells_its_rounds(monkeypatch):
    monkeypatch.setattr(svd, "_MAX_DENSE", 10)
    data = examples(np.random.default_rng(2).normal(size=(100, 40)), np.zeros(100), 1)
    told = []
    svd.decompose(data.space, data.matrix, 5, told.append)
    assert len(inside(told)) > 4


def test_few_points_are_placed_with_progress(capsys):
    points = np.random.default_rng(3).normal(size=(60, 5)).astype(np.float32)
    told = []
    tsne.tsne(points, 3, perplexity=5, learning_rate=50, patience=300, max_rounds=400, tick=told.append)
    assert len(inside(told)) > 3
    assert capsys.readouterr().out == ""


def test_what_is_told_too_often_is_left_out_unless_it_takes_long(monkeypatch):
    monkeypatch.setattr(training_job, "_SECONDS", 0.05)
    told = []
    tick = training_job.throttled("working", lambda step, type_, value: told.append((step, type_, value)))
    for share in (0.001, 0.002, 0.02, 0.021):
        tick(share)
    time.sleep(0.06)
    for share in (0.022, 0.022, 0.01, 1.0, 1.0):
        tick(share)
    assert told == [("working", "percentile", share) for share in (0.0, 0.02, 0.022, 1.0)]


def test_lines_are_heard_whole_and_output_comes_back():
    heard = []
    before = sys.stdout
    with lines_told(heard.append):
        sys.stdout.write("one")
        sys.stdout.write(" and\ntwo\nthree")
    assert heard == ["one and", "two"]
    assert sys.stdout is before


def test_watching_ends_with_the_block(monkeypatch):
    monkeypatch.setattr(fit_progress, "_SECONDS", 0.001)
    looks = []
    with watched(lambda: looks.append(1)):
        time.sleep(0.05)
    seen = len(looks)
    time.sleep(0.02)
    assert len(looks) == seen > 0
