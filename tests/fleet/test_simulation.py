"""The protocol of a shared ledger holds in sequences of anything; broken on purpose it does not, and that is found."""

from __future__ import annotations

from typing import get_args

import pytest

from tests.fleet.simulation import Broken, search


def test_nothing_is_paid_twice_and_nothing_paid_is_lost_in_any_sequence() -> None:
    assert search(600) == []


@pytest.mark.parametrize("broken", get_args(Broken))
def test_a_rule_that_is_broken_is_found(broken: Broken) -> None:
    assert search(3000, broken=broken) != []
