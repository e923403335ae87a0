"""Random phrases in several languages, formatted by Babel: dates, times, numbers, currencies,
units, territories, languages and lists.

A phrase is a function of a locale: calling it with several locales gives translations of each
other.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Literal

from babel import Locale
from babel.dates import (
    format_date,
    format_datetime,
    format_interval,
    format_skeleton,
    format_time,
    format_timedelta,
)
from babel.lists import format_list
from babel.numbers import format_currency, format_decimal, format_percent
from babel.units import format_unit

Phrase = Callable[[Locale], str]

CURRENCIES = [
    "AUD",
    "BRL",
    "CAD",
    "CHF",
    "CNY",
    "CZK",
    "DKK",
    "EGP",
    "EUR",
    "GBP",
    "HKD",
    "HUF",
    "IDR",
    "ILS",
    "INR",
    "JPY",
    "KRW",
    "MXN",
    "MYR",
    "NOK",
    "NZD",
    "PLN",
    "RUB",
    "SEK",
    "SGD",
    "THB",
    "TRY",
    "TWD",
    "USD",
    "ZAR",
]
UNITS = [
    "length-kilometer",
    "length-meter",
    "length-centimeter",
    "length-mile",
    "length-foot",
    "length-inch",
    "mass-kilogram",
    "mass-gram",
    "mass-ton",
    "mass-pound",
    "mass-ounce",
    "duration-second",
    "duration-minute",
    "duration-hour",
    "duration-day",
    "duration-week",
    "duration-month",
    "duration-year",
    "volume-liter",
    "volume-milliliter",
    "volume-gallon",
    "volume-cup",
    "volume-cubic-meter",
    "area-square-meter",
    "area-square-kilometer",
    "area-hectare",
    "area-acre",
    "speed-kilometer-per-hour",
    "speed-meter-per-second",
    "speed-mile-per-hour",
    "temperature-celsius",
    "temperature-fahrenheit",
    "energy-kilowatt-hour",
    "energy-calorie",
    "energy-joule",
    "power-watt",
    "power-kilowatt",
    "electric-volt",
    "electric-ampere",
    "frequency-hertz",
    "pressure-hectopascal",
    "digital-byte",
    "digital-megabyte",
    "digital-gigabyte",
    "angle-degree",
    "consumption-liter-per-100-kilometer",
]
NO_COUNTRY = {"EU", "EZ", "QO", "UN", "XA", "XB", "ZZ"}


class Phrases:
    """Generator of random phrases; it uses territories and languages that have a name in every
    locale.
    """

    def __init__(self, locales: list[Locale], random: Random) -> None:
        self.random = random
        self.territories = _common_codes([locale.territories for locale in locales], NO_COUNTRY)
        self.languages = _common_codes([locale.languages for locale in locales], set())

    def names(self) -> list[Phrase]:
        """Return a phrase for every single territory and language, and for 1 of every unit and
        currency.
        """
        return [
            *(self._territory(code) for code in self.territories),
            *(self._language(code) for code in self.languages),
            *(self._unit(name, 1) for name in UNITS),
            *(self._money(code, 1) for code in CURRENCIES),
        ]

    def draw(self) -> Phrase:
        """Return a phrase of a random kind."""
        kinds = [
            self._date,
            self._moment,
            self._period,
            self._number,
            self._amount,
            self._measure,
            self._measures,
            self._territory_list,
            self._language_list,
        ]
        return self.random.choices(kinds, weights=[5, 3, 2, 3, 3, 4, 3, 5, 4])[0]()

    def _date(self) -> Phrase:
        day = self._day()
        form = self.random.choice(["full", "long", "medium", "yMMMM", "MMMEd", "MMMMd"])
        if form in ("full", "long", "medium"):
            return lambda locale: format_date(day, form, locale)
        return lambda locale: format_skeleton(form, day, locale=locale)

    def _moment(self) -> Phrase:
        moment = datetime.combine(self._day(), datetime.min.time()) + timedelta(
            seconds=self.random.randrange(86400)
        )
        form = self.random.choice(["medium", "short", "time"])
        if form == "time":
            return lambda locale: format_time(moment, "medium", locale=locale)
        return lambda locale: format_datetime(moment, form, locale=locale)

    def _period(self) -> Phrase:
        if self.random.random() < 0.3:
            unit = self.random.choice(["minutes", "hours", "days", "weeks"])
            sign = self.random.choice([-1, 1])
            delta = timedelta(**{unit: sign * self.random.randrange(1, 60)})
            return lambda locale: format_timedelta(
                delta, threshold=100, granularity="minute", add_direction=True, locale=locale
            )
        start = self._day()
        end = start + timedelta(days=self.random.randrange(1, 200))
        return lambda locale: format_interval(start, end, "yMMMd", locale=locale)

    def _number(self) -> Phrase:
        value = self.random.choice([-1, 1, 1, 1]) * self._decimal(8, self.random.randrange(3))
        if self.random.random() < 0.4:
            return lambda locale: format_percent(
                value.scaleb(-4), locale=locale, decimal_quantization=False
            )
        return lambda locale: format_decimal(value, locale=locale)

    def _amount(self) -> Phrase:
        return self._money(
            self.random.choice(CURRENCIES), self._decimal(6, self.random.choice([0, 2]))
        )

    def _measure(self) -> Phrase:
        return self._unit(self.random.choice(UNITS), self._count())

    def _measures(self) -> Phrase:
        return self._list(
            [
                self._unit(name, self._count())
                for name in self.random.sample(UNITS, self.random.choice([2, 3]))
            ]
        )

    def _territory_list(self) -> Phrase:
        return self._list(
            [
                self._territory(code)
                for code in self.random.sample(self.territories, self.random.choice([2, 3, 4]))
            ]
        )

    def _language_list(self) -> Phrase:
        return self._list(
            [
                self._language(code)
                for code in self.random.sample(self.languages, self.random.choice([2, 3, 4]))
            ]
        )

    def _list(self, parts: list[Phrase]) -> Phrase:
        styles: list[Literal["standard", "or"]] = ["standard", "or"]
        style = self.random.choice(styles)
        return lambda locale: format_list([part(locale) for part in parts], style, locale=locale)

    def _day(self) -> date:
        return date(1950, 1, 1) + timedelta(days=self.random.randrange(36525))

    def _count(self) -> Decimal:
        return self._decimal(3, self.random.choice([0, 0, 1]))

    def _decimal(self, max_digits: int, n_decimal: int) -> Decimal:
        """Return a random number from 1 to 10 ** `max_digits` whose logarithm is uniformly
        distributed.

        Args:
            n_decimal: number of digits after the decimal point.
        """
        exponent = self.random.uniform(0, max_digits) + n_decimal
        return Decimal(int(10**exponent)).scaleb(-n_decimal)

    def _territory(self, code: str) -> Phrase:
        return lambda locale: locale.territories[code]

    def _language(self, code: str) -> Phrase:
        return lambda locale: locale.languages[code]

    def _unit(self, name: str, count: Decimal | int) -> Phrase:
        return lambda locale: _format_unit(count, name, locale)

    def _money(self, code: str, amount: Decimal | int) -> Phrase:
        return lambda locale: format_currency(amount, code, format_type="name", locale=locale)


def _common_codes(names: Iterable[Mapping[str, str]], without: set[str]) -> list[str]:
    """Return the sorted two-letter codes that have a name in every mapping.

    Args:
        names: code -> name, one mapping per locale.
        without: codes to exclude.
    """
    common = set.intersection(*map(set, names)) - without
    return sorted(code for code in common if len(code) == 2 and code.isalpha())


def _format_unit(count: Decimal | int, unit: str, locale: Locale) -> str:
    """Return a count with the long name of its unit, or the short name if Babel has no long one.

    Without a long name Babel writes the identifier of the unit.
    """
    text = format_unit(count, unit, "long", locale=locale)
    return format_unit(count, unit, "short", locale=locale) if unit in text else text
