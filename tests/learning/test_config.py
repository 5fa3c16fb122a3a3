"""The configuration language: paths, redirects, defaults, mistakes."""

from __future__ import annotations

import pytest

from server.errors import MldbError
from server.learning.config import builtin_configurations, resolve
from server.learning.configurations import Bagging, Boosting, DecisionTree, Glz


def test_the_whole_configuration_may_be_the_learner():
    found = resolve({"type": "decision_tree", "max_depth": "8", "update_alg": "PROB", "verbosity": 3})
    assert isinstance(found, DecisionTree)
    assert (found.max_depth, found.update_alg) == (8, "prob")


def test_dotted_paths_and_names_that_lead_on():
    configuration = {"mine": "deep.inner", "deep": {"inner": {"type": "glz", "normalize": "false", "_note": "x"}}}
    for path in ("mine", "deep.inner"):
        found = resolve(configuration, path)
        assert isinstance(found, Glz)
        assert found.normalize is False


def test_weak_learners_nest():
    found = resolve(builtin_configurations(), "bbdt")
    assert isinstance(found, Bagging)
    assert isinstance(found.weak_learner, Boosting)
    assert found.weak_learner.weak_learner.random_feature_propn == 0.5


@pytest.mark.parametrize(
    ("configuration", "algorithm", "text"),
    [
        ({"a": {"type": "glz", "FOO": 1}}, "a", r"Unknown key\(s\) encountered in config: a.FOO"),
        (
            {"a": {"type": "bagging", "weak_learner": {"type": "glz", "bar": 1}}},
            "a",
            r"Unknown key\(s\) encountered in config: a.weak_learner.bar",
        ),
        ({"a": {"max_depth": 1}}, "a", 'Object with name "a" has no type in configuration file'),
        ({"a": {"type": "glz"}}, "b", 'Object with name "b" has no type in configuration file'),
        ({"a": {"type": "bagging"}}, "a", 'Object with name "a.weak_learner" has no type'),
        ({"a": "b", "b": "a"}, "a", "lead in circles"),
        ({"type": "gls"}, "", "Unknown classifier type 'gls'; did you mean 'glz'"),
        ({"type": "decision_tree", "max_depth": "deep"}, "", "Invalid value for 'max_depth'"),
        ({"type": "glz", "link_function": "cauchit"}, "", "Invalid value for 'link_function'"),
        ({"type": "boosted_stumps", "output_function": "logit"}, "", "only 'raw' is supported"),
        ({"type": "stump", "ignore_highest": 0.1}, "", "'ignore_highest'.* only 0 is supported"),
    ],
)
def test_mistakes_are_named(configuration, algorithm, text):
    with pytest.raises(MldbError, match=text):
        resolve(configuration, algorithm)


def test_fifteen_configurations_come_with_the_server():
    for name in builtin_configurations():
        assert resolve(builtin_configurations(), name).type
    assert len(builtin_configurations()) == 15
