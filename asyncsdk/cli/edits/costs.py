"""What edits cost, in words: before they are sent, after, and in a ledger (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asyncsdk.images.costs.money import nanos_of, shown

if TYPE_CHECKING:
    from asyncsdk.images.bulk.preview import EditPlan

MOST_NAMED = 5


def cost_lines(plan: EditPlan, *, in_batches: bool = False) -> list[str]:
    """What it will cost: `It costs about $310 to $340, as a batch half (prices of 2026-11-29).`; what has no price."""
    lines = []
    if plan.cost is not None:
        read = "" if plan.prices is None else f" (prices of {plan.prices.read})"
        lines.append(f"It costs {_in_batches(plan) if in_batches else f'{plan.cost}, {_as_batch(plan)}'}{read}.")
    if plan.left_to_server:
        options = " and ".join(f"--{name}" for name in plan.left_to_server)
        gain = "to have more sent" if plan.cost is None else "for a narrower range"
        lines.append(f"Give {options} {gain}: else all that the server may choose counts.")
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
    return "as a batch half" if _is_half(plan) else f"as a batch {plan.batch_cost}"


def _in_batches(plan: EditPlan) -> str:
    if plan.batch_cost is None or plan.cost is None:
        return f"{plan.cost} directly; as a batch that is not known"
    return f"{plan.batch_cost} in batches, {'twice that directly' if _is_half(plan) else f'directly {plan.cost}'}"


def at_half(plan: EditPlan | None) -> str:
    """`, for half the price` where that is known of all edits that would be sent, else nothing."""
    return ", for half the price" if plan is not None and not plan.unpriced and _is_half(plan) else ""


def _is_half(plan: EditPlan) -> bool:
    return plan.cost is not None and plan.batch_cost == plan.cost.times(0.5)


def spent(dollars: float, unpriced: int, prices: str | None) -> list[str]:
    """What a run cost: `It cost $12.40 by the prices of 2026-11-29.`; tokens without a price are named."""
    rest = f"{unpriced:,} tokens have no known price"
    if not dollars:
        return [f"{rest}: what they cost is not known."] if unpriced and prices else []
    more = f" {rest}, and are not in that." if unpriced else ""
    return [f"It cost {shown(nanos_of(dollars))} by the prices of {prices}.{more}"]


def spent_in(ledger: Mapping[str, Any]) -> str:
    """What a ledger counts: `: $12.40 paid, and up to $0.21 for what is uncertain, in flight or in batches`."""
    unpriced = f", {ledger['unpriced']:,} tokens of them without a known price" if ledger["unpriced"] else ""
    if not ledger["cost"]:
        return unpriced
    paid, possible, earlier = ledger["cost_paid"], ledger["cost_possible"], earlier_in(ledger)
    amounts = [
        f"{shown(paid)} paid",
        *([f"up to {shown(possible, up=True)} for what is uncertain, in flight or in batches"] if possible else []),
        *([f"up to {shown(earlier, up=True)} for earlier tries"] if earlier else []),
    ]
    return f"{unpriced}: {', and '.join(amounts)}"


def earlier_in(ledger: Mapping[str, Any]) -> int:
    """What earlier tries of edits that were sent again cost at most: what counts beside their last ones."""
    return max(0, int(ledger["cost"] - ledger["cost_paid"] - ledger["cost_possible"]))
