"""The three versions of `flight-delay`: how each is trained, and how it becomes an ONNX file.

All three take the same inputs, each of shape [batch, 1], and answer `probability` (FP32, [batch]) that the flight
comes more than 15 minutes late, and `label` (INT64, [batch]): 1 where the probability reaches the version's threshold.
The threshold flags as many training flights as truly came late: cut at one half, hardly any flight would be flagged.
Development only: needs scikit-learn and skl2onnx.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import onnx
import pandas as pd
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from gateway.demo.flights import NUMBER_INPUTS, STRING_INPUTS

SEED: Final = 2013
TREES: Final = 80
OPSET: Final = 18


@dataclass(frozen=True, slots=True)
class Trained:
    """One trained version: its pipeline, and the probability from which it says 1."""

    version: str
    description: str
    pipeline: Pipeline
    threshold: float

    def probabilities(self, flights: pd.DataFrame) -> pd.Series:
        """What scikit-learn answers, to hold the ONNX file against."""
        chances = self.pipeline.predict_proba(flights[_inputs(self.pipeline)])[:, 1]
        return pd.Series(chances, index=flights.index)


def train_all(flights: pd.DataFrame, trees: int = TREES) -> tuple[Trained, ...]:
    """Train the versions on `flights`, in the order of their names."""
    numbers, codes = list(NUMBER_INPUTS), list(STRING_INPUTS)
    return (
        _train("1", "logistic regression on all inputs", _logistic(numbers, codes), flights),
        _train("2", "gradient-boosted trees on all inputs", _boosted(numbers, codes, trees), flights),
        _train(
            "3",
            "logistic regression on carrier and day of the week alone",
            _logistic(["day_of_week"], ["carrier"]),
            flights,
        ),
    )


def to_model(trained: Trained) -> onnx.ModelProto:
    """The version as an ONNX model with the inputs and outputs above, whatever columns it learnt from."""
    classifier = trained.pipeline["model"]
    if isinstance(classifier, LogisticRegression):
        model = _converted(trained.pipeline["columns"], _inputs(trained.pipeline))
        _add_logistic(model.graph, classifier)
    else:
        model = _converted(trained.pipeline, _inputs(trained.pipeline))
        _add_late_class(model.graph)
    _add_label(model.graph, trained.threshold)
    _declare(model.graph)
    model.producer_name, model.producer_version = "tiltyard demo", ""
    model.doc_string = f"flight-delay {trained.version}: {trained.description}"
    helper.set_model_props(model, {"threshold": f"{trained.threshold:.6f}"})
    onnx.checker.check_model(model, full_check=True)
    return model


def _train(version: str, description: str, pipeline: Pipeline, flights: pd.DataFrame) -> Trained:
    late = flights["late"].astype("int64")
    pipeline.fit(flights[_inputs(pipeline)], late)
    trained = Trained(version, description, pipeline, threshold=1.0)
    threshold = trained.probabilities(flights).quantile(1 - late.mean())
    return Trained(version, description, pipeline, float(threshold))


def _logistic(numbers: list[str], codes: list[str]) -> Pipeline:
    columns = [
        ("numbers", StandardScaler(), numbers),
        ("codes", OneHotEncoder(handle_unknown="ignore"), codes),
    ]
    return Pipeline([("columns", ColumnTransformer(columns)), ("model", LogisticRegression(max_iter=1000))])


def _boosted(numbers: list[str], codes: list[str], trees: int) -> Pipeline:
    columns = [
        ("numbers", "passthrough", numbers),
        ("codes", OneHotEncoder(handle_unknown="ignore", sparse_output=False), codes),
    ]
    model = GradientBoostingClassifier(n_estimators=trees, max_depth=4, random_state=SEED)
    return Pipeline([("columns", ColumnTransformer(columns)), ("model", model)])


def _inputs(pipeline: Pipeline) -> list[str]:
    """Names of the columns the pipeline takes, in its order."""
    return [name for _, _, names in pipeline["columns"].transformers for name in names]


def _input_type(name: str) -> FloatTensorType | StringTensorType:
    kind = FloatTensorType if name in NUMBER_INPUTS else StringTensorType
    return kind([None, 1])


def _converted(step: Pipeline | ColumnTransformer, used: list[str]) -> onnx.ModelProto:
    inputs = [name for name in (*NUMBER_INPUTS, *STRING_INPUTS) if name in used]
    model: onnx.ModelProto = to_onnx(
        step,
        name="flight-delay",
        initial_types=[(name, _input_type(name)) for name in inputs],
        options={id(step): {"zipmap": False}} if isinstance(step, Pipeline) else None,
        target_opset={"": OPSET},
    )
    return model


def _add_logistic(graph: onnx.GraphProto, classifier: LogisticRegression) -> None:
    """`probability` from the columns, in double precision.

    In single precision the runtime's answer to one row depends, in the last bit, on how many rows came with it: the
    model server joins rows of many requests, and a client's answer must not depend on its neighbours.
    """
    weights = classifier.coef_[0].tolist()
    double, single = TensorProto.DOUBLE, TensorProto.FLOAT
    graph.node.extend(
        [
            helper.make_node("Cast", [graph.output[0].name], ["columns"], to=double),
            helper.make_node("Mul", ["columns", "weights"], ["terms"]),
            helper.make_node("ReduceSum", ["terms", "column_axis"], ["weighted"], keepdims=0),
            helper.make_node("Add", ["weighted", "intercept"], ["log_odds"]),
            helper.make_node("Sigmoid", ["log_odds"], ["exact_probability"]),
            helper.make_node("Cast", ["exact_probability"], ["probability"], to=single),
        ]
    )
    graph.initializer.extend(
        [
            helper.make_tensor("weights", double, [1, len(weights)], weights),
            helper.make_tensor("column_axis", TensorProto.INT64, [1], [1]),
            helper.make_tensor("intercept", double, [1], classifier.intercept_.tolist()),
        ]
    )


def _add_late_class(graph: onnx.GraphProto) -> None:
    """`probability` from the converter's two columns. Its own label is cut at one half, and is left unused."""
    its_label, both_classes = (output.name for output in graph.output)
    for node in graph.node:
        node.output[:] = ["more_likely_class" if name == its_label else name for name in node.output]
    graph.node.append(helper.make_node("Gather", [both_classes, "late_class"], ["probability"], axis=1))
    graph.initializer.append(helper.make_tensor("late_class", TensorProto.INT64, [], [1]))


def _add_label(graph: onnx.GraphProto, threshold: float) -> None:
    graph.node.extend(
        [
            helper.make_node("GreaterOrEqual", ["probability", "threshold"], ["is_late"]),
            helper.make_node("Cast", ["is_late"], ["label"], to=TensorProto.INT64),
        ]
    )
    graph.initializer.append(helper.make_tensor("threshold", TensorProto.FLOAT, [], [threshold]))


def _declare(graph: onnx.GraphProto) -> None:
    """The same inputs and outputs for every version, also where a version does not look at an input."""
    del graph.input[:], graph.output[:]
    graph.input.extend(_value(name, TensorProto.FLOAT, 1) for name in NUMBER_INPUTS)
    graph.input.extend(_value(name, TensorProto.STRING, 1) for name in STRING_INPUTS)
    graph.output.append(_value("label", TensorProto.INT64))
    graph.output.append(_value("probability", TensorProto.FLOAT))


def _value(name: str, kind: int, *more: int) -> onnx.ValueInfoProto:
    # A named first dimension is a free one: requests of any number of rows, and the server may join them.
    return helper.make_tensor_value_info(name, kind, ["batch", *more])
