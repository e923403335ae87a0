"""Shapes of phone numbers, after full-width characters were made ASCII.

A shape is strong if nothing else is usually written like it, and weak if only a label before it
("phone", 电话) tells it from other numbers.
"""

import re

# Source: ITU-T E.164, country codes in use.
COUNTRY = (
    r"(?:1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|2[1-689]\d|3[578]\d|42\d|5[09]\d"
    r"|6[7-9]\d|8[058]\d|9[679]\d)"
)
EXTENSION = r"(?:(?: ?(?:x|ext\.?|extension|转|轉|分机) ?|-(?=\d{1,4}(?!\d)))\d{1,6})?"
CHINA = r"(?:(?:\(\+?86\)|\+ ?86|(?:00)?86)[ -]?)?"

STRONG = (
    # China: mobile, landline, service numbers
    rf"{CHINA}1[3-9]\d(?:\d{{8}}|([ -])\d{{4}}\1\d{{4}}|\d[ -]\d{{3}}[ -]\d{{4}})",
    rf"{CHINA}(?:\(0(?:10|2\d|[3-9]\d{{2}})\)[ -]?|0(?:10|2\d|[3-9]\d{{2}})(?: ?- ?| ))"
    rf"[2-9]\d{{2,3}}[ -]?\d{{4}}{EXTENSION}",
    rf"(?:\(\+?86\)|\+ ?86|(?:00)?86)[ -]?\(?0?(?:10|2\d|[3-9]\d{{2}})\)?[ -]"
    rf"[2-9]\d{{2,3}}[ -]?\d{{4}}{EXTENSION}",
    r"[48]00([ -])(?:\d{3}\1\d{4}|\d{4}\1\d{3})",
    # North America
    rf"(?:\+?1 ?[ .-]? ?)?(?:\([2-9]\d{{2}}\) ?-? ?\d{{3}}(?: ?[ .-] ?)\d{{4}}"
    rf"|[2-9]\d{{2}} ?([-.]) ?\d{{3}} ?\1 ?\d{{4}}|[2-9]\d{{2}}/ ?\d{{3}}[ .-]\d{{4}}"
    rf"|[2-9]\d{{2}} [2-9]\d{{2}}[ -]\d{{4}}){EXTENSION}",
    # international: +44 20 7946 0958, +49 (0)30 123456
    rf"\+ ?{COUNTRY}[ .-]?(?:\(\d{{1,5}}\)[ .-]?)?\d{{1,12}}(?:(?:[ .-]| ?/ ?)\d{{2,8}}){{0,5}}"
    rf"{EXTENSION}",
    rf"00{COUNTRY}[ .-](?:\(\d{{1,5}}\)[ .-]?)?\d{{1,12}}(?:[ .-]\d{{2,8}}){{0,5}}",
    # national with a trunk zero: 020 7946 0958, 030/1234567, 03-1234-5678, (02) 9876 5432
    r"(?:\(0[1-9]\d{0,4}\) ?|0[1-9]\d{0,4}(?: ?[/-] ?| (?!\d{3} \d{3}(?!\d))))\d{3,8}"
    r"(?:[ -]\d{3,8}){0,2}",
    r"(?<!\d[ .])0[1-9](?:([ .])\d{2}\1\d{2}\1\d{2}\1\d{2})(?![ .]\d)",
    r"07\d{9}",  # British mobile
)
WEAK = r"(?:\(\d{2,5}\)|\d{2,5})(?:(?: ?[-./] ?| )?\d{2,11}){0,4}"
DATE = re.compile(
    r"(?:1[0-9]|20)\d\d([ ./-]?)(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])(?!\d)"
    r"|(?:0?[1-9]|[12]\d|3[01])([ ./-])(?:0?[1-9]|[12]\d|3[01])\2(?:1[0-9]|20)?\d\d(?!\d)"
    r"|(?:1\d|20)\d\d ?[-/] ?(?:1\d|20)\d\d(?!\d)"
)
N_DIGIT = range(9, 16)  # of a strong shape; ITU-T E.164 allows at most 15
N_WEAK = range(7, 14)
SEPARATORS = re.compile(r"[^0-9]+")


def is_phone(number: str) -> bool:
    """Return whether a text of a strong shape is a phone number by its number of digits."""
    return _n_digit(number) in N_DIGIT and len(set(SEPARATORS.sub("", number))) > 2


def is_labelled_phone(number: str) -> bool:
    """Return whether digits behind a label such as "phone" are a phone number, and no date."""
    return _n_digit(number) in N_WEAK and not DATE.match(number)


def _n_digit(number: str) -> int:
    """Return the number of digits before an extension."""
    return len(SEPARATORS.sub("", re.split(r"[xe转轉分]", number)[0]))
