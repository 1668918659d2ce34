"""The table of prices, as data with a source and a date for each model, and what a usage costs by it (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

from attrs import field, frozen

from asyncsdk.errors import ConfigurationError
from asyncsdk.images.costs.money import nanos_of, part_of
from asyncsdk.models import TokenDetails, Usage

OLD_AFTER = 90  # days
PER_TOKENS = 10**6

InputRule = Literal["tiles", "patches"]
Bounds = tuple[int, int]


@frozen
class Rates:
    """What a token of one kind costs, in billionths of a dollar; `output`: None where it costs as a picture does."""

    input: int
    cached: int
    output: int | None = None


@frozen
class ImageRates(Rates):
    """What a token of a picture costs, in billionths of a dollar."""

    output: int


@frozen(kw_only=True)
class TokenRules:
    """How many tokens pictures are, as documented for a model.

    Attributes:
        input: How an input picture is counted: in `tiles` of 512 pixels or `patches` of 32.
        factors: For output of any size: a factor for each quality.
        bounds: The least and the greatest factor, where those of the qualities are not known.
        sizes: For output of fixed sizes: the least and the most tokens for each quality.
        text: The most tokens of text that are paid beside each picture, though they are not returned.
        sources: Where that is documented.
    """

    input: InputRule
    factors: Mapping[str, int] | None = None
    bounds: Bounds | None = None
    sizes: Mapping[str, Mapping[str, Bounds]] | None = None
    text: int = 0
    sources: tuple[str, ...] = ()


@frozen(kw_only=True)
class ModelPrice:
    """What a model costs.

    Attributes:
        text: The prompt, and text that is returned.
        image: Pictures that are sent, and those that are made.
        batch: The part of the price that the same edit costs in a batch; None where that is not known.
        tokens: How many tokens an edit is; None where that is not documented.
        sources: The addresses of the documents that have the prices.
        date: When that was read.
    """

    text: Rates
    image: ImageRates
    batch: float | None
    tokens: TokenRules | None
    sources: tuple[str, ...]
    date: date

    def cost(self, usage: Usage, *, batched: bool = False) -> int:
        """What a usage costs, in billionths of a dollar; where it does not say what was text, rather too much.

        Args:
            usage: The tokens of an edit.
            batched: Whether it was in a batch.
        """
        total = _input_cost(self, usage) + _output_cost(self, usage)
        return part_of(total, self.batch) if batched and self.batch is not None else total

    @property
    def written(self) -> int:
        """What a token of text costs that is returned, or paid without being returned."""
        return self.image.output if self.text.output is None else self.text.output

    @property
    def dearest(self) -> int:
        """What its dearest token costs."""
        return max(self.text.input, self.image.input, self.image.output, self.written)


@frozen
class PriceTable:
    """The prices of all models that are known, by name.

    Attributes:
        models: The price of each model, by its name.
        origin: Where the table is from, for people.
        entries: What it was read from.
    """

    models: Mapping[str, ModelPrice] = field(repr=False)
    origin: str = "the package"
    entries: Mapping[str, Any] = field(factory=dict, repr=False, eq=False)

    def of(self, model: object) -> ModelPrice | None:
        """The price of a model; None for one that is not known, and where the server chooses.

        Args:
            model: Its name, as an edit has it.
        """
        return self.models.get(model) if isinstance(model, str) else None

    def cost(self, model: object, usage: Usage | None, *, batched: bool = False) -> int | None:
        """What a usage costs, in billionths of a dollar; None where the model's price is not known.

        Or where the usage is not, as a sum of tokens alone: they are not free.

        Args:
            model: Its name, as an edit has it.
            usage: The tokens of an edit.
            batched: Whether it was in a batch.
        """
        price = self.of(model)
        if price is None or usage is None or usage.input_tokens is None or usage.output_tokens is None:
            return None
        return price.cost(usage, batched=batched)

    @property
    def read(self) -> date | None:
        """When the oldest of its sources was read; None for an empty table."""
        return min((price.date for price in self.models.values()), default=None)

    def age(self, today: date) -> int:
        """How many days ago its oldest source was read.

        Args:
            today: The day to which it is counted.
        """
        return 0 if self.read is None else (today - self.read).days

    def warning(self, today: date) -> str | None:
        """What to say of a table that is old; None of one that is not.

        Args:
            today: As for `age`.
        """
        if self.age(today) <= OLD_AFTER:
            return None
        return (
            f"the prices from {self.origin} were read on {self.read}, {self.age(today)} days ago: what edits cost may "
            "have changed. Give newer ones with prices= (see: asyncsdk prices)."
        )

    @property
    def dearest(self) -> int:
        """What the dearest token of all models costs."""
        return max((price.dearest for price in self.models.values()), default=0)


def read_table(text: str | bytes, origin: str) -> PriceTable:
    """Read a table from JSON, in the form of the package's own. Raises ConfigurationError."""
    try:
        models = dict(_in_our_units(json.loads(text))["models"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(origin, f"it is not a JSON object with `models` in this form ({error})") from error
    table: dict[str, ModelPrice] = {}
    for name, entry in models.items():
        try:
            price = _model(entry)
            names = (name, *map(str, entry.get("snapshots", ())))
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
            raise _unreadable(origin, f"{name}: {type(error).__name__}: {error}") from error
        table |= dict.fromkeys(names, price)
    return PriceTable(table, origin, models)


def _in_our_units(whole: Mapping[str, Any]) -> Mapping[str, Any]:
    if (whole.get("currency", "USD"), whole.get("per_tokens", PER_TOKENS)) != ("USD", PER_TOKENS):
        raise ValueError("prices are in USD for 1,000,000 tokens")
    return whole


def _unreadable(origin: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f"the prices in {origin} can't be read: {reason}. Nothing was sent.")


def _model(entry: Mapping[str, Any]) -> ModelPrice:
    batch = entry.get("batch")
    if batch is not None and not 0 < float(batch) <= 1:
        raise ValueError(f"batch is {batch}, not a part of the price, such as 0.5")
    if not entry["sources"] or isinstance(entry["sources"], str):
        raise ValueError("sources is not a list of addresses")
    if entry["image"].get("output") is None:
        raise ValueError("image has no price for output")
    return ModelPrice(
        text=Rates(**_rates(entry["text"])),
        image=ImageRates(**_rates(entry["image"])),
        batch=None if batch is None else float(batch),
        tokens=_rules(entry["tokens"]) if entry.get("tokens") else None,
        sources=tuple(map(str, entry["sources"])),
        date=date.fromisoformat(entry["date"]),
    )


def _rates(entry: Mapping[str, Any]) -> dict[str, int]:
    return {name: _rate(value) for name, value in {"cached": entry["input"], **entry}.items() if value is not None}


def _rate(dollars: Any) -> int:
    if not float(dollars) >= 0:  # so that what is not a number is refused too
        raise ValueError(f"{dollars} is not a price")
    return -(-nanos_of(dollars) // PER_TOKENS)  # rather too much


def _rules(entry: Mapping[str, Any]) -> TokenRules:
    if entry["input"] not in {"tiles", "patches"}:
        raise ValueError(f"{entry['input']!r} is not a rule for input: tiles, patches")
    factors, sizes = entry.get("factors"), entry.get("sizes")
    if not factors and not (sizes and all(sizes.values())):
        raise ValueError("tokens has neither factors nor sizes for the pictures that are made")
    return TokenRules(
        input=entry["input"],
        factors={str(name): int(each) for name, each in factors.items()} if isinstance(factors, Mapping) else None,
        bounds=_bounds(factors) if isinstance(factors, list) else None,
        sizes=None if sizes is None else {size: {q: _bounds(n) for q, n in of.items()} for size, of in sizes.items()},
        text=int(entry.get("text", 0)),
        sources=tuple(map(str, entry.get("sources", ()))),
    )


def _bounds(value: Any) -> Bounds:
    low, high = (value, value) if isinstance(value, int) else sorted(map(int, value))
    if low < 0:
        raise ValueError(f"{low} is not a number of tokens")
    return low, high


def _input_cost(price: ModelPrice, usage: Usage) -> int:
    details = usage.input_tokens_details or TokenDetails()
    text = details.text_tokens or 0
    image = max((usage.input_tokens or 0) - text, details.image_tokens or 0)
    cached = _cached(details)
    of_text = min(text, cached.text_tokens or 0)
    of_image = min(image, cached.image_tokens or 0)
    return (
        (text - of_text) * price.text.input
        + of_text * price.text.cached
        + (image - of_image) * price.image.input
        + of_image * price.image.cached
    )


def _cached(details: TokenDetails) -> TokenDetails:
    """What of the input was cached: of text first, which saves least, where it is not said of what kind it was."""
    kinds, count = details.extra.get("cached_tokens_details"), details.extra.get("cached_tokens")
    if isinstance(kinds, Mapping):
        return TokenDetails(
            image_tokens=_count(kinds.get("image_tokens")), text_tokens=_count(kinds.get("text_tokens"))
        )
    text = min(_count(count), details.text_tokens or 0)
    return TokenDetails(image_tokens=_count(count) - text, text_tokens=text)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _output_cost(price: ModelPrice, usage: Usage) -> int:
    details = usage.output_tokens_details or TokenDetails()
    text = details.text_tokens or 0
    image = max((usage.output_tokens or 0) - text, details.image_tokens or 0)
    return text * price.written + image * price.image.output
