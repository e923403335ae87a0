"""The detector: rules of regular expressions, checksums and the words around a number."""

import re
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import sha256
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from operator import attrgetter
from typing import NamedTuple

from lslm_lightning.text.personal_data.checksums import (
    is_card_number,
    is_iban,
    is_resident_identity,
    is_social_security,
)
from lslm_lightning.text.personal_data.labels import NumberLabel, clause_start, label_before
from lslm_lightning.text.personal_data.names import NameList
from lslm_lightning.text.personal_data.phones import STRONG, WEAK, is_labelled_phone, is_phone
from lslm_lightning.types import JsonObject

KINDS = ("email", "identity_number", "iban", "payment_card", "ip_address", "phone", "name")
"""Kinds of personal data; where two overlap, the kind named first is kept."""

RULES_VERSION = 2  # raised when the rules find other data than before
NEAR = 16  # characters between a label and a number that has no shape of its own
FAR = 20  # characters beyond which a label of another kind says nothing of a number

# One character for one, so that offsets stay: full-width forms, spaces and dashes.
ASCII: dict[int, int | str] = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
ASCII |= dict.fromkeys(map(ord, "\u00a0\u2002\u2003\u2007\u2009\u202f\u3000"), " ")
ASCII |= dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")

# Text around a number that makes it a part of something else.
JOINED_BEFORE = re.compile(
    r"(?:[A-Za-z0-9_]|[A-Za-z0-9_][-._=&@]|(?<!\d{4})(?<=[A-Za-z0-9_])/|[$€£¥#][ ]?|\d:)\Z"
)
JOINED_AFTER = re.compile(
    r"[A-Za-z0-9_@=%]|[-.:]\d|/\d{1,2}(?!\d)|\.[a-z]{2,4}(?![a-z])"
    r"|\s?(?:元|美元|欧元|万|亿|千|次|人|件|个|吨|米|公里|年|月|USD|EUR|RMB|dollars|euros|percent|"
    r"people|times|bytes|KB|MB|GB|km|kg)(?![A-Za-z])"
)


class PersonalData(NamedTuple):
    """Personal data in a text: kind, character span and the characters themselves."""

    kind: str
    start: int
    end: int
    text: str


class Rule(NamedTuple):
    """Regular expression of a kind of personal data, and what tells it from similar texts."""

    kind: str
    pattern: re.Pattern[str]
    accepts: Callable[[str], bool]
    label: str  # "ignored": not looked at; "allowed": none of another kind; "required"


def _rule(kind: str, pattern: str, accepts: Callable[[str], bool], label: str = "allowed") -> Rule:
    """Return a rule for a number, which begins and ends where digits do."""
    return Rule(kind, re.compile(rf"(?<![0-9])(?:{pattern})(?![0-9])"), accepts, label)


def _compact(check: Callable[[str], bool]) -> Callable[[str], bool]:
    """Return a check of a number whose spaces and hyphens are removed first."""
    return partial(_passes_compact, check)


def _passes_compact(check: Callable[[str], bool], number: str) -> bool:
    """Return whether a number passes a check without its spaces and hyphens."""
    return check(re.sub(r"[ -]", "", number))


NUMBERS = (
    _rule(
        "identity_number",
        r"[1-8]\d{5}[ -]?(?:18|19|20)\d{6}[ -]?\d{3}[\dXx]",
        _compact(is_resident_identity),
        "ignored",
    ),
    _rule("identity_number", r"[1-8]\d{14}", is_resident_identity),
    _rule("identity_number", r"\d{3}-\d{2}-\d{4}", _compact(is_social_security)),
    _rule(
        "payment_card",
        r"\d{14,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{1,3})?|\d{4}([ -])\d{6}\2\d{4,5}"
        r"|\d{6}[ -]\d{8,13}",
        _compact(is_card_number),
    ),
    _rule("payment_card", r"4\d{12}", is_card_number, "required"),
    *(_rule("phone", pattern, is_phone) for pattern in STRONG),
    _rule("phone", WEAK, is_labelled_phone, "required"),
)
# A stretch of digits and separators in which numbers are looked for.
STRETCH = re.compile(r"[+(]{0,3}[0-9](?:[ ().+/-]{0,4}[0-9]){6,}[Xx]?")
EMAIL = re.compile(
    r"(?<![A-Za-z0-9_%+.-])[A-Za-z0-9À-ɏ_](?:[A-Za-z0-9À-ɏ_%+'-]|\.(?!\.)){0,63}@"
    r"(?:[A-Za-z0-9À-ɏ](?:[A-Za-z0-9À-ɏ-]{0,61}[A-Za-z0-9À-ɏ])?\.){1,6}[A-Za-z]{2,18}"
    r"(?![A-Za-z0-9_-]|\.[A-Za-z0-9]|:[A-Za-z0-9_.-]+/)"  # git@host:path is no address
)
# john (at) example (dot) com
DISGUISED = re.compile(
    r"(?<![A-Za-z0-9_.+-])[A-Za-z0-9_.+-]{1,64} ?[\[({<] ?(?:at|AT|@) ?[\])}>] ?[A-Za-z0-9-]+"
    r"(?:(?:\.| ?[\[({<] ?(?:dot|DOT|\.) ?[\])}>] ?)[A-Za-z0-9-]+){0,3}"
    r"(?:\.| ?[\[({<] ?(?:dot|DOT|\.) ?[\])}>] ?)[A-Za-z]{2,18}(?![A-Za-z0-9_])"
)
# its sign, without which the slower search is left out
DISGUISE = re.compile(r"[\[({<] ?(?:at|AT|@) ?[\])}>]")
FILE_ENDINGS = ("png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js")  # icon@2x.png
IBAN = re.compile(
    r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])"
)
IPV4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\w)", re.ASCII)
IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{4}(?:::?[0-9A-Fa-f]{1,4}){1,7}(?![\w:])", re.ASCII)
ADDRESS_LABEL = re.compile(
    r"(?i)(?<![a-z])(?:ip|ipv4|address(?:es)?|hosts?|servers?|gateway|dns|ping|router|login|"
    r"subnet)(?![a-z])|地址|主机|服务器|网关|登录|来自"
)


class PersonalDataFinder:
    """Find personal data in English and Chinese texts, and in others where it is written alike.

    Numbers are told from order numbers, versions, dates and the like by their shapes, by checksums
    and by the words before them. Full-width digits and signs are read as ASCII. What the rules
    cannot know is not found: postal addresses, numbers without a usual shape or label, and names
    that are not in the list.

    Args:
        kinds: kinds to find, of `KINDS`.
        names: names of people. One of several words is found in any case, one of a single word as
            it is written or in capitals.

    Raises:
        ValueError: a kind is unknown.
    """

    def __init__(self, kinds: Iterable[str] = KINDS, names: Iterable[str] = ()) -> None:
        asked = list(kinds)
        if unknown := [kind for kind in asked if kind not in KINDS]:
            raise ValueError(
                f"the kind {unknown[0]!r} of personal data is unknown; there are {', '.join(KINDS)}"
            )
        self.names = NameList(names)
        self.kinds = tuple(
            kind for kind in KINDS if kind in asked and (kind != "name" or self.names.names)
        )

    @property
    def description(self) -> JsonObject:
        """Kinds, version of the rules, and a checksum of the names: what decides what is found."""
        about: JsonObject = {"kinds": list(self.kinds), "rules": RULES_VERSION}
        if "name" in self.kinds:
            listed = "\n".join(sorted(self.names.names))
            about["names"] = sha256(listed.encode()).hexdigest()
        return about

    def find(self, text: str) -> list[PersonalData]:
        """Return the personal data of a text in order of their offsets; none overlap."""
        plain = text.translate(ASCII)
        kept: list[PersonalData] = []  # in order of their offsets
        for kind, start, end, *_ in sorted(self._candidates(plain), key=_rank):
            place = bisect(kept, start, key=attrgetter("start"))
            begins_after = place == 0 or kept[place - 1].end <= start
            if begins_after and (place == len(kept) or end <= kept[place].start):
                kept.insert(place, PersonalData(kind, start, end, text[start:end]))
        return [found for found in kept if found.kind in self.kinds]

    def _candidates(self, text: str) -> Iterator["_Candidate"]:
        """Yield all that the rules find, of every kind, which may overlap: a part of a card number
        is no phone number where only phone numbers are asked for.
        """
        yield from _emails(text)
        yield from _ip_addresses(text)
        for match in IBAN.finditer(text):
            if is_iban(match[0].replace(" ", "")):
                yield _Candidate("iban", match.start(), match.end())
        for stretch in STRETCH.finditer(text):
            yield from _numbers_in(text, stretch.start(), stretch.end())
        if "name" in self.kinds:
            for start, end in self.names.find(text):
                yield _Candidate("name", start, end)


def _numbers_in(text: str, begin: int, end: int) -> Iterator["_Candidate"]:
    """Yield the numbers in a stretch of digits and separators."""
    for rule in NUMBERS:
        for match in rule.pattern.finditer(text, begin, min(len(text), end + 12)):
            if match.start() < end and rule.accepts(match[0]):
                label, distance = label_before(text, match.start())
                if _fits(rule, match, label, distance):
                    is_labelled = label is not None and label.kind == rule.kind
                    is_weak = rule.label == "required"
                    yield _Candidate(rule.kind, match.start(), match.end(), is_labelled, is_weak)


class _Candidate(NamedTuple):
    """Span that a rule found."""

    kind: str
    start: int
    end: int
    is_labelled: bool = False  # a word before it names its kind
    is_weak: bool = False  # only that word tells it from other numbers


def _rank(found: _Candidate) -> tuple[bool, int, bool, int]:
    """Return the sort key of candidates: of those that overlap, the first is kept."""
    length = found.end - found.start
    return not found.is_labelled, KINDS.index(found.kind), found.is_weak, -length


def _fits(rule: Rule, match: re.Match[str], label: NumberLabel | None, distance: int) -> bool:
    """Return whether the text around a number allows that it is of the rule's kind."""
    text, start = match.string, match.start()
    is_kind = label is not None and label.kind == rule.kind
    if JOINED_AFTER.match(text, match.end()):
        return False
    if JOINED_BEFORE.search(text[max(0, start - 8) : start]) and not (is_kind and distance <= 2):
        return False
    if rule.label == "ignored":
        return True
    if rule.label == "required":
        return is_kind and distance <= NEAR
    return label is None or is_kind or rule.kind in label.tolerated or distance > FAR


def _emails(text: str) -> Iterator[_Candidate]:
    """Yield the e-mail addresses of a text."""
    for match in EMAIL.finditer(text) if "@" in text else ():
        if not match[0].lower().endswith(tuple("." + name for name in FILE_ENDINGS)):
            yield _Candidate("email", match.start(), match.end())
    for match in DISGUISED.finditer(text) if DISGUISE.search(text) else ():
        yield _Candidate("email", match.start(), match.end())


def _ip_addresses(text: str) -> Iterator[_Candidate]:
    """Yield the IP addresses of single hosts; version and section numbers are left out."""
    for match in IPV4.finditer(text):
        try:
            address = IPv4Address(match[0])
        except AddressValueError:
            continue
        begin = clause_start(text, match.start())
        if is_host(address) and (
            ADDRESS_LABEL.search(text, begin, match.start())
            or (_is_long(address) and not _is_labelled_otherwise(text, match.start()))
        ):
            yield _Candidate("ip_address", match.start(), match.end())
    for match in IPV6.finditer(text) if ":" in text else ():
        try:
            v6 = IPv6Address(match[0])
        except AddressValueError:
            continue
        if v6.exploded[0] in "23" or v6.is_link_local or v6.exploded[:2] in ("fc", "fd"):
            yield _Candidate("ip_address", match.start(), match.end())


def is_host(address: IPv4Address) -> bool:
    """Return whether an address is one of a single host, other than the computer itself."""
    is_network = address.packed[-1] == 0 or address.packed[0] in (0, 255)
    return not (is_network or address.is_loopback or address.is_multicast)


def _is_long(address: IPv4Address) -> bool:
    """Return whether an address is hardly a version number: a private one, one of equal numbers, or
    one with two numbers above 9.
    """
    numbers = address.packed
    return address.is_private or len(set(numbers)) == 1 or sum(n > 9 for n in numbers) > 1


def _is_labelled_otherwise(text: str, start: int) -> bool:
    """Return whether a word before a number says that it is no personal data."""
    label, _ = label_before(text, start)
    return label is not None and not label.kind
