"""What a run would do, in words: for --dry-run, and for what is asked before many edits are sent (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import field, frozen

from asyncsdk.cli import units
from asyncsdk.cli.edits.costs import at_half, cost_lines
from asyncsdk.cli.edits.messages import MOST_NAMED, Summary, left_out_in_all, listed, replaced_since, unknown_in_redo
from asyncsdk.cli.edits.moment import counted
from asyncsdk.counts import are, were

if TYPE_CHECKING:
    from asyncsdk.images.bulk.preview import EditPlan

UPLOADS_PER_MINUTE = 1_000  # of the API's limits for files
_CONTINUE = "Continue? [y/N] "


@frozen(kw_only=True)
class Forecast:
    """What is known of a run before it begins.

    `edits` are at most sent, with `pictures`. `plan` is the outcome of a check of all rows, None if there was none.
    `problems` counts the rows that can't be sent as they are, and `named` are the first of them. `limit` names the
    options that hold edits back; `limits_cost`: one of them is in dollars. `replaced` is the directory that older
    pictures are moved to. `redoes`: --redo is given, and others than it names are sent too. `batches` are how many they
    make at most; None where they are sent directly. `unbatchable` counts the rows that can't be in one, by why.
    """

    edits: int
    pictures: int
    plan: EditPlan | None = None
    problems: Summary
    named: Sequence[str] = ()
    not_pictures: int = 0
    results: int = 0
    limit: str = ""
    limits_cost: bool = False
    replaced: str = ""
    redoes: bool = False
    batches: int | None = None
    unbatchable: Mapping[str, int] = field(factory=dict)


def limit_of(max_edits: int | None, max_tokens: int | None, max_cost: float | None = None) -> str:
    """The options that may hold edits back, as they are typed."""
    given = {"--max-edits": max_edits, "--max-tokens": max_tokens, "--max-cost": max_cost}
    return " and ".join(f"{name} {value:.10g}" for name, value in given.items() if value is not None)


def plan_lines(plan: EditPlan, forecast: Forecast, *, images_per_minute: float | None = None) -> str:
    """What a run would do: `184 to send, 112 done before, 5 refused (3 HEIC, 2 too large); about 12 min at …`."""
    held = f", of which {forecast.limit} lets {_at_least(forecast)}{plan.sent:,} be sent" if plan.held_back else ""
    facts = [f"{plan.to_send:,} to send{held}", *_not_sent(plan, forecast)]
    time = ""
    if plan.minutes and images_per_minute is not None:
        time = f"; about {units.duration(plan.minutes * 60)} at {images_per_minute:g} images a minute"
    lines = [f"{', '.join(facts)}{time}."]
    if forecast.batches is not None:
        lines.append(_as_batches(forecast.batches, plan))
    elif plan.input_images != plan.sent:
        lines.append(f"They count as {plan.input_images:,} images against the rate limit: pictures, times n.")
    lines += cost_lines(plan, in_batches=forecast.batches is not None)
    lines += _remarks(plan, forecast)
    if plan.sent and images_per_minute is None and forecast.batches is None:
        lines.append("For an estimate of the time, give your rate limit with --images-per-minute N.")
    return "\n".join([*lines, *left_out_in_all(forecast.not_pictures, forecast.results)])


def question(forecast: Forecast) -> str:
    """What a person is asked before many edits are sent."""
    plan, rest = forecast.plan, [*_problems(forecast), *left_out_in_all(forecast.not_pictures, forecast.results)]
    least, most = ("At least ", "at most ") if _at_least(forecast) else ("", "")
    half = at_half(plan)
    how = f" in batches{half}{half and ','}" if forecast.batches else ""
    amount = f"{_amount(forecast.edits, forecast.pictures)} will be sent{how} and paid"
    if plan is None:
        first = f"Up to {amount}."
    else:
        held = f" ({forecast.limit} holds {most}{plan.held_back:,} back)" if plan.held_back else ""
        not_sent = ", ".join(_not_sent(plan, forecast))
        first = f"{least}{amount}{held}.{f' Not sent: {not_sent}.' if not_sent else ''}"
        rest += [*cost_lines(plan, in_batches=forecast.batches is not None), *_remarks(plan, forecast)]
    return "\n  ".join([first, *rest, _CONTINUE]) if rest else f"{first} {_CONTINUE}"


def _at_least(forecast: Forecast) -> str:
    """`at least ` where edits are held back that have room once others cost less than the most that they may."""
    plan = forecast.plan
    is_open = plan is not None and plan.held_back and plan.sent and forecast.limits_cost
    return "at least " if is_open else ""


def _as_batches(batches: int, plan: EditPlan) -> str:
    if not plan.sent or not batches:
        return "Nothing new goes into batches."
    made = f"They make {'1 batch' if batches == 1 else f'at most {batches:,} batches'}{at_half(plan)}"
    minutes = plan.sent / UPLOADS_PER_MINUTE
    takes = f", which takes {units.duration(minutes * 60)} at least" if minutes >= 2 else ""
    return f"{made}. Each picture is uploaded once before{takes}; the server then has a day for them."


def _amount(edits: int, pictures: int) -> str:
    of_them = "" if pictures == edits else f", {units.counted(pictures, 'picture')},"
    return f"{units.counted(edits, 'edit')}{of_them}"


def _not_sent(plan: EditPlan, forecast: Forecast) -> list[str]:
    problems = forecast.problems
    before = {"in batches": plan.batched, "refused before": plan.refused, "uncertain": plan.uncertain}
    return [
        *counted({"skipped": plan.done}, {"skipped": replaced_since(plan.replaced, forecast.replaced)}),
        *(f"{count:,} {words}" for words, count in before.items() if count),
        *counted(problems.counts, {"refused": listed(problems.reasons)}),
    ]


def _problems(forecast: Forecast) -> list[str]:
    """The first of what can't be sent, by name."""
    count = forecast.problems.counts.total()
    more = f" and {count - len(forecast.named):,} more" if count > len(forecast.named) else ""
    return [f"Can't be sent: {', '.join(forecast.named)}{more}."] if forecast.named else []


def _remarks(plan: EditPlan, forecast: Forecast) -> list[str]:
    """What may surprise in the edits that would be sent."""
    lines = []
    if other := plan.with_other_fields:
        lines.append(
            f"{other:,} of these {were(other)} done before with another prompt or other fields: "
            f"their pictures will be moved to {forecast.replaced}."
        )
    if forecast.redoes and plan.with_other_fields and plan.named_in_redo < plan.sent:
        lines.append(f"--redo names {plan.named_in_redo:,} of these; to send only them: --only redo")
    if unknown := unknown_in_redo(plan.unknown_in_redo):
        lines.append(unknown)
    if plan.equal:
        lines.append(f"{plan.equal:,} {are(plan.equal)} equal to another: each is sent and paid.")
    for why, count in forecast.unbatchable.items():
        lines.append(f"{count:,} can't be in a batch, and {are(count)} refused: {why}")
    return lines


def most_named(names: Sequence[str]) -> Sequence[str]:
    """The first of many names."""
    return names[:MOST_NAMED]
