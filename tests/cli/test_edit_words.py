"""What a person reads about edits, and the exit code that it comes to."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from asyncsdk.cli.edits import report as edit_report
from asyncsdk.cli.edits.forecast import Forecast, plan_lines
from asyncsdk.cli.edits.messages import Summary, line_of, reason_of, stopping, summary
from asyncsdk.cli.edits.moment import Moment, moving
from asyncsdk.cli.edits.records import record_of, record_of_error
from asyncsdk.cli.edits.report import Report
from asyncsdk.cli.options import Output
from asyncsdk.cli.output import Out
from asyncsdk.errors import (
    APIConnectionError,
    BadRequestError,
    ChargeUnknownError,
    InvalidEditError,
    ModerationBlockedError,
    NotFoundError,
    SaveError,
)
from asyncsdk.images.bulk.preview import EditPlan
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.outcome import EditOutcome, Problem
from asyncsdk.models import Usage

EDIT = ImageEdit(image="beach.png", prompt="x")
MODERATED = Problem(type="ModerationBlockedError", message="no", code="moderation_blocked", status_code=400)
UNREADABLE = Problem(type="InvalidEditError", message="no picture")
UNKNOWN_FIELD = Problem(type="BadRequestError", message="no", status_code=400)
UNSAVED = Problem(type="SaveError", message="full")


def tally(*ended: tuple[str, Problem | None, int]) -> Summary:
    found = Summary()
    for status, problem, count in ended:
        for _ in range(count):
            found.add(status, problem)
    return found


def test_a_done_edit_is_told_with_its_files_and_tokens() -> None:
    files = (Path("out/beach.png"), Path("out/beach.1.png"))
    done = EditOutcome(edit=EDIT, id="beach", status="done", files=files, usage=Usage(total_tokens=1205))
    assert line_of(done) == "beach: out/beach.png, out/beach.1.png, 1,205 tokens"
    assert record_of(done) == {
        "id": "beach",
        "status": "done",
        "files": ["out/beach.png", "out/beach.1.png"],
        "usage": {"total_tokens": 1205},
        "cost": None,
        "error": None,
    }
    assert line_of(EditOutcome(edit=EDIT, id="b", status="done", files=files[:1])) == "b: out/beach.png"
    skipped = EditOutcome(edit=EDIT, id="b", status="skipped", files=files[:1], usage=Usage(total_tokens=9))
    assert line_of(skipped) == "b: out/beach.png, done before; nothing was sent"


def test_a_line_on_the_terminal_is_written_beside_the_progress_even_where_the_file_is_gone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moved: list[str] = []
    monkeypatch.setattr(edit_report, "stdout_is_terminal", lambda: True)
    report = Report(Out(Output()), is_wanted=True, aside=lambda: moved.append("aside"))
    report.add(EditOutcome(edit=EDIT, id="b", status="done", files=(Path("gone/b.png"),)))
    assert (moved, capsys.readouterr().out) == (["aside"], "b: gone/b.png\n")
    assert [(item.id, item.at) for item in report.items] == [("b", None)]


def test_an_edit_that_did_not_go_well_is_told_with_its_reason() -> None:
    lost = EditOutcome(
        edit=EDIT, id="b", status="uncertain", problem=Problem(type="ChargeUnknownError", message="lost")
    )
    assert line_of(lost) == "b: uncertain: lost"
    assert line_of(EditOutcome(edit=EDIT, id="b", status="failed")) == "b: failed: "
    assert record_of(lost)["error"] == {
        "type": "ChargeUnknownError",
        "message": "lost",
        "code": None,
        "status_code": None,
        "request_id": None,
        "retryable": False,
        "moderation": None,
        "urls": (),
        "raw_files": (),
    }


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ChargeUnknownError("lost"), "uncertain"),
        (SaveError("full"), "uncertain"),
        (InvalidEditError("no"), "refused"),
        (ModerationBlockedError("no", status_code=400), "refused"),
        (BadRequestError("no", status_code=400, body={"message": "no", "type": "x"}), "refused"),
        (BadRequestError("a page", status_code=400, body="<html>"), "failed"),
        (NotFoundError("no", status_code=404), "failed"),
        (APIConnectionError("no"), "failed"),
    ],
)
def test_the_record_of_one_edit_has_the_status_that_its_error_means(error: Exception, status: str) -> None:
    told = record_of_error("a", error)
    assert (told["status"], told["files"], told["error"]["message"]) == (status, [], str(error))


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (MODERATED, "moderation"),
        (Problem(type="X", message="", status_code=400, moderation={"stage": "input"}), "moderation"),
        (UNREADABLE, "before sending"),
        (None, "before sending"),
        (UNKNOWN_FIELD, "by the server"),
    ],
)
def test_a_refusal_has_a_reason(problem: Problem | None, reason: str) -> None:
    assert reason_of(problem) == reason


def test_a_summary_counts_and_says_how_to_go_on() -> None:
    ended = tally(
        ("done", None, 49_873), ("refused", MODERATED, 97), ("refused", UNREADABLE, 15),
        ("failed", UNKNOWN_FIELD, 11), ("uncertain", None, 4),
    )  # fmt: skip
    moment = Moment(images=49_873, tokens=10**6, seconds=600)
    assert summary(ended, moment, details="out/failed.jsonl").splitlines() == [
        (
            "49,873 done, 112 refused (97 moderation, 15 before sending), 11 failed, "
            "4 uncertain (sent, no usable response). Details: out/failed.jsonl"
        ),
        "  49,873 images, 1,000,000 tokens, in 10 min (4987 images a minute).",
        (
            "  The 97 that the safety system refused would be refused again: change the prompt or the picture. "
            "To send them unchanged: add --only refused"
        ),
        "  Nothing was paid for the 11 that failed: the same command sends them again.",
        "  Whether they were paid: look at the account's usage page.",
        (
            "  The same command does not send the 4 uncertain. "
            "To send the 4 again (may be paid twice): add --only uncertain --on-uncertain retry"
        ),
    ]
    ended.counts["uncertain"] = ended.counts["failed"] = ended.counts["left out"] = 1
    of_one = summary(ended, moment, details=None)
    assert "  Nothing was paid for the 1 that failed: the same command sends it again.\n" in of_one
    assert "  Whether it was paid: look at the account's usage page.\n" in of_one
    assert "  The 1 left out is listed above. Fix it, or give a linked folder" in of_one
    ended.counts["uncertain"], ended.counts["left out"] = 4, 0
    ended.counts["elsewhere"] = 2
    assert "--on-uncertain retry; that also sends the 2 saved elsewhere\n" in summary(ended, moment, details=None)
    ended.counts["elsewhere"] = 0
    limited = summary(ended, moment, details=None, not_sent=3, when="with a higher limit ")
    assert limited.count("with a higher limit") == 1


def test_a_summary_tells_only_what_there_is() -> None:
    assert summary(Summary(), Moment(), details=None) == "nothing was sent."
    assert summary(tally(("skipped", None, 2)), Moment(), details=None) == "2 done before."
    short = summary(
        tally(("done", None, 1), ("uncertain", UNSAVED, 1)), Moment(images=1, seconds=0.5), details=None, not_sent=7
    )
    assert short.splitlines() == [
        "1 done, 1 paid but not saved.",
        "  1 image, in 0.5 s.",
        "  7 not sent: the same command goes on.",
        (
            "  What is left of the 1 paid but not saved is listed above. Use that first: a URL is valid for "
            "60 minutes. To send them again (paid again): add --only uncertain --on-uncertain retry"
        ),
    ]


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (tally(), 0),
        (tally(("done", None, 2), ("skipped", None, 1)), 0),
        (tally(("done", None, 2), ("failed", None, 1)), 3),
        (tally(("failed", None, 1)), 3),
        (tally(("uncertain", None, 1)), 3),
        (tally(("uncertain", UNSAVED, 1)), 3),
        (tally(("refused", MODERATED, 1)), 3),
        (tally(("refused", UNREADABLE, 1), ("done", None, 1)), 3),
        (tally(("refused", UNREADABLE, 2)), 2),
    ],
)
def test_the_exit_code_is_3_where_some_did_not_go_well_and_2_where_none_could_be_sent(
    ended: Summary, code: int
) -> None:
    assert ended.code == code


def test_a_line_tells_how_a_run_goes() -> None:
    counts = Counter(done=1190, refused=14, skipped=100)
    moment = Moment(counts=counts, total=50_000, in_flight=8, images=1200, tokens=9000, seconds=300, holding=12)
    assert moving(moment) == (
        "1,304 of 50,000: 1,190 done, 100 done before, 14 refused; 8 in flight, 240 images a minute, 9,000 tokens, "
        "waiting 12 s for the rate limit, 3 h 23 min left"
    )
    trouble = {"no connection": 1, "the server responded with 503": 8}
    assert moving(Moment(retrying=trouble)) == (
        "0; 0 in flight, 8 to be sent again: the server responded with 503, 1 to be sent again: no connection"
    )
    assert moving(Moment()) == "0; 0 in flight"
    waiting = Moment(counts={"done": 10}, total=40, seconds=300, last_end=20, holding=4)
    assert waiting.left == 64  # a pause does not make the rest slower
    assert Moment(counts={"malformed": 2, "left out": 1, "skipped": 9}, total=40, seconds=9).left is None
    assert moving(Moment(total=3, holding=1)) == "0 of 3; 0 in flight"


def test_what_a_signal_is_answered_says_what_is_at_stake() -> None:
    assert "nothing is in flight" in stopping(0, 120)
    assert stopping(1, 120).startswith("Stopping: nothing new is sent. 1 edit in flight, which may be paid")
    assert "up to 1.5 s" in stopping(4, 1.5)
    assert stopping(1, 120).endswith(
        "waiting for it, up to 120 s. Ctrl-C again stops at once, and leaves it uncertain."
    )
    assert stopping(4, 1.5).endswith("Ctrl-C again stops at once, and leaves them uncertain.")


def forecast(plan: EditPlan | None, problems: Summary, **known: Any) -> Forecast:
    usual: dict[str, Any] = {"edits": 0 if plan is None else plan.sent, "replaced": "out/.asyncsdk/replaced"}
    pictures = 0 if plan is None else plan.pictures
    return Forecast(**(usual | {"plan": plan, "problems": problems, "pictures": pictures} | known))


def test_a_plan_is_said_in_a_sentence() -> None:
    plan = EditPlan(to_send=184, done=112, uncertain=0, refused=0, problems=(), input_images=184, minutes=184 / 15)
    problems = Summary(Counter(refused=5), Counter({"too large": 2, "HEIC": 3}))
    assert plan_lines(plan, forecast(plan, problems), images_per_minute=15) == (
        "184 to send, 112 done before, 5 refused (3 HEIC, 2 too large); about 13 min at 15 images a minute."
    )


def test_a_plan_without_a_rate_says_how_to_get_an_estimate() -> None:
    plan = EditPlan(to_send=1200, done=0, uncertain=1, refused=2, problems=(), input_images=2400, minutes=None)
    problems = Summary(Counter(malformed=4, gone=1))
    assert plan_lines(plan, forecast(plan, problems, not_pictures=2)).splitlines() == [
        "1,200 to send, 2 refused before, 1 uncertain, 1 paid, but pictures are gone, 4 malformed.",
        "They count as 2,400 images against the rate limit: pictures, times n.",
        "For an estimate of the time, give your rate limit with --images-per-minute N.",
        "Left out: 2 files that are not pictures.",
    ]
    done = EditPlan(to_send=0, done=3, uncertain=0, refused=0, problems=(), input_images=0, minutes=None)
    assert plan_lines(done, forecast(done, Summary())) == "0 to send, 3 done before."
