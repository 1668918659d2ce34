"""What edits cost, in words: before they are sent, after, and in a ledger (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asyncsdk.images.costs.money import nanos_of, shown

if TYPE_CHECKING:
    from asyncsdk.images.bulk.preview import EditPlan

MOST_NAMED = 5


def cost_lines(plan: EditPlan) -> list[str]:
    """What it will cost: `It costs about $310 to $340, as a batch half (prices of 2026-11-29).`; what has no price."""
    lines = []
    if plan.cost is not None:
        read = "" if plan.prices is None else f" (prices of {plan.prices.read})"
        lines.append(f"It costs {plan.cost}, {_as_batch(plan)}{read}.")
    if plan.unpriced:
        names = [name or "that which the server chooses" for name in plan.unpriced_models[:MOST_NAMED]]
        has = "has" if plan.unpriced == 1 else "have"
        lines.append(
            f"{plan.unpriced:,} of these edits {has} a model or an output without a known price, and only their tokens "
            f"can be counted: {', '.join(names)}. Prices of your own: --prices FILE"
        )
    return lines


def _as_batch(plan: EditPlan) -> str:
    if plan.batch_cost is None or plan.cost is None:
        return "as a batch that is not known"
    return "as a batch half" if plan.batch_cost == plan.cost.times(0.5) else f"as a batch {plan.batch_cost}"


def spent(dollars: float, unpriced: int, prices: str | None) -> list[str]:
    """What a run cost: `It cost $12.40 by the prices of 2026-11-29.`; tokens without a price are named."""
    rest = f"{unpriced:,} tokens have no known price"
    if not dollars:
        return [f"{rest}: what they cost is not known."] if unpriced and prices else []
    more = f" {rest}, and are not in that." if unpriced else ""
    return [f"It cost {shown(nanos_of(dollars))} by the prices of {prices}.{more}"]


def spent_in(ledger: Mapping[str, Any]) -> str:
    """What a ledger counts: `, $12.40`; what may be paid counts with the most that it may cost."""
    amount = f", {shown(ledger['cost'], up=True)}" if ledger["cost"] else ""
    return amount + (f", {ledger['unpriced']:,} tokens of them without a known price" if ledger["unpriced"] else "")
