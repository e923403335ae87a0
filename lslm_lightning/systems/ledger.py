"""Ledger of the cost of an endpoint, with a budget that is never exceeded."""

import math
from dataclasses import dataclass
from threading import Condition


class BudgetError(RuntimeError):
    """The cost of the next request could exceed the budget."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices, in `currency`, of a million tokens read and of a million tokens written."""

    input_per_million: float
    output_per_million: float
    currency: str = "USD"

    def __post_init__(self) -> None:
        for name in ("input_per_million", "output_per_million"):
            check_money(f"prices.{name}", getattr(self, name))

    def of(self, n_input: int, n_output: int) -> float:
        """Return the price of `n_input` tokens read and `n_output` tokens written."""
        return (n_input * self.input_per_million + n_output * self.output_per_million) / 1e6


def check_money(name: str, value: float) -> None:
    """Check that a price or budget is a finite number of at least 0.

    Args:
        name: name of the setting, for the message.

    Raises:
        ValueError: the value is negative, infinite or nan.
    """
    if not 0 <= value < math.inf:
        raise ValueError(f"{name}={value} must be a number of at least 0")


class Ledger:
    """Sums of the tokens and the money that requests of all threads use.

    The maximum price of a request is reserved before it is sent, and replaced by the true price
    afterwards. The budget can therefore not be exceeded by simultaneous requests.
    """

    def __init__(self, prices: Prices | None, budget: float | None) -> None:
        if budget is not None and prices is None:
            raise ValueError(
                f"budget={budget} needs prices: input_per_million and output_per_million, as the "
                "provider's price list has them"
            )
        if budget is not None:
            check_money("budget", budget)
        self.prices = prices
        self.budget = budget
        self.n_input = self.n_output = self.n_request = self.n_cached = self.n_lost = 0
        self.spent = self.reserved = 0.0
        self._changed = Condition()

    def reserve(self, n_input: int, n_output: int) -> float:
        """Reserve the price of a request and return it.

        If reservations of other requests leave too little money, wait until these requests end.

        Args:
            n_input: maximum number of tokens read.
            n_output: maximum number of tokens written.

        Raises:
            BudgetError: the budget does not suffice.
        """
        price = self.prices.of(n_input, n_output) if self.prices else 0.0
        with self._changed:
            while self.budget is not None and self.spent + self.reserved + price > self.budget:
                if self.reserved <= 0 or self.spent + price > self.budget:
                    currency = self.prices.currency if self.prices else ""
                    raise BudgetError(
                        f"budget={self.budget:g} {currency}: {self.spent:.4f} is spent, and the "
                        f"next request may cost {price:.4f}, so raise budget"
                    )
                self._changed.wait()
            self.reserved += price
        return price

    def enter(
        self,
        reserved: float,
        n_input: int,
        n_output: int,
        cached: bool = False,
        n_lost: int = 0,
    ) -> None:
        """Add the actual number of tokens of a request, and release the amount reserved for it.

        Args:
            reserved: amount that `reserve` returned; 0 for a cached answer.
            n_input: number of tokens read.
            n_output: number of tokens written.
            cached: whether the answer comes from the cache; it still counts at the price once paid.
            n_lost: number of requests that may be billed although no answer came.
        """
        with self._changed:
            self.reserved = max(0.0, self.reserved - reserved)
            self.n_input = self.n_input + n_input
            self.n_output = self.n_output + n_output
            self.n_request = self.n_request + (not cached)
            self.n_cached = self.n_cached + cached
            self.n_lost += n_lost
            self.spent += self.prices.of(n_input, n_output) if self.prices else 0.0
            self._changed.notify_all()
