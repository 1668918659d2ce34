"""`EditPlan`: what a run of edits would do and cost, before anything is sent."""

from __future__ import annotations

from attrs import define, field, frozen

from asyncsdk.error_details import LedgerDamage
from asyncsdk.errors import InvalidEditError
from asyncsdk.images.batch.requests import require_batchable
from asyncsdk.images.bulk.ended import EndedPage
from asyncsdk.images.bulk.intake import PreparedEdit, unsent
from asyncsdk.images.bulk.policy import named_in
from asyncsdk.images.costs.money import CostRange
from asyncsdk.images.costs.planned import PlannedCosts, PricesRead
from asyncsdk.images.outcome import EditOutcome


@frozen(kw_only=True)
class EditPlan:
    """What a run would do.

    Attributes:
        to_send: How many edits are to be sent.
        done: How many an earlier run did.
        uncertain: How many may have been paid by an earlier run, and would not be sent.
        refused: How many the server refused in an earlier run, and would not be sent.
        problems: The edits that can't be sent as they are, and those done before whose pictures are gone.
        input_images: The pictures of what would be sent, times `n`: what counts against the rate limit.
        minutes: How long they take at the given `images_per_minute`; None without it.
        damage: The damaged parts of the ledger. A run stops at them unless `accept_damage` is set.
        held_back: How many of `to_send` would not be sent, since a limit is reached before. For a limit in dollars each
            counts with the most that it may cost: fewer are held back as the others cost less.
        pictures: How many pictures are requested in what would be sent: `n` of each.
        with_other_fields: How many of what would be sent have pictures that were made with other fields, such as
            another prompt, and that would be moved aside.
        equal: How many of what would be sent have the same pictures and fields as another edit. Each is paid.
        named_in_redo: How many of what would be sent are named in `redo`.
        replaced: How many of `done` have pictures that were moved aside since, for those of another edit.
        batched: How many are in batches that have not ended, and would not be sent.
        cost: What the edits that would be sent cost, as far as their prices are known.
        batch_cost: The same in a batch; None where that is not known for one of their models.
        left_to_server: Which of "size" and "quality" some of them, or of those that a limit in dollars holds back,
            leave to the server: given, they narrow the range.
        unpriced: How many of what would be sent have a model whose price is not known, or an output that has none.
        unpriced_models: The names of these models; "" for one that is left to the server.
        prices: When the prices were read, and a warning if that is long ago.
        unknown_in_redo: The ids in `redo` that no edit has; none where `only` leaves out edits that may have them.
    """

    to_send: int
    done: int
    uncertain: int
    refused: int
    problems: tuple[EditOutcome, ...]
    input_images: int
    minutes: float | None
    damage: tuple[LedgerDamage, ...] = ()
    held_back: int = 0
    pictures: int = 0
    with_other_fields: int = 0
    equal: int = 0
    named_in_redo: int = 0
    replaced: int = 0
    batched: int = 0
    cost: CostRange | None = None
    batch_cost: CostRange | None = None
    left_to_server: tuple[str, ...] = ()
    unpriced: int = 0
    unpriced_models: tuple[str, ...] = ()
    prices: PricesRead | None = None
    unknown_in_redo: tuple[str, ...] = ()

    @property
    def sent(self) -> int:
        """How many edits would be sent."""
        return self.to_send - self.held_back


@define
class PlanBuilder:
    """Counts prepared edits, of which at most `allowed` would be sent, for at most `room` billionths of a dollar.

    `in_batches`: that is where they go. Of the ids in `redo` those are collected that an edit has.
    """

    allowed: int | None = None
    costs: PlannedCosts | None = None
    room: int | None = None
    in_batches: bool = False
    redo: frozenset[str] = frozenset()
    _known: set[str] = field(factory=set)
    _reserved: int = 0
    _is_full: bool = False
    _sent: int = 0
    _to_send: int = 0
    _counting: int = 0  # of these, those that do not count already
    _input_images: int = 0
    _pictures: int = 0
    _with_other_fields: int = 0
    _equal: int = 0
    _named_in_redo: int = 0
    _replaced: int = 0
    _earlier: dict[str, int] = field(factory=lambda: {"skipped": 0, "uncertain": 0, "refused": 0, "batched": 0})
    _problems: list[EditOutcome] = field(factory=list)

    def count(self, prepared: PreparedEdit | EditOutcome | None) -> None:
        """Add one edit; None is outside the run's filter."""
        if prepared is not None and (name := named_in(self.redo, prepared.edit, prepared.id)) is not None:
            self._known.add(name)
        if self.in_batches and isinstance(prepared, PreparedEdit):
            prepared = _batchable(prepared, self.costs)
        if isinstance(prepared, PreparedEdit):
            self._to_send += 1
            self._counting += not prepared.is_asked_again
            if self.allowed is None or prepared.is_asked_again or self._counting <= self.allowed:
                self._count_if_room(prepared)
        elif prepared is not None and (prepared.error is not None or prepared.is_gone):
            self._problems.append(prepared)
        elif prepared is not None:
            self._earlier[prepared.status] += 1
            self._replaced += prepared.is_replaced

    def count_page(self, page: EndedPage) -> None:
        """Add the edits of a page, which ended."""
        while (outcome := page.take()) is not None:
            self.count(outcome)

    def _count_if_room(self, prepared: PreparedEdit) -> None:
        costs, counts_already = self.costs, prepared.is_asked_again
        if costs is not None and self.room is not None and not counts_already:
            pricing, pictures = costs.pricing, prepared.loaded.images
            self._reserved += pricing.most(prepared.edit, pictures, batched=self.in_batches) or 0
            self._is_full = self._is_full or self._reserved > self.room
        if self._is_full and not counts_already:
            if costs is not None:
                costs.hold_back(prepared.edit)
            return
        if costs is not None:
            costs.add(prepared.edit, prepared.loaded.images)
        self._count_sent(prepared)

    def _count_sent(self, prepared: PreparedEdit) -> None:
        self._sent += 1
        self._input_images += prepared.edit.input_images
        self._pictures += prepared.edit.n or 1
        self._with_other_fields += prepared.moves_anothers
        self._equal += prepared.is_equal_to_another
        self._named_in_redo += prepared.is_in_redo

    def plan(self, images_per_minute: float | None, *, damage: tuple[LedgerDamage, ...] = ()) -> EditPlan:
        """The plan of all that were counted."""
        return EditPlan(
            to_send=self._to_send,
            done=self._earlier["skipped"],
            uncertain=self._earlier["uncertain"],
            refused=self._earlier["refused"],
            problems=tuple(self._problems),
            input_images=self._input_images,
            minutes=self._input_images / images_per_minute if images_per_minute else None,
            damage=damage,
            held_back=self._to_send - self._sent,
            pictures=self._pictures,
            with_other_fields=self._with_other_fields,
            equal=self._equal,
            named_in_redo=self._named_in_redo,
            replaced=self._replaced,
            batched=self._earlier["batched"],
            unknown_in_redo=tuple(sorted(self.redo - self._known)),
            **({} if self.costs is None else self.costs.fields()),
        )


def _batchable(prepared: PreparedEdit, costs: PlannedCosts | None) -> PreparedEdit | EditOutcome:
    """The edit, or how it would end where it can't be in a batch, or has no price that a limit needs."""
    try:
        require_batchable(prepared.edit)
    except InvalidEditError as error:
        return unsent(prepared.edit, prepared.id, error)
    refusal = None if costs is None else costs.pricing.refusal(prepared.edit)
    return prepared if refusal is None else unsent(prepared.edit, prepared.id, refusal)
