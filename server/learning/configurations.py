"""The configuration of each type of classifier: parameters, defaults, meaning (entity-types.md §6.3)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

UpdateAlgorithm = Literal["prob", "normal", "gentle"]
Link = Literal["logit", "probit", "comp_log_log", "linear", "log"]
Regularization = Literal["none", "l1", "l2"]
CostFunction = Literal["exponential", "logistic"]
Activation = Literal["logsig", "tanh", "tanhs", "identity", "softmax", "nonstandard"]


def in_lower_case(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _refuse_share(value: float) -> float:
    if value:
        raise ValueError("no features can be passed over: only 0 is supported")
    return value


def _refuse_zero(rate: float) -> float:
    if not rate:
        raise ValueError("without steps nothing is learnt: it cannot be 0")
    return rate


def _refuse_function(value: Any) -> Any:
    if value in ("logit", "logit_norm"):
        raise ValueError("scores cannot be transformed: only 'raw' is supported; a probabilizer makes probabilities")
    return value


NoShare = Annotated[float, AfterValidator(_refuse_share)]
Raw = Annotated[Literal["raw"], BeforeValidator(_refuse_function)]


class Learner(BaseModel):
    """What every type takes. Values may be texts (``"true"``, ``"1"``)."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    type: str
    verbosity: int = Field(default=2, description="accepted for compatibility; has no effect")
    profile: bool = Field(default=False, description="accepted for compatibility; has no effect")
    validate_: bool = Field(default=False, alias="validate", description="accepted for compatibility; has no effect")


class Null(Learner):
    """A constant output: the share of each label, or the mean."""


class DecisionTree(Learner):
    max_depth: int = Field(default=-1, description="levels of splits; -1 grows until the leaves are pure")
    update_alg: Annotated[UpdateAlgorithm, BeforeValidator(in_lower_case)] = Field(
        default="prob",
        description="what leaves hold: probabilities, or numbers for boosting (where LightGBM boosts, its own)",
    )
    random_feature_propn: float = Field(
        default=1.0, ge=0, le=1, description="share of the features that a tree may use"
    )
    trace: int = Field(default=0, description="accepted for compatibility; has no effect")


class Stump(Learner):
    committee_size: int = Field(default=1, ge=1, description="stumps to average")
    feature_prop: float = Field(default=1.0, ge=0, le=1, description="share of the features that a stump may use")
    update_alg: Annotated[UpdateAlgorithm, BeforeValidator(in_lower_case)] = Field(
        default="normal", description="what leaves hold"
    )
    ignore_highest: NoShare = Field(default=0.0, description="share of the best features to pass over: 0 only")
    trace: int = Field(default=0, description="accepted for compatibility; has no effect")


class _Boosted(Learner):
    min_iter: int = Field(default=10, ge=0, description="rounds to keep at least")
    max_iter: int = Field(default=500, ge=1, description="rounds to run at most")
    validate_split: float = Field(default=0.30, ge=0, lt=1, description="share of the rows that choose the best round")
    cost_function: Annotated[CostFunction, BeforeValidator(in_lower_case)] = Field(
        default="exponential",
        description="what is lowered; where LightGBM grows the trees (rows x features x max_iter above 10 million) "
        "always the logistic one",
    )
    short_circuit_window: int = Field(default=0, ge=0, description="rounds without a gain after which to stop; 0 never")
    trace_training_acc: bool = Field(default=False, description="accepted for compatibility; has no effect")


class BoostedStumps(_Boosted):
    true_only: bool = Field(default=False, description="accepted for compatibility; has no effect")
    fair: bool = Field(default=False, description="accepted for compatibility; has no effect")
    output_function: Raw = Field(default="raw", description="applied to the sum of scores: raw only")
    update_alg: Annotated[UpdateAlgorithm, BeforeValidator(in_lower_case)] = Field(
        default="normal", description="what leaves hold"
    )
    committee_size: int = Field(default=1, ge=1, description="accepted for compatibility; has no effect")
    feature_prop: float = Field(default=1.0, ge=0, le=1, description="share of the features that a stump may use")
    ignore_highest: NoShare = Field(default=0.0, description="share of the best features to pass over: 0 only")
    trace: int = Field(default=0, description="accepted for compatibility; has no effect")


class Boosting(_Boosted):
    weak_learner: Any = Field(default=None, description="configuration of the learner of each round")


class Bagging(Learner):
    num_bags: int = Field(default=10, ge=1, description="models to average")
    validation_split: float = Field(default=0.35, ge=0, lt=1, description="share of the rows left out of each bag")
    weak_learner: Any = Field(default=None, description="configuration of the learner of each bag")


class Glz(Learner):
    link_function: Annotated[Link, BeforeValidator(in_lower_case)] = Field(default="logit", description="link function")
    add_bias: bool = Field(default=True, description="fit an intercept")
    decode: bool = Field(default=True, description="scores are probabilities rather than linear predictors")
    normalize: bool = Field(default=True, description="scale columns to mean 0 and standard deviation 1 while fitting")
    condition: bool = Field(
        default=False, description="leave out columns that depend linearly on others; of more than 4096 columns none"
    )
    regularization: Annotated[Regularization, BeforeValidator(in_lower_case)] = Field(
        default="l2", description="penalty on weights"
    )
    regularization_factor: float = Field(
        default=1e-5, description="size of the penalty; negative chooses one (of more than 4096 columns: its amount)"
    )
    max_regularization_iteration: int = Field(
        default=1000, ge=1, description="rounds of the l1 solver, which up to 4096 columns take"
    )
    regularization_epsilon: float = Field(
        default=1e-4, ge=0, description="change at which the l1 solver stops, which up to 4096 columns take"
    )
    feature_proportion: float = Field(default=1.0, gt=0, le=1, description="share of the columns that are used")


class Perceptron(Learner):
    arch: str = Field(default="%i", description="sizes of the hidden layers, as in 50 or 10_5; %i inputs, %o outputs")
    activation: Activation = Field(default="tanh", description="of the hidden layers")
    output_activation: Activation = Field(
        default="tanh", description="accepted for compatibility: scores are probabilities, in regression the number"
    )
    min_iter: int = Field(default=10, ge=0, description="rounds to run at least")
    max_iter: int = Field(default=100, ge=1, description="rounds to run at most")
    learning_rate: Annotated[float, AfterValidator(_refuse_zero)] = Field(
        default=0.01, description="size of the first steps, whatever its sign"
    )
    batch_size: float = Field(default=1024, gt=0, description="rows of a step; below 1 a share of all")
    decorrelate: bool = Field(default=True, description="whiten the inputs")
    normalize: bool = Field(default=True, description="scale the inputs")
    target_value: float = Field(default=0.8, description="accepted for compatibility; has no effect")
    validate_split: float = Field(default=0.30, ge=0, lt=1, description="accepted for compatibility; has no effect")


class NaiveBayes(Learner):
    feature_prop: float = Field(default=1.0, ge=0, le=1, description="share of the features that are used")
    trace: int = Field(default=0, description="accepted for compatibility; has no effect")


class FastText(Learner):
    epoch: int = Field(default=5, ge=1, description="passes over the rows")
    dims: int = Field(default=100, ge=1, description="dimensions of the word vectors")


class OneVsAll(Learner):
    weak_learner: Any = Field(default=None, description="configuration of the model of each label")


TYPES: dict[str, type[Learner]] = {
    "null": Null,
    "decision_tree": DecisionTree,
    "stump": Stump,
    "boosted_stumps": BoostedStumps,
    "boosting": Boosting,
    "bagging": Bagging,
    "glz": Glz,
    "perceptron": Perceptron,
    "naive_bayes": NaiveBayes,
    "fasttext": FastText,
    "onevsall": OneVsAll,
}
