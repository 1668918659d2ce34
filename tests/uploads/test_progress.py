"""A listener hears of every change of state, else ten times a second at most, and can't harm the upload."""

from __future__ import annotations

import logging
from itertools import pairwise

import pytest
from attrs import define, field
from attrs.exceptions import FrozenInstanceError
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.events import Progress, UploadPhase
from asyncsdk.uploads.progress import Meter, RateMeter

MB = 1_000_000


@define
class Heard:
    """A meter with its clock in our hand, and what its listener heard."""

    now: float = 1000.0
    told: list[tuple[float, Progress]] = field(factory=list)
    meter: Meter = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.meter = Meter("data.bin", 100 * MB, self._hear, clock=lambda: self.now)

    def _hear(self, progress: Progress) -> None:
        self.told.append((self.now, progress))

    def send(self, rate: float, seconds: float, step: float = 0.01) -> None:
        """`rate` bytes a second for a while, `step` seconds at a time, of a part that stays on its way."""
        if not self.meter.snapshot().parts_in_flight:
            self.meter.part_started()
        for _ in range(round(seconds / step)):
            self.now += step
            self.meter.bytes_moved(round(rate * step))

    @property
    def last(self) -> Progress:
        return self.told[-1][1]


@pytest.fixture
def heard() -> Heard:
    return Heard()


# when it is told


def test_a_busy_upload_is_told_ten_times_a_second(heard: Heard) -> None:
    heard.send(rate=50 * MB, seconds=2.0, step=0.001)
    moments = [moment for moment, _ in heard.told]
    assert 18 <= len(moments) <= 21
    assert all(later - earlier >= 0.0999 for earlier, later in pairwise(moments))


@given(st.lists(st.floats(0.0001, 0.3), max_size=50))
def test_however_often_something_happens_no_second_has_more_than_ten(pauses: list[float]) -> None:
    heard = Heard()
    for pause in pauses:
        heard.now += pause
        heard.meter.set_hashed(1)
    for moment, _ in heard.told:
        assert sum(moment <= other < moment + 0.999 for other, _ in heard.told) <= 10


def test_every_change_of_state_is_told_at_once(heard: Heard) -> None:
    for state in (
        UploadPhase.SENDING,
        UploadPhase.RETRYING,
        UploadPhase.SENDING,
        UploadPhase.COMPLETING,
        UploadPhase.COMPLETED,
    ):
        heard.meter.enter(state)
        heard.now += 0.001
    assert [progress.state for _, progress in heard.told] == [
        "sending",
        "retrying",
        "sending",
        "completing",
        "completed",
    ]


def test_another_note_is_a_change_and_the_same_one_is_not(heard: Heard) -> None:
    for note in (
        "no connection; trying again in 1 s",
        "no connection; trying again in 1 s",
        "no connection; trying again in 2 s",
    ):
        heard.meter.enter(UploadPhase.RETRYING, note)
    assert [progress.note for _, progress in heard.told] == [
        "no connection; trying again in 1 s",
        "no connection; trying again in 2 s",
    ]


def test_an_outage_lasts_until_a_part_is_answered_and_has_no_rate(heard: Heard) -> None:
    heard.meter.part_started()
    for _ in range(5):
        heard.now += 1.0
        heard.meter.bytes_moved(10)
    assert heard.last.rate > 0
    heard.meter.enter(UploadPhase.RETRYING, "no connection")
    for _ in range(5):
        heard.now += 1.0
        heard.meter.bytes_moved(1000)
        assert (heard.last.state, heard.last.note) == (UploadPhase.RETRYING, "trying again")
        assert (heard.last.rate, heard.last.eta) == (0.0, None)
    heard.meter.part_finished(5050, 5050, 0)
    assert heard.last.state is UploadPhase.RETRYING
    heard.meter.part_started()
    heard.meter.part_finished(50, 50, 50)
    assert (heard.last.state, heard.last.note) == (UploadPhase.SENDING, "")


def test_without_a_listener_there_are_snapshots_all_the_same() -> None:
    meter = Meter("data.bin", 100)
    meter.bytes_moved(10)
    assert meter.snapshot().bytes_sent == 10


def test_a_listener_that_raises_is_called_again_and_logged_as_an_error_once(caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def raising(progress: Progress) -> None:
        calls.append(progress)
        raise ZeroDivisionError

    meter = Meter("data.bin", 100, raising)
    for state in (UploadPhase.SENDING, UploadPhase.COMPLETING, UploadPhase.COMPLETED):
        meter.enter(state)
    assert len(calls) == 3
    (record,) = [record for record in caplog.records if record.levelno > logging.DEBUG]
    assert (record.name, record.levelno) == ("asyncsdk.uploads.progress", logging.ERROR)
    assert "on_progress raised" in record.message


# what is told


def test_a_part_is_on_its_way_until_the_journal_has_it(heard: Heard) -> None:
    meter = heard.meter
    meter.set_confirmed(30 * MB, resumed=20 * MB)
    meter.part_started()
    meter.bytes_moved(8 * MB)
    on_its_way = meter.snapshot()
    meter.part_finished(8 * MB, 8 * MB, 8 * MB)
    there = meter.snapshot()
    assert (on_its_way.bytes_done, on_its_way.bytes_in_flight, on_its_way.parts_in_flight) == (30 * MB, 8 * MB, 1)
    assert (there.bytes_done, there.bytes_in_flight, there.parts_in_flight) == (38 * MB, 0, 0)
    assert there.bytes_resumed == 20 * MB
    assert there.bytes_sent == 8 * MB


def test_a_failed_attempt_stays_sent_but_is_no_longer_on_its_way(heard: Heard) -> None:
    meter = heard.meter
    meter.part_started()
    meter.bytes_moved(5 * MB)
    meter.bytes_discarded(5 * MB, 6 * MB)
    meter.bytes_moved(8 * MB)
    assert meter.snapshot().bytes_in_flight == 8 * MB
    meter.part_finished(8 * MB, 9 * MB, confirmed=0)
    done = meter.snapshot()
    # what was not seen to arrive may have arrived
    assert (done.bytes_sent, done.bytes_in_flight, done.bytes_done) == (15 * MB, 0, 0)


def test_what_was_not_seen_to_arrive_of_a_failed_attempt_is_in_no_rate(heard: Heard) -> None:
    meter = heard.meter
    heard.send(rate=MB, seconds=5.0)
    meter.bytes_discarded(5 * MB, 25 * MB)
    heard.send(rate=MB, seconds=5.0)
    assert meter.rate.current == pytest.approx(MB, rel=0.05)
    assert meter.shared.rate.current == pytest.approx(MB, rel=0.05)
    assert meter.snapshot().bytes_sent == 30 * MB


def test_a_part_that_is_answered_at_once_is_in_the_rate_as_a_whole(heard: Heard) -> None:
    for _ in range(20):
        heard.meter.part_started()
        heard.now += 0.25
        heard.meter.part_finished(0, MB, MB)
    assert heard.meter.shared.rate.current == pytest.approx(4 * MB, rel=0.1)
    assert (heard.last.bytes_done, heard.last.bytes_sent, heard.last.bytes_in_flight) == (20 * MB, 20 * MB, 0)


def test_the_listener_hears_at_once_what_was_sent_where_all_parts_have_failed(heard: Heard) -> None:
    for _ in range(3):
        heard.meter.part_started()
    before = len(heard.told)
    for _ in range(3):
        heard.meter.part_finished(0, MB, confirmed=0)
    assert (heard.last.bytes_sent, heard.last.parts_in_flight) == (3 * MB, 0)
    assert len(heard.told) == before + 1


def test_the_next_part_may_expect_its_share_of_the_rate(heard: Heard) -> None:
    meter = heard.meter
    assert meter.flow is None
    meter.part_started()
    for _ in range(4):
        heard.now += 1.0
        meter.bytes_moved(8 * MB)
    assert meter.flow == pytest.approx(4 * MB)
    meter.part_finished(32 * MB, 32 * MB, 32 * MB)
    assert meter.flow == pytest.approx(8 * MB)


def test_what_is_left_is_neither_there_nor_on_its_way(heard: Heard) -> None:
    heard.meter.set_confirmed(30 * MB, resumed=0)
    heard.meter.bytes_moved(8 * MB)
    assert heard.meter.left == 62 * MB


def test_a_snapshot_says_all_there_is_to_say_and_never_changes(heard: Heard) -> None:
    meter = heard.meter
    meter.upload_id, meter.expires_at = "upload_1", 4600
    meter.set_hashed(7)
    snapshot = meter.snapshot()
    meter.set_hashed(9)
    assert snapshot == Progress(
        state=UploadPhase.CHECKING,
        source="data.bin",
        bytes_total=100 * MB,
        bytes_hashed=7,
        upload_id="upload_1",
        expires_at=4600,
    )
    with pytest.raises(FrozenInstanceError):
        snapshot.note = "x"  # type: ignore[misc]  # what the type checker would tell


# how fast, and how long it takes


def test_the_rate_is_that_of_the_last_ten_seconds(heard: Heard) -> None:
    heard.send(rate=2 * MB, seconds=10)
    assert heard.last.rate == pytest.approx(2 * MB, rel=0.05)
    heard.send(rate=1 * MB, seconds=5)
    assert heard.last.rate == pytest.approx(1.5 * MB, rel=0.05)
    heard.send(rate=1 * MB, seconds=6)
    assert heard.last.rate == pytest.approx(1 * MB, rel=0.05)


def test_the_time_left_is_what_is_left_at_that_rate(heard: Heard) -> None:
    heard.send(rate=2 * MB, seconds=10)
    assert heard.last.eta == pytest.approx((100 - 20) / 2, rel=0.05)


def test_nothing_is_known_of_rate_and_time_before_anything_moved(heard: Heard) -> None:
    heard.meter.tick()
    assert (heard.last.rate, heard.last.eta) == (0.0, None)
    heard.now += 1
    heard.meter.tick()
    assert (heard.last.rate, heard.last.eta) == (0.0, None)


def test_an_outage_brings_the_rate_down_to_nothing_but_leaves_the_best(heard: Heard) -> None:
    heard.send(rate=2 * MB, seconds=12)
    for _ in range(25):
        heard.now += 0.5
        heard.meter.tick()
    assert (heard.last.rate, heard.last.eta) == (0.0, None)
    assert heard.meter.rate.best == pytest.approx(2 * MB, rel=0.05)


def test_time_in_which_nothing_of_it_is_sent_does_not_count(heard: Heard) -> None:
    for _ in range(3):
        for _ in range(40):  # it is hashed, or waits for a connection that others use
            heard.now += 0.5
            heard.meter.tick()
        heard.meter.part_started()
        for _ in range(50):
            heard.now += 0.1
            heard.meter.bytes_moved(MB // 5)
        heard.meter.part_finished(10 * MB, 10 * MB, 10 * MB)
    heard.now += 60
    heard.meter.tick()
    assert heard.last.rate == pytest.approx(2 * MB, rel=0.05)
    assert heard.meter.sending_seconds == pytest.approx(15)


def test_parts_side_by_side_count_the_same_second_once(heard: Heard) -> None:
    heard.meter.part_started()
    heard.now += 1
    heard.meter.part_started()
    heard.now += 1
    heard.meter.part_finished(MB, MB, MB)
    heard.now += 1
    assert heard.meter.sending_seconds == pytest.approx(3)
    heard.meter.part_finished(MB, MB, MB)
    heard.now += 1
    assert heard.meter.sending_seconds == pytest.approx(3)


def test_the_best_rate_is_known_only_after_a_whole_window(heard: Heard) -> None:
    heard.send(rate=2 * MB, seconds=9)
    assert heard.meter.rate.best == 0.0
    heard.send(rate=2 * MB, seconds=2)
    assert heard.meter.rate.best == pytest.approx(2 * MB, rel=0.05)


def test_a_long_wait_before_the_first_byte_does_not_count_as_slowness(heard: Heard) -> None:
    heard.meter.enter(UploadPhase.WAITING, "process 17 is sending this file")
    heard.now += 3600
    heard.meter.enter(UploadPhase.SENDING)
    heard.send(rate=2 * MB, seconds=2)
    assert heard.last.rate == pytest.approx(2 * MB, rel=0.05)


def test_samples_closer_than_a_fifth_of_a_second_say_nothing_new() -> None:
    rate = RateMeter()
    for moment, total in ((0.0, 0), (0.1, 50), (0.2, 100), (0.3, 900)):
        rate.add(moment, total)
    assert rate.current == pytest.approx(500)


@given(st.lists(st.tuples(st.floats(0.01, 30), st.integers(0, 10**9)), max_size=200))
def test_the_window_stays_small_and_the_rate_within_what_was_seen(steps: list[tuple[float, int]]) -> None:
    rate, now, total = RateMeter(), 0.0, 0
    for pause, moved in steps:
        now, total = now + pause, total + moved
        rate.add(now, total)
        kept = rate._samples  # noqa: SLF001 - how many it keeps shows nowhere else
        assert len(kept) <= 53  # ten seconds in fifths, and the one before
        assert 0 <= rate.current <= total / 0.2 + 1


# how long the server is silent


def awaiting_a_part(heard: Heard) -> Heard:
    heard.meter.upload_id = "upload_1"
    heard.meter.enter(UploadPhase.SENDING)
    heard.meter.part_started()
    return heard


def silence(heard: Heard, seconds: float) -> float:
    heard.now += seconds
    return heard.meter.snapshot().silent_for


def test_a_server_that_takes_nothing_is_silent_after_ten_seconds_and_it_counts_up(heard: Heard) -> None:
    awaiting_a_part(heard)
    assert [silence(heard, 9.9), silence(heard, 0.1), silence(heard, 10.0)] == [0.0, 10.0, 20.0]
    heard.meter.bytes_moved(1)
    assert silence(heard, 5.0) == 0.0


@pytest.mark.parametrize("state", [UploadPhase.CHECKING, UploadPhase.SENDING, UploadPhase.COMPLETING])
def test_a_request_other_than_a_part_is_awaited_too(heard: Heard, state: UploadPhase) -> None:
    heard.meter.enter(state)  # it has no id yet: while sending, that is what is asked for
    assert silence(heard, 12.0) == 12.0


@pytest.mark.parametrize("state", [UploadPhase.WAITING, UploadPhase.COMPLETED])
def test_where_nothing_is_asked_of_the_server_it_is_not_silent(heard: Heard, state: UploadPhase) -> None:
    heard.meter.enter(state)
    assert silence(heard, 60.0) == 0.0


def test_an_upload_whose_parts_wait_for_a_connection_accuses_no_server_and_its_first_part_begins_to_count(
    heard: Heard,
) -> None:
    heard.meter.upload_id = "upload_1"
    heard.meter.enter(UploadPhase.SENDING)
    assert silence(heard, 60.0) == 0.0
    heard.meter.part_started()
    assert silence(heard, 11.0) == 11.0


def test_a_wait_that_was_announced_is_not_silence(heard: Heard) -> None:
    awaiting_a_part(heard)
    heard.meter.enter(UploadPhase.RETRYING, "too many requests; trying again in 40 s")
    heard.meter.hold(40.0)
    assert [silence(heard, 40.0), silence(heard, 9.0), silence(heard, 1.0)] == [0.0, 0.0, 10.0]


def test_parts_that_wait_for_the_disk_or_a_rate_limit_do_not_accuse_the_server(heard: Heard) -> None:
    awaiting_a_part(heard)
    with heard.meter.on_our_side():
        assert silence(heard, 60.0) == 0.0
        heard.meter.part_started()  # another one waits for the server
        assert silence(heard, 1.0) == 61.0
    assert silence(heard, 5.0) == 0.0


def test_hashing_by_itself_is_not_silence_and_beside_parts_it_hides_none(heard: Heard) -> None:
    heard.meter.enter(UploadPhase.CHECKING)
    for offset in range(5):
        heard.meter.set_hashed(offset)
        assert silence(heard, 9.0) == 0.0
    awaiting_a_part(heard)
    heard.now += 12.0
    heard.meter.set_hashed(7)
    assert silence(heard, 1.0) == 13.0
