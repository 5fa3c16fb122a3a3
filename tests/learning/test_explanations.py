"""Explanations add up to the score, whatever the classifier that offers them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.learning.classifier import train_classifier
from server.learning.classifier_files import read_classifier
from server.learning.config import resolve
from server.learning.examples import Examples, normalized
from server.learning.learners import train
from server.learning.training_set import TrainingSet
from tests.effort import cases
from tests.learning.cls_writer import cls_file, committee, info, leaf, linear, node, tree
from tests.learning.models import TRAININGS, make_datasets
from tests.learning.tables import space

TREE = {"type": "decision_tree", "max_depth": 3, "update_alg": "gentle"}
CONFIGURATIONS = {
    "tree": TREE,
    "stump": {"type": "stump", "committee_size": 2},
    "boosted_stumps": {"type": "boosted_stumps", "min_iter": 3, "max_iter": 5},
    "boosting": {"type": "boosting", "min_iter": 3, "max_iter": 4, "weak_learner": TREE},
    "bagging": {"type": "bagging", "num_bags": 3, "weak_learner": TREE},
    "bagged_boosting": {
        "type": "bagging",
        "num_bags": 2,
        "weak_learner": {"type": "boosting", "min_iter": 2, "max_iter": 3, "weak_learner": TREE},
    },
    "glz_linear": {"type": "glz", "link_function": "linear"},
    "bagged_glz": {"type": "bagging", "num_bags": 2, "weak_learner": {"type": "glz", "link_function": "linear"}},
    "null": {"type": "null"},
    "naive_bayes": {"type": "naive_bayes"},
    "bagged_naive_bayes": {"type": "bagging", "num_bags": 2, "weak_learner": {"type": "naive_bayes"}},
    "forest": {
        "type": "bagging",
        "num_bags": 4,
        "validation_split": 0.7,
        "weak_learner": {"type": "decision_tree", "max_depth": 20, "random_feature_propn": 0.4},
    },
}
CONFIGURATIONS |= {
    f"glz_{link}": {"type": "glz", "link_function": link} for link in ("logit", "probit", "comp_log_log", "log")
}
CONFIGURATIONS |= {
    f"boosted_{link}": {"type": "boosting", "min_iter": 2, "max_iter": 3, "weak_learner": CONFIGURATIONS[f"glz_{link}"]}
    for link in ("logit", "probit")
}
CONFIGURATIONS |= {
    f"perceptron_{activation}": {"type": "perceptron", "arch": "4_3", "max_iter": 5, "activation": activation}
    for activation in ("logsig", "tanh", "tanhs", "identity", "softmax", "nonstandard")
}
CONFIGURATIONS["bagged_perceptrons"] = {
    "type": "bagging", "num_bags": 2, "weak_learner": CONFIGURATIONS["perceptron_tanh"] | {"decorrelate": False},
}  # fmt: skip


@st.composite
def tables(draw) -> tuple[Examples, np.ndarray]:
    """Rows of two numbers and a category, some missing, with two or three labels; and rows to explain."""
    rows, count = draw(st.integers(12, 40)), draw(st.integers(2, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    missing = draw(st.sampled_from([0.0, 0.3]))
    matrix = rng.normal(size=(2 * rows, 3)).astype(np.float32)
    matrix[:, 2] = rng.integers(0, 3, 2 * rows)
    matrix[:, 1:][rng.random((2 * rows, 2)) < missing] = np.nan
    labels = np.concatenate([np.arange(count), rng.integers(0, count, rows - count)])
    features = space("x", "y", kind=("a", "b", "c"))
    return Examples(features, matrix[:rows], labels, count, normalized(rng.random(rows) + 0.1)), matrix[rows:]


@pytest.mark.parametrize("name", CONFIGURATIONS)
@given(table=tables())
@settings(max_examples=cases(15))
def test_bias_and_weights_add_up_to_the_score(name, table):
    examples, rows = table
    check_every_label(trained(name, examples), rows, examples.label_count)


def trained(name, examples):
    return train(resolve(CONFIGURATIONS[name]), examples, np.random.default_rng(1), lambda _: None)


def check_every_label(model, rows, count, explain="explain"):
    scores = model.scores(rows)
    for label in range(count):
        why = getattr(model, explain)(rows, label)
        total = why.bias.astype(np.float64) + why.weights.sum(axis=1, dtype=np.float64)
        # Single-precision numbers that cancel leave as much as the largest of them is rounded by.
        largest = np.maximum(1, np.abs(why.weights).max(axis=1, initial=0))
        finite = np.isfinite(scores[:, label])  # a log link may lead beyond what a number holds
        score = scores[finite, label]
        assert (np.abs(total[finite] - score) <= 1e-4 * np.maximum(largest[finite], np.abs(score))).all()
        assert not why.weights[~why.used].any()


@pytest.mark.parametrize("name", ["tree", "glz_linear", "perceptron_tanh", "boosting"])
@given(table=tables())
@settings(max_examples=cases(15))
def test_numbers_are_explained(name, table):
    examples, rows = table
    numbers = np.nan_to_num(examples.matrix[:, 1]) * 3 + np.nan_to_num(examples.matrix[:, 2])
    model = trained(name, replace(examples, labels=numbers.astype(np.float32), label_count=1))
    check_every_label(model, rows, 1)


@pytest.mark.parametrize("name", ["tree", "glz_logit", "naive_bayes", "perceptron_tanh", "boosting"])
@given(table=tables())
@settings(max_examples=cases(10))
def test_calibrated_one_vs_all(name, table):
    """By default the label's own model, as MLDB does; on request the probability that is made of it."""
    examples, rows = table
    targets = np.stack([examples.labels == label for label in range(examples.label_count)], axis=1)
    labels = tuple(map(str, range(examples.label_count)))
    data = TrainingSet("multilabel", examples.space, examples.matrix, targets, labels, np.ones(len(examples)))
    model = train_classifier(data, resolve(CONFIGURATIONS[name])).model
    check_every_label(model, rows, examples.label_count, "explain_score")
    for label, member in enumerate(model.members):
        why = model.explain(rows, label)
        np.testing.assert_allclose(why.bias + why.weights.sum(axis=1), member.scores(rows)[:, 1], rtol=1e-4, atol=1e-4)


@given(table=tables(), values=st.lists(st.integers(0, 3), min_size=80, max_size=80))
@settings(max_examples=cases(15))
def test_fasttext(table, values):
    examples, _ = table
    counts = np.resize(np.array(values, np.float32), (len(examples), 3))
    counts[counts == 0] = np.nan
    words = replace(examples, space=space("x", "y", "z"), matrix=counts)
    model = train(resolve({"type": "fasttext", "dims": 5, "epoch": 2}), words, np.random.default_rng(1), lambda _: None)
    check_every_label(model, counts, examples.label_count, "explain_score")


def test_files_of_mldb():
    """Trees and a linear model with a link, in a committee."""
    numbers = {"x": info(4), "color": info(3, ["blue", "red"])}
    first = tree(node("x", 0, 2.0, leaf([1, 0]), leaf([0, 1]), leaf([5, 5])))
    second = linear([[1, 2, 3, 4], [0.5, 0, 0, 1]], [("x", 0, None), ("x", 2, None), ("color", 3, "red")], link=0)
    model = read_classifier(
        cls_file(numbers, ['"no"', '"yes"'], committee([0.5, -0.5], [1, 2], [first, second])), limit=2**20
    ).model
    rows = np.array([(1, 1), (2, 0), (np.nan, np.nan), (1, np.nan), (-3, -1)], np.float32)
    check_every_label(model, rows, 2)


@pytest.mark.parametrize("name", ["naive_bayes", "perceptron_tanh", "glz_logit", "forest", "boosted_stumps"])
def test_what_decides_is_found(name):
    """Of three features one tells the label: its weights are the largest, and point to the label."""
    rng = np.random.default_rng(5)
    matrix = rng.normal(size=(600, 3)).astype(np.float32)
    labels = (matrix[:, 1] > 0).astype(np.int64)
    examples = Examples(space("a", "b", "c"), matrix, labels, 2, normalized(np.ones(600)))
    more = {"perceptron_tanh": {"max_iter": 200}, "forest": {"num_bags": 40}}
    configuration = CONFIGURATIONS[name] | more.get(name, {})
    model = train(resolve(configuration), examples, np.random.default_rng(1), lambda _: None)
    weights = model.explain(matrix, 1).weights
    importance = np.abs(weights).mean(axis=0)
    assert importance.argmax() == 1
    assert weights[labels == 1, 1].mean() > 0 > weights[labels == 0, 1].mean()


CLASSIFIERS = [
    name for name, one in TRAININGS.items() if one.procedure in ("classifier.train", "randomforest.binary.train")
]


# A label of those that have several, and the column of its score.
LABELS = {"fasttext": ("'a'", 'scores."""a"""'), "multilabel": ("'tokens.good'", 'scores."""tokens.good"""')}


@pytest.fixture(scope="module")
def datasets(client):
    make_datasets(client)
    return client


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tree", "score"),
        ("fasttext", "how near the words are to the label; set ofScore for the score"),
        ("multilabel", "the score before it is a probability; set ofScore for the score"),
    ],
)
def test_a_function_says_what_its_explanations_add_up_to(datasets, server, name, expected):
    url = f"file://{server.data_dir.resolve()}/{name}.cls"
    datasets.put(f"/v1/procedures/train_{name}", json=TRAININGS[name].config(name, url)).raise_for_status()
    config = {"type": "classifier.explain", "params": {"modelFileUrl": url}}
    assert datasets.put("/v1/functions/why", json=config).json()["status"]["addsUpTo"] == expected


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_functions_explain_their_scores(datasets, server, name):
    """Over REST and in SQL, row by row and summed up over a dataset."""
    url = f"file://{server.data_dir.resolve()}/{name}.cls"
    datasets.put(f"/v1/procedures/train_{name}", json=TRAININGS[name].config(name, url)).raise_for_status()
    config = {"type": "classifier.explain", "params": {"modelFileUrl": url, "ofScore": True}}
    datasets.put("/v1/functions/why", json=config).raise_for_status()
    assert datasets.get("/v1/functions/why").json()["status"]["addsUpTo"] == "score"
    label, score = LABELS.get(name, ("1", "score"))
    features = "{tokens.*}" if name == "fasttext" else "{x, y}"
    query = (
        f"SELECT {name}({{features: {features}}})[{score}] AS score, "
        f"why({{features: {features}, label: {label}}}) AS * FROM pairs"
    )
    rows = datasets.query(query, "aos")
    assert len(rows) == 40
    for row in rows:
        parts = [value or 0 for column, value in row.items() if column.startswith("explanation.")]
        assert row["bias"] + sum(parts) == pytest.approx(row["score"], rel=1e-4, abs=1e-4)
    total = f"SELECT sum(why({{features: {features}, label: {label}}})[explanation]) AS * FROM pairs"
    assert name == "constant" or any(datasets.query(total)[1][1:])
    input_ = {"features": {"x": 1, "y": 2, "tokens": {"good": 1}}, "label": label.strip("'")}
    output = datasets.get_json("/v1/functions/why/application", {"input": input_}).json()["output"]
    assert isinstance(output["bias"], int | float)
