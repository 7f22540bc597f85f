import gzip
import sys

import numpy as np
import pytest

from gateway.demo import dataset, figures, models, train
from gateway.demo.flights import DATA, FLIGHTS_FILE

BLANK_DOCUMENT = f"before\n{figures.BEGIN}\n{figures.END}\nafter\n"


def document_with(tables):
    return f"before\n{figures.BEGIN}\n\n{tables}\n\n{figures.END}\nafter\n"


@pytest.fixture(scope="module")
def flights():
    return dataset.load_flights()


def test_training_makes_the_committed_files_again(flights, tmp_path):
    # All but the trees of version 2, which take most of the time.
    tables = train.make(tmp_path, BLANK_DOCUMENT, trees=2)

    some = dataset.sample(flights)[::50]
    for version in ("1", "3"):
        fresh = figures.ask(tmp_path / f"delay-{version}.onnx", some)
        committed = figures.ask(DATA / f"delay-{version}.onnx", some)
        assert np.allclose(fresh.probability, committed.probability, atol=1e-3)
    replayed = (tmp_path / FLIGHTS_FILE.name).read_bytes()
    assert gzip.decompress(replayed) == gzip.decompress(FLIGHTS_FILE.read_bytes())
    assert "| UA | 44,126 | 22.4% |" in tables
    assert (tmp_path / "DATA.md").read_text("utf-8") == document_with(tables)
    assert figures.replace_figures(document_with(tables), tables) == document_with(tables)


def test_a_document_without_marks_is_refused():
    with pytest.raises(SystemExit, match="lacks the marks"):
        figures.replace_figures("nothing here", "tables")


def test_no_held_out_flight_is_trained_on(flights):
    trained_on, held_out = dataset.training(flights), dataset.held_out(flights)

    assert trained_on["scheduled"].max() < held_out["scheduled"].min()
    assert trained_on["late"].notna().all()
    assert len(trained_on) == 77_911
    assert len(held_out) == 255_987


def test_the_sample_is_every_third_week_of_the_held_out_flights(flights):
    assert sorted(dataset.sample(flights)["week"].unique()) == list(range(0, 40, 3))


def test_a_known_flight_has_the_inputs_it_had_on_the_day(flights):
    # UA 1545, 1 January, 05:15 from Newark, due at 08:19 in Houston, which is an hour behind; it came 11 minutes late.
    first = flights.iloc[0]

    assert (first["carrier"], first["flight"], first["destination"]) == ("UA", 1545, "IAH")
    assert (first["day_of_week"], first["departure_minute"]) == (2, 5 * 60 + 15)
    assert first["scheduled_minutes"] == 4 * 60 + 4
    assert first["departures_in_hour"] == 2
    assert (first["arrival_delay_minutes"], first["late"]) == (11, False)


def test_the_weather_of_a_flight_is_at_least_an_hour_old():
    tables = dataset._tables()
    schedule = dataset.pd.DataFrame({"origin": ["JFK"], "hour": dataset.pd.to_datetime(["2013-06-01T12:00:00Z"])})
    weather = dataset.pd.read_csv(tables / "weather.csv")
    hour_before = weather[(weather["origin"] == "JFK") & (weather["time_hour"] == "2013-06-01T11:00:00Z")].iloc[0]

    frame = dataset._with_weather(schedule, weather)

    assert frame["humidity_percent"].item() == round(hour_before["humid"])
    assert frame["wind_speed_mph"].item() == round(hour_before["wind_speed"])
    assert frame["visibility_miles"].item() == hour_before["visib"]


def test_a_version_flags_as_many_training_flights_as_came_late(flights):
    some = dataset.training(flights)[::20]

    for trained in models.train_all(some, trees=2):
        flagged = (trained.probabilities(some) > trained.threshold).mean()
        assert flagged <= some["late"].mean() + 0.01


@pytest.mark.parametrize(("broken", "code"), [(False, 0), (True, 1)])
def test_check_names_what_training_no_longer_makes(monkeypatch, tmp_path, capsys, broken, code):
    # Given a folder of committed files, and a training that makes the same or another model.
    (tmp_path / "DATA.md").write_text("figures")
    (tmp_path / "delay-1.onnx").write_bytes(b"as trained")

    def make(into, document, trees):
        (into / "DATA.md").write_text(document)
        (into / "delay-1.onnx").write_bytes(b"another" if broken else b"as trained")
        return "tables"

    monkeypatch.setattr(train, "DATA", tmp_path)
    monkeypatch.setattr(train, "make", make)
    monkeypatch.setattr(sys, "argv", ["train", "--check"])

    assert train.main() == code

    said = capsys.readouterr().out
    assert ("differs: delay-1.onnx" in said) is broken
    assert (tmp_path / "delay-1.onnx").read_bytes() == b"as trained"


def test_training_replaces_the_files_only_when_all_went_well(monkeypatch, tmp_path):
    (tmp_path / "DATA.md").write_text("old")

    def fails(into, document):
        (into / "DATA.md").write_text("new")
        raise SystemExit("no")

    def succeeds(into, document):
        (into / "DATA.md").write_text("new")
        return "tables"

    monkeypatch.setattr(train, "DATA", tmp_path)
    monkeypatch.setattr(sys, "argv", ["train"])
    monkeypatch.setattr(train, "make", fails)
    with pytest.raises(SystemExit, match="no"):
        train.main()
    assert (tmp_path / "DATA.md").read_text() == "old"

    monkeypatch.setattr(train, "make", succeeds)
    assert train.main() == 0
    assert (tmp_path / "DATA.md").read_text() == "new"
