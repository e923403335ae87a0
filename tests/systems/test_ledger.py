"""A budget is never passed, whatever is under way."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from lslm_lightning.systems.ledger import BudgetError, Ledger, Prices

PRICES = Prices(input_per_million=1e6, output_per_million=2e6)  # 1 a token read, 2 a token written


def test_prices():
    assert PRICES.of(3, 4) == 11
    assert Prices(0.5, 1.5).of(1_000_000, 2_000_000) == pytest.approx(3.5)


def test_what_could_pass_the_budget_is_not_begun():
    ledger = Ledger(PRICES, budget=10)
    ledger.enter(ledger.reserve(2, 2), 2, 1)
    assert ledger.spent == 4
    with pytest.raises(BudgetError, match="budget=10"):
        ledger.reserve(1, 3)
    ledger.enter(ledger.reserve(2, 2), 2, 2)
    assert ledger.spent == 10


def test_threads_wait_for_each_other_rather_than_pass_it():
    ledger = Ledger(PRICES, budget=50)

    def work(_):
        try:
            price = ledger.reserve(4, 3)  # at most 10
        except BudgetError:
            return 0
        assert ledger.spent + ledger.reserved <= 50
        ledger.enter(price, 2, 1)
        return 1

    with ThreadPoolExecutor(8) as pool:
        done = sum(pool.map(work, range(100)))
    assert ledger.spent == 4 * done <= 50
    assert done == 11  # a twelfth could come to 54
    assert ledger.reserved == 0


def test_a_budget_without_prices_is_refused():
    with pytest.raises(ValueError, match="prices"):
        Ledger(None, 1.0)


@pytest.mark.parametrize("wrong", [-1.0, -1e-300, math.nan, math.inf, -math.inf])
def test_prices_and_budgets_with_which_no_sum_makes_sense_are_refused(wrong):
    with pytest.raises(
        ValueError, match=f"prices.input_per_million={wrong} must be a number of at least 0"
    ):
        Prices(wrong, 1.0)
    with pytest.raises(ValueError, match=f"prices.output_per_million={wrong} must be"):
        Prices(1.0, wrong)
    with pytest.raises(ValueError, match=f"budget={wrong} must be"):
        Ledger(PRICES, wrong)
    assert Ledger(Prices(0.0, 0.0), 0.0).reserve(1, 1) == 0, "free is a price"
