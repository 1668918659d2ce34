"""What became of a POST /files whose response was lost: never a rival's file, never sent again while it is there."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection
from typing import Any, cast

import pytest
from attrs import define, evolve, field, frozen
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.models import File
from asyncsdk.uploads.response_checks import Content
from asyncsdk.uploads.whole.lost_files import (
    CLOCK_SECONDS,
    LISTED_SECONDS,
    ListAgain,
    Listing,
    LostRequest,
    NotThere,
    OutcomeUnknown,
    OwnFile,
    ReadBack,
    ReadFirst,
    Unreadable,
    Verdict,
    decide,
)

BEGAN, UNTIL = 1_795_000_000.0, 1_795_000_120.0


def md5_of(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


OURS = md5_of("ours")
LOST = LostRequest(content=Content("a.jsonl", "batch", 100), md5=OURS, began=BEGAN, until=UNTIL)


@frozen(kw_only=True)
class Stored:
    """A file on the server: what is listed of it, what it contains, and when it begins to be listed."""

    file: File
    md5: str
    listed_at: float


@define
class Server:
    """Lists what it has, cut short where it is not `whole`; gives content back unless it is `private`."""

    stored: list[Stored]
    whole: bool = True
    private: bool = False
    deleted: set[str] = field(factory=set)
    shuffle: random.Random = field(factory=lambda: random.Random(1))

    def list(self, now: float) -> Listing:
        files = [each.file for each in self.stored if each.listed_at <= now]
        self.shuffle.shuffle(files)
        return Listing(files=tuple(files if self.whole else files[: len(files) // 2]), whole=self.whole, began=now)

    def read(self, file_id: str) -> str | Unreadable:
        if file_id in self.deleted:
            return Unreadable.GONE
        if self.private:
            return Unreadable.REFUSED
        return next(each.md5 for each in self.stored if each.file.id == file_id)


def found_out(server: Server, lost: LostRequest = LOST, taken: Collection[str] = (), now: float = UNTIL) -> Verdict:
    """Do what it asks for until it is decided, which takes few steps."""
    read: dict[str, str | Unreadable] = {}
    listing = server.list(now)
    for _ in range(10):
        match decide(lost, listing, read, taken=taken):
            case ReadFirst(files):
                assert not {file.id for file in files} & read.keys()
                read |= {file.id: server.read(file.id) for file in files}
            case ListAgain(at):
                assert at > listing.began
                listing = server.list(at)
            case verdict:
                return verdict
    raise AssertionError("it goes round in circles")


def stored(name: str, md5: str = OURS, **changes: Any) -> Stored:
    file = File(id=f"file-{name}", filename="a.jsonl", purpose="batch", bytes=100, created_at=int(BEGAN) + 1)
    file = evolve(file, **changes)
    return Stored(file=file, md5=md5, listed_at=float(cast("int", file.created_at or BEGAN)))


# one at a time


def test_its_file_is_found_by_what_it_contains() -> None:
    server = Server([stored("other", md5_of("theirs")), stored("own"), stored("later", created_at=int(UNTIL) + 900)])
    assert found_out(server) == OwnFile(server.stored[1].file, ())


@pytest.mark.parametrize("second", range(0, 121, 10))
def test_a_rival_of_the_same_name_size_purpose_and_second_is_never_taken_for_it(second: int) -> None:
    for number in range(100):
        rival = stored("rival", md5_of(f"theirs {number}"), created_at=int(BEGAN) + second)
        assert isinstance(found_out(Server([rival])), NotThere)
        assert found_out(Server([rival], private=True)) == OutcomeUnknown(("file-rival",))


@pytest.mark.parametrize(
    "changes",
    [
        {"filename": "b.jsonl"},
        {"bytes": 101},
        {"purpose": "vision"},
        {"created_at": int(BEGAN - CLOCK_SECONDS) - 1},
        {"created_at": int(UNTIL + CLOCK_SECONDS) + 1},
    ],
    ids=repr,
)
def test_what_differs_is_not_even_read(changes: dict[str, Any]) -> None:
    listing = Listing(files=(stored("other", **changes).file,), whole=True, began=UNTIL + LISTED_SECONDS)
    assert decide(LOST, listing, {}, taken=()) == NotThere()


@pytest.mark.parametrize("absent", ["filename", "bytes", "purpose", "created_at"])
def test_what_a_server_leaves_out_does_not_speak_against_a_file(absent: str) -> None:
    server = Server([stored("own", **cast("dict[str, Any]", {absent: None}))])
    assert found_out(server) == OwnFile(server.stored[0].file, ())


def test_a_file_whose_request_is_known_is_out_of_the_question() -> None:
    server = Server([stored("known")])
    assert found_out(server, taken={"file-known"}) == NotThere()


def test_of_more_equal_files_than_were_lost_none_is_taken() -> None:
    server = Server([stored("b"), stored("a"), stored("c", md5_of("theirs"))])
    assert found_out(server) == OutcomeUnknown(("file-a", "file-b"))
    assert found_out(server, evolve(LOST, alike=2)) == OwnFile(server.stored[1].file, ("file-b",))


def test_lost_requests_with_one_content_get_a_file_each() -> None:
    server, taken = Server([stored("b"), stored("a"), stored("c")]), set[str]()
    for left in (3, 2, 1):
        verdict = found_out(server, evolve(LOST, alike=left), taken)
        assert isinstance(verdict, OwnFile)
        taken.add(verdict.file.id)
    assert taken == {"file-a", "file-b", "file-c"}


def test_a_file_that_is_listed_late_is_waited_for() -> None:
    late = evolve(stored("own", created_at=int(UNTIL)), listed_at=UNTIL + 30.0)
    assert found_out(Server([late]), now=BEGAN + 1) == OwnFile(late.file, ())


def test_a_list_that_was_not_seen_whole_proves_nothing() -> None:
    assert found_out(Server([], whole=False)) == OutcomeUnknown(())


def test_a_file_that_was_deleted_meanwhile_is_not_there() -> None:
    assert found_out(Server([stored("own")], deleted={"file-own"})) == NotThere()


# whatever the server has

NAMES = st.sampled_from(["a.jsonl", "b.jsonl", None])
CONTENTS = st.sampled_from([OURS, md5_of("theirs"), md5_of("others")])


@st.composite
def servers(draw: st.DrawFn) -> tuple[Server, str | None, set[str]]:
    """A server with rivals, the id of the lost request's file if it is there, and ids that are known as others'."""
    files = [
        stored(
            f"rival-{number}",
            draw(CONTENTS),
            filename=draw(NAMES),
            bytes=draw(st.sampled_from([100, 101, None])),
            created_at=draw(st.integers(int(BEGAN) - 5, int(UNTIL) + 5) | st.none()),
        )
        for number in range(draw(st.integers(0, 4)))
    ]
    taken = {each.file.id for each in files if draw(st.booleans())}
    own = None
    if draw(st.booleans()):
        born = draw(st.floats(BEGAN - CLOCK_SECONDS, UNTIL))
        made = stored("own", created_at=int(born))
        files.append(evolve(made, listed_at=born + draw(st.floats(0, LISTED_SECONDS))))
        own = made.file.id
    deleted = {each.file.id for each in files if draw(st.integers(0, 9)) == 0}
    server = Server(files, draw(st.booleans()), draw(st.booleans()), deleted, draw(st.randoms(use_true_random=False)))
    return server, own if own not in deleted else None, taken


def possible(server: Server, taken: set[str]) -> list[str]:
    """The files that may be ours, whatever their content."""
    return [
        each.file.id
        for each in server.stored
        if LOST.may_have_made(each.file) and each.file.id not in taken | server.deleted
    ]


def alike(server: Server, taken: set[str]) -> list[str]:
    """The files with our content that may be ours, by all that can be seen from outside."""
    ours = {each.file.id for each in server.stored if each.md5 == OURS}
    return [name for name in possible(server, taken) if name in ours]


@given(servers(), st.floats(BEGAN, UNTIL + 300))
def test_only_a_file_with_its_content_is_its_own(case: tuple[Server, str | None, set[str]], now: float) -> None:
    server, _, taken = case
    verdict = found_out(server, taken=taken, now=now)
    if isinstance(verdict, OwnFile):
        assert verdict.duplicates == ()
        assert verdict.file.id in alike(server, taken)
        assert not server.private


@given(servers(), st.floats(BEGAN, UNTIL + 300))
def test_it_is_never_sent_again_while_its_file_is_there(case: tuple[Server, str | None, set[str]], now: float) -> None:
    server, own, taken = case
    verdict = found_out(server, taken=taken, now=now)
    if isinstance(verdict, NotThere):
        assert own is None
        assert server.whole
        assert not alike(server, taken)
    if own is not None and server.whole:
        known = [verdict.file.id] if isinstance(verdict, OwnFile) else cast("OutcomeUnknown", verdict).candidates
        # or one listed before it that can't be told from it
        like = possible(server, taken) if server.private else alike(server, taken)
        assert own in known or set(known) & set(like) - {own}


@given(servers(), st.floats(UNTIL + LISTED_SECONDS, UNTIL + 300))
def test_once_all_is_listed_the_verdict_is_what_the_whole_list_says(
    case: tuple[Server, str | None, set[str]], now: float
) -> None:
    server, _, taken = case
    server.whole = True
    verdict, equal = found_out(server, taken=taken, now=now), alike(server, taken)
    may_be = possible(server, taken)
    if server.private:
        expected: object = OutcomeUnknown if may_be else NotThere
    else:
        expected = {0: NotThere, 1: OwnFile}.get(len(equal), OutcomeUnknown)
    assert type(verdict) is expected
    if isinstance(verdict, OutcomeUnknown):
        assert set(verdict.candidates) == set(may_be if server.private else equal)


@given(servers(), st.randoms(use_true_random=False))
def test_the_order_of_a_list_does_not_matter(case: tuple[Server, str | None, set[str]], order: random.Random) -> None:
    server, _, taken = case
    server.whole = True
    read: ReadBack = {each.file.id: server.read(each.file.id) for each in server.stored}
    listing = server.list(UNTIL + LISTED_SECONDS + 300)
    files = list(listing.files) * 2  # a page may bring one that an earlier page had
    order.shuffle(files)
    first = decide(LOST, listing, read, taken=taken)
    assert decide(LOST, evolve(listing, files=tuple(files)), read, taken=taken) == first
