"""Checks of numbers that carry a check digit or a date: identity numbers, payment cards, IBANs."""

from datetime import date

# Source: GB/T 2260, codes of provinces; 81 to 83 are on residence permits of Hong Kong, Macao and
# Taiwan residents.
PROVINCES = frozenset(
    [
        *("11", "12", "13", "14", "15", "21", "22", "23", "31", "32", "33", "34", "35", "36", "37"),
        *("41", "42", "43", "44", "45", "46", "50", "51", "52", "53", "54", "61", "62", "63", "64"),
        *("65", "71", "81", "82", "83"),
    ]
)
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643: 2 ** (17 - i) mod 11
CHECK_CHARACTERS = "10X98765432"
EARLIEST = 1900  # year of birth

# Lengths of payment card numbers by the range of their first digits. Source: ISO/IEC 7812 issuer
# ranges as the networks publish them.
CARD_RANGES = (
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("6011", "6011", (16, 19)),  # Discover
    ("644", "659", (16, 19)),
    ("3528", "3589", (16,)),  # JCB
    ("300", "305", (14,)),  # Diners Club
    ("36", "36", (14,)),
    ("38", "39", (14,)),
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
    ("2200", "2204", (16,)),  # Mir
    ("6759", "6763", (16, 18, 19)),  # Maestro
    ("5018", "5038", (16, 18, 19)),
)

# Countries by the length of their IBANs. Source: SWIFT IBAN registry, release 100.
COUNTRIES_BY_LENGTH = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
IBAN_LENGTHS = {
    country: length
    for length, countries in COUNTRIES_BY_LENGTH.items()
    for country in countries.split()
}


def passes_luhn(digits: str) -> bool:
    """Return whether the last digit is the check digit of the others by Luhn's algorithm
    (ISO/IEC 7812-1).
    """
    total = 0
    for position, digit in enumerate(reversed(digits)):
        n = int(digit) * (1 + position % 2)
        total += n - 9 if n > 9 else n
    return total % 10 == 0


def is_card_number(digits: str) -> bool:
    """Return whether digits have the first digits and the length of a payment card, and pass
    Luhn's check.
    """
    is_issued = any(
        low <= digits[: len(low)] <= high and len(digits) in lengths
        for low, high, lengths in CARD_RANGES
    )
    return is_issued and len(set(digits)) > 1 and passes_luhn(digits)


def is_iban(text: str) -> bool:
    """Return whether a text without spaces is an IBAN: the length of its country, and a remainder
    of 1 modulo 97 (ISO 13616).
    """
    if IBAN_LENGTHS.get(text[:2]) != len(text):
        return False
    return int("".join(str(int(letter, 36)) for letter in text[4:] + text[:4])) % 97 == 1


def is_resident_identity(number: str) -> bool:
    """Return whether a text is a number of China's resident identity cards: 18 characters with the
    check character of ISO 7064 MOD 11-2 (GB 11643), or the 15 digits that were issued until 1999.
    """
    if number[:2] not in PROVINCES:
        return False
    if len(number) == 15:
        return is_date(f"19{number[6:12]}") and number[2:4] != "00"
    if len(number) != 18 or not is_date(number[6:14]):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number[:17], WEIGHTS, strict=True))
    return CHECK_CHARACTERS[total % 11] == number[17].upper()


def is_social_security(digits: str) -> bool:
    """Return whether nine digits can be a US social security number: no part is zero, and the first
    is neither 666 nor above 899.
    """
    area = digits[:3]
    return (
        area not in ("000", "666") and area < "900" and digits[3:5] != "00" and digits[5:] != "0000"
    )


def is_date(digits: str) -> bool:
    """Return whether eight digits are a day since 1900, as year, month and day."""
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).year >= EARLIEST
    except ValueError:
        return False
