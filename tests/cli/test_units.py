"""Sizes, rates and times, as people write and read them."""

from __future__ import annotations

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.cli import units


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("16MiB", 16 * 1024**2),
        ("10MB", 10_000_000),
        ("512KiB", 512 * 1024),
        ("1.5GiB", 3 * 1024**3 // 2),
        ("2kb", 2000),
        ("30M", 30_000_000),
        ("30MB", 30_000_000),
        ("30m", 30_000_000),
        ("30 M", 30_000_000),
        ("30Mi", 30 * 1024**2),
        ("30MiB", 30 * 1024**2),
        ("30mi", 30 * 1024**2),
        ("4k", 4000),
        ("2G", 2 * 10**9),
        ("1TB", 10**12),
        ("77", 77),
        ("77B", 77),
        (" 3 MB ", 3_000_000),
        ("0", 0),
    ],
)
def test_a_size_is_read_as_it_is_written(text: str, count: int) -> None:
    assert units.parse_size(text) == count


@pytest.mark.parametrize(
    "text", ["", "abc", "16X", "16iB", "16i", "MiB", "-1", "1e6", "nan", "inf", "5 MB/s", "1,000", "٣MB"]
)
def test_what_is_no_size_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="16MiB"):
        units.parse_size(text)


@pytest.mark.parametrize("text", ["10MB/s", "10M", "10 MB/s", "10MB /s", "10000000"])
def test_a_rate_is_read_with_its_second_or_without(text: str) -> None:
    assert units.parse_rate(text) == 10_000_000


@pytest.mark.parametrize(("text", "said"), [("2", "2 is 2 bytes a second"), ("1.5/s", "1.5 is 2 bytes a second")])
def test_a_rate_whose_unit_was_forgotten_is_asked_about(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as asked:
        units.parse_rate(text)
    amount = text.removesuffix("/s")
    assert f"; did you mean {amount}MB/s? If not, write {amount}B/s." in str(asked.value)
    assert (units.parse_rate("2B/s"), units.parse_rate("0"), units.parse_rate("1000")) == (2, 0, 1000)


@pytest.mark.parametrize("text", ["", "fast", "10 Mbit/s", "10Mbps", "/s"])
def test_what_is_not_a_rate_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="10MB/s"):
        units.parse_rate(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30d", 2_592_000), ("24h", 86_400), ("90m", 5400), ("45s", 45), ("3600", 3600), ("1.5h", 5400)],
)
def test_a_duration_is_read_as_it_is_written(text: str, seconds: int) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "a day", "1w", "-3", "d", "1 h 30"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="30d"):
        units.parse_duration(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_960, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (5_000_000_000, "5.0 GB"),
        (8 << 30, "8.6 GB"),
        (3 * 10**15, "3000 TB"),
    ],
)
def test_a_size_is_shown_in_two_or_three_digits(count: int, text: str) -> None:
    assert units.size(count) == text


@given(st.integers(1, 10**15))
def test_a_shown_size_is_read_back_within_a_twentieth(count: int) -> None:
    shown = units.size(count).replace(" bytes", "B").replace(" byte", "B")
    assert abs(units.parse_size(shown) - count) <= count / 18


@pytest.mark.parametrize(
    ("count", "total", "text"),
    [
        (3_100_000_000, 5_000_000_000, "3.1 of 5.0 GB"),
        (0, 5_000_000_000, "0.0 of 5.0 GB"),
        (20_000_000, 40_000_000, "20 of 40 MB"),
        (3, 40, "3 of 40 bytes"),
        (1, 1, "1 of 1 byte"),
    ],
)
def test_a_part_is_shown_in_the_unit_of_the_whole(count: int, total: int, text: str) -> None:
    assert units.part_of(count, total) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0, "0 bytes/s"),
        (480.4, "480 bytes/s"),
        (1_225_000, "1.2 MB/s"),
        (60_000, "60 kB/s"),
        (125e6, "125 MB/s"),
        (1.25e9, "1.2 GB/s"),
    ],
)
def test_a_rate_is_shown_in_the_units_of_sizes(rate: float, text: str) -> None:
    assert units.rate(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1 s"),
        (-5, "1 s"),
        (44.2, "45 s"),
        (90, "90 s"),
        (91, "2 min"),
        (26 * 60, "26 min"),
        (59.5 * 60, "1 h"),
        (109 * 60, "1 h 49 min"),
        (48 * 3600 + 1, "3 days"),
        (72 * 3600, "3 days"),
    ],
)
def test_a_duration_is_shown_rounded_up(seconds: float, text: str) -> None:
    assert units.duration(seconds) == text


@given(st.floats(0, 1e7))
def test_a_shown_duration_is_never_too_short(seconds: float) -> None:
    unit = {"s": 1, "min": 60, "h": 3600, "days": 86400}
    words = units.duration(seconds).split()
    assert sum(int(n) * unit[name] for n, name in zip(words[::2], words[1::2], strict=True)) >= seconds


def test_how_long_a_thing_took_has_a_decimal_while_it_is_short() -> None:
    assert [units.elapsed(s) for s in (0.04, 9.94, 12, 130)] == ["0.0 s", "9.9 s", "12 s", "3 min"]


def test_a_time_of_today_is_hours_and_minutes_and_another_has_its_day() -> None:
    noon = 1_795_348_800  # 2026-11-22 12:00 UTC
    assert units.clock_time(noon + 3600, now=noon, zone=UTC) == "13:00"
    assert units.clock_time(noon + 86400, now=noon, zone=UTC) == "Nov 23, 12:00"


def test_percent_is_a_hundred_only_when_all_is_there() -> None:
    assert [units.percent(done, 1000) for done in (0, 9, 619, 999, 1000)] == ["0%", "0%", "61%", "99%", "100%"]


def test_things_are_counted_in_singular_and_plural() -> None:
    assert [units.counted(n, "file") for n in (0, 1, 2, 12345)] == ["0 files", "1 file", "2 files", "12,345 files"]
