"""What is known of an edit is kept in little memory, and comes out as it went in."""

from __future__ import annotations

import json
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.images.ledger.states import ItemState, StateTable, item_of, key_of, problem_fields, problem_from
from asyncsdk.images.outcome import Problem
from asyncsdk.models import Usage

tokens = st.none() | st.integers(0, 10**9)
usages = st.builds(Usage, input_tokens=tokens, output_tokens=tokens, total_tokens=tokens)
moderations = st.none() | st.just({"stage": "input", "categories": ["violence"]})
texts = st.lists(st.text()).map(tuple)
problems = st.builds(
    Problem, type=st.text(), message=st.text(), status_code=tokens, moderation=moderations, urls=texts, raw_files=texts
)
ended = st.builds(
    ItemState,
    status=st.sampled_from(["done", "failed", "refused", "uncertain"]),
    id=st.text(),
    at=st.floats(0, 4e9),
    files=st.lists(st.text()).map(tuple),
    usage=st.none() | usages,
    problem=st.none() | problems,
    n=st.integers(1, 10),
)


@given(ended)
def test_a_state_comes_out_as_it_went_in(state: ItemState) -> None:
    states = StateTable()
    states.put(key_of("a#0"), state)
    assert states.get(key_of("a#0")) == state
    assert list(states.items()) == [("a#0", state)]


@given(st.binary().map(lambda content: sha256(content).hexdigest()) | st.text(), st.sampled_from(["", "#0", "#1234"]))
def test_an_item_is_found_again_in_its_key(digest: str, ordinal: str) -> None:
    item = digest + ordinal
    assert item_of(key_of(item)) == item
    assert key_of(item) != key_of(f"{item}0")


def test_an_edit_has_one_state() -> None:
    states, key = StateTable(), key_of("a#0")
    done = ItemState("done", "a", 1.0)
    for state in (done, ItemState("sent", "a", 2.0, before=done), done, ItemState("failed", "a", 3.0)):
        states.put(key, state)
        assert (len(states), states.get(key)) == (1, state)
    states.drop(key)
    assert (len(states), states.get(key)) == (0, None)


@given(problems)
def test_a_problem_is_written_and_read_as_json(problem: Problem) -> None:
    assert problem_from(json.loads(json.dumps(problem_fields(problem)))) == problem


def test_a_problem_of_an_older_version_has_no_urls_and_one_without_any_is_written_as_before() -> None:
    older = {"type": "SaveError", "message": "full", "retryable": False}
    assert problem_from(older) == Problem(type="SaveError", message="full")
    assert problem_fields(Problem(type="SaveError", message="full")) == older
