import itertools
import json
from functools import cache

import numpy as np
import onnxruntime
import pytest
from scipy.stats import rankdata

from gateway.demo.flights import DATA, NUMBER_INPUTS, STRING_INPUTS, read_flights

VERSIONS = ("1", "2", "3")
SAMPLE_HEADING = "### The sample the demo replays"


@cache
def session(version):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        (DATA / f"delay-{version}.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
    )


@cache
def labelled():
    return [one for one in read_flights() if one.late is not None]


@cache
def carriers():
    return np.array([one.carrier for one in labelled()])


@cache
def truth():
    return np.array([one.late for one in labelled()])


def tensors(flights):
    numbers = np.array([one.numbers for one in flights], np.float32)
    codes = np.array([(one.carrier, one.origin, one.destination) for one in flights], object)
    inputs = {name: numbers[:, [place]] for place, name in enumerate(NUMBER_INPUTS)}
    return inputs | {name: codes[:, [place]] for place, name in enumerate(STRING_INPUTS)}


def answer(version, inputs):
    return session(version).run(["label", "probability"], inputs)


@cache
def answers(version):
    return answer(version, tensors(labelled()))


def auc(late, probability):
    ranks = rankdata(probability)
    positives = late.sum()
    above = ranks[late].sum() - positives * (positives + 1) / 2
    return above / (positives * (len(late) - positives))


def documented_rows():
    """Rows of the tables of the sample in DATA.md, by their first cell."""
    _, _, section = (DATA / "DATA.md").read_text("utf-8").partition(SAMPLE_HEADING)
    lines = itertools.takewhile(lambda line: not line.startswith("<!--"), section.splitlines())
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_takes_the_same_inputs_with_a_free_first_dimension(version):
    inputs = {one.name: (one.type, one.shape) for one in session(version).get_inputs()}
    outputs = {one.name: (one.type, one.shape) for one in session(version).get_outputs()}

    assert inputs == {
        **{name: ("tensor(float)", ["batch", 1]) for name in NUMBER_INPUTS},
        **{name: ("tensor(string)", ["batch", 1]) for name in STRING_INPUTS},
    }
    assert outputs == {
        "label": ("tensor(int64)", ["batch"]),
        "probability": ("tensor(float)", ["batch"]),
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_a_model_file_is_small_enough_to_ship(version):
    assert (DATA / f"delay-{version}.onnx").stat().st_size < 150_000


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_answers_the_request_bodies_of_the_demo(version):
    for one in labelled()[::4001]:
        inputs = {}
        for tensor in json.loads(one.request_body())["inputs"]:
            kind = np.float32 if tensor["datatype"] == "FP32" else object
            inputs[tensor["name"]] = np.array(tensor["data"], kind).reshape(tensor["shape"])

        label, probability = answer(version, inputs)

        assert label.shape == probability.shape == (1,)
        assert 0 < probability[0] < 1


@pytest.mark.parametrize("version", VERSIONS)
def test_the_label_says_late_from_the_threshold_in_the_metadata_on(version):
    threshold = float(session(version).get_modelmeta().custom_metadata_map["threshold"])
    label, probability = answers(version)

    clear = abs(probability - threshold) > 1e-6
    assert np.array_equal(label[clear], (probability >= threshold)[clear])
    assert 0.15 < label.mean() < 0.3


@pytest.mark.parametrize("version", VERSIONS)
def test_an_answer_does_not_depend_on_the_rows_that_came_with_it(version):
    flights = labelled()[:960]
    _, together = answer(version, tensors(flights))

    for size in (1, 3, 7, 16):
        parts = [answer(version, tensors(flights[start : start + size]))[1] for start in range(0, len(flights), size)]
        assert np.array_equal(np.concatenate(parts), together), f"in batches of {size}"


@pytest.mark.parametrize("version", VERSIONS)
def test_codes_no_version_has_seen_are_answered_all_the_same(version):
    inputs = tensors(labelled()[:1])
    for name in STRING_INPUTS:
        inputs[name] = np.array([["Zürich"]], object)

    _, probability = answer(version, inputs)

    assert 0 < probability[0] < 1


@pytest.mark.parametrize(("place", "version"), list(enumerate(VERSIONS)))
def test_the_figures_of_a_version_are_the_documented_ones(place, version):
    label, probability = answers(version)
    area, _, right, flagged, agreement = map(float, documented_rows()[version])

    assert auc(truth(), probability) == pytest.approx(area, abs=6e-5)
    assert (label == truth()).mean() == pytest.approx(right, abs=6e-5)
    assert label.mean() == pytest.approx(flagged, abs=6e-5)
    assert (label == answers("1")[0]).mean() == pytest.approx(agreement, abs=6e-5)
    for carrier in ("UA", "DL", "AA", "US", "F9"):
        late = truth()[carriers() == carrier]
        row = documented_rows()[carrier]
        of_carrier = probability[carriers() == carrier]
        correct = (label[carriers() == carrier] == late).mean()
        assert auc(late, of_carrier) == pytest.approx(float(row[2 + place]), abs=6e-5)
        assert correct == pytest.approx(float(row[5 + place]), abs=6e-5)


def test_the_challenger_is_better_overall_and_worse_for_some_large_carriers():
    right = {version: answers(version)[0] == truth() for version in VERSIONS}
    gain = right["2"].astype(int) - right["1"].astype(int)

    def standard_errors(values):
        return values.mean() / (values.std() / len(values) ** 0.5)

    assert auc(truth(), answers("2")[1]) > auc(truth(), answers("1")[1])
    assert standard_errors(gain) > 4
    for carrier in ("AA", "US"):
        assert standard_errors(gain[carriers() == carrier]) < -4
    assert standard_errors(gain[carriers() == "DL"]) < -2


def test_the_third_version_is_plainly_worse_but_not_absurd():
    assert 0.55 < auc(truth(), answers("3")[1]) < auc(truth(), answers("1")[1]) - 0.1
    assert (answers("3")[0] == truth()).mean() < (answers("1")[0] == truth()).mean() - 0.05
