"""Price files and demand files: what is read, and what the error of a mistake names."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway.core.errors import ConfigError
from headway.deployment.plan.prices import read_demand, read_prices

GOOD = """\
currency = "EUR"
source = "invented"
energy_per_kwh = 0.3

[instance.small]
per_hour = 0.04
network = "wan"

[hardware.device]
price = 100
life_years = 4

[network.wan]
p50_ms = 20
p99_ms = 60
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "prices.toml"
    file.write_text(text)
    return file


def test_a_price_file_is_read(tmp_path: Path) -> None:
    prices = read_prices(written(tmp_path, GOOD))
    assert (prices.currency, prices.instance["small"].network, prices.hardware["device"].price) == ("EUR", "wan", 100)


@pytest.mark.parametrize(
    ("old", "new", "message", "line", "hint"),
    [
        ("per_hour = 0.04", "per_hour = -1", "instance.small.per_hour: expected `float` >= 0.0", 6, "example"),
        ("per_hour", "per_hor", "instance.small: object contains unknown field `per_hor`", 6, "nearest: per_hour"),
        ("network = ", "xyzzy = ", "instance.small: object contains unknown field `xyzzy`", 7, "per_hour, workers"),
        ("life_years = 4", "", "hardware.device: object missing required field `life_years`", 9, "life_years = ..."),
        ('source = "invented"', "", "object missing required field `source`", 0, "source = ..."),
        ("price = 100", "price = inf", "hardware.device.price is inf, not a number", 10, ""),
        ("hardware.device", "hardware.small", "'small' is an instance and hardware", 9, "rename"),
        ("hardware.device", 'hardware."a b"', "invalid name 'a b'", 9, "letters"),
        ("p50_ms = 20", "p50_ms = 70", "the p99 of network 'wan' is 60 ms, less than its median of 70 ms", 15, "70"),
        ("price = 100", "price = ", "prices.toml is not TOML", 10, ""),
    ],
)
def test_a_mistake_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, message: str, line: int, hint: str
) -> None:
    file = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ConfigError) as raised:
        read_prices(file)
    assert message in raised.value.what
    assert raised.value.where == (f"{file}:{line}" if line else str(file))
    assert hint in raised.value.hint


def test_a_file_without_a_location_or_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no location"):
        read_prices(written(tmp_path, 'source = "invented"'))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_prices(tmp_path / "none.toml")


def test_hours_are_scaled_to_mean_1(tmp_path: Path) -> None:
    demand = read_demand(written(tmp_path, f"per_s = 2\nhours = {[1] * 12 + [3] * 12}"))
    assert demand.hours == (0.5,) * 12 + (1.5,) * 12
    assert demand.peak_per_s == 3
    assert read_demand(written(tmp_path, "per_s = 2")).peak_per_s == 2


@pytest.mark.parametrize(("hours", "found"), [([1, 2], "2 hours"), ([0] * 24, "24 hours without a request")])
def test_hours_are_24_with_a_request(tmp_path: Path, hours: list[int], found: str) -> None:
    file = written(tmp_path, f"per_s = 2\nhours = {hours}")
    with pytest.raises(ConfigError, match=found) as raised:
        read_demand(file)
    assert raised.value.where == f"{file}:2"


def test_a_list_with_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="hours is nan"):
        read_demand(written(tmp_path, "per_s = 2\nhours = [nan]"))
