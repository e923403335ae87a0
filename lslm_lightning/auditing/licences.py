"""Terms of the licence of a corpus, and whether it allows the intended use of a model.

Licences are told by their names. What is allowed is read from known licences alone, by their SPDX
id; a restriction is also read from words of another name, such as "for research only". No legal
advice.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from lslm_lightning.types import IntendedUse

Term: TypeAlias = Literal[
    "notice", "attribution", "share_alike", "no_derivatives", "non_commercial", "research"
]
Result: TypeAlias = Literal["allowed", "conditions", "unclear", "forbidden"]

RESULTS: tuple[Result, ...] = get_args(Result)  # from the mildest
NOT_STATED = ("", "not stated", "none stated", "none")
UNKNOWN = "not known"
GNU = tuple(
    f"{name}-{ending}"
    for name in (
        "AGPL-3.0",
        *(f"GFDL-{version}" for version in ("1.1", "1.2", "1.3")),
        *(f"GPL-{version}" for version in ("1.0", "2.0", "3.0")),
        *(f"LGPL-{version}" for version in ("2.0", "2.1", "3.0")),
    )
    for ending in ("only", "or-later")
)
# SPDX ids by what the licences ask for
FREE = "0BSD CC-PDDC CC-PDM-1.0 CC0-1.0 DL-DE-ZERO-2.0 MIT-0 PDDL-1.0 Unlicense WTFPL"
NOTICE = (
    "AFL-3.0 Apache-2.0 BSD-2-Clause BSD-3-Clause BSD-3-Clause-Clear BSL-1.0 "
    "CDLA-Permissive-1.0 CDLA-Permissive-2.0 ECL-2.0 ISC MIT MulanPSL-2.0 NCSA O-UDA-1.0 "
    "PostgreSQL PSF-2.0 Python-2.0 Unicode-3.0 Unicode-DFS-2015 Unicode-DFS-2016 UPL-1.0 X11 "
    "Zlib"
)
ATTRIBUTION = (
    "DL-DE-BY-2.0 etalab-2.0 NLOD-2.0 ODC-By-1.0 OGL-Canada-2.0 OGL-UK-1.0 OGL-UK-2.0 OGL-UK-3.0"
)
COPYLEFT = (
    "CDLA-Sharing-1.0 CECILL-2.1 EPL-2.0 EUPL-1.1 EUPL-1.2 MPL-1.1 MPL-2.0 MS-PL OFL-1.1 OSL-3.0"
)
KNOWN: dict[str, tuple[Term, ...]] = {  # what licences ask for, by their SPDX ids
    **dict.fromkeys(FREE.split(), ()),
    **dict.fromkeys(NOTICE.split(), ("notice",)),
    **dict.fromkeys(ATTRIBUTION.split(), ("attribution",)),
    "ODbL-1.0": ("attribution", "share_alike"),
    **dict.fromkeys((*COPYLEFT.split(), *GNU), ("notice", "share_alike")),
}
ALIASES = {  # other names of these, in lower case and with hyphens
    "apache-license-2.0": "Apache-2.0",
    "cc0": "CC0-1.0",
    "cc-zero": "CC0-1.0",
    "mit-license": "MIT",
    "odbl": "ODbL-1.0",
    "odc-by": "ODC-By-1.0",
    "pddl": "PDDL-1.0",
    **{name.lower().removesuffix("-only"): name for name in GNU if name.endswith("-only")},
    **{f"{name[:-9].lower()}+": name for name in GNU if name.endswith("-or-later")},
}
UNNUMBERED: dict[str, tuple[Term, ...]] = {  # names that are no SPDX ids, but clear enough
    "apache": ("notice",),
    "bsd": ("notice",),
    "public-domain": (),
}
CREATIVE_COMMONS = re.compile(
    r"(?:cc|creative-commons)-(by(?:-nc)?(?:-sa|-nd)?(?:-nc)?)(?:-(1\.0|2\.[015]|3\.0|4\.0))?"
    r"(?:-(international|unported|generic|igo|[a-z]{2}))?"
)
PORTED = {  # Creative Commons licences of countries that have an SPDX id
    "CC-BY-2.5-AU",
    *(f"CC-BY-3.0-{land}" for land in ("AT", "AU", "DE", "IGO", "NL", "US")),
    *(f"CC-BY-NC-SA-2.0-{land}" for land in ("DE", "FR", "UK")),
    *(f"CC-BY-NC-SA-3.0-{land}" for land in ("DE", "IGO")),
    *(f"CC-BY-SA-{land}" for land in ("2.0-UK", "2.1-JP", "3.0-AT", "3.0-DE", "3.0-IGO")),
}
PARTS: dict[str, Term] = {
    "by": "attribution",
    "nc": "non_commercial",
    "sa": "share_alike",
    "nd": "no_derivatives",
}
RESTRICTIONS: tuple[tuple[str, Term], ...] = (  # words of any name, and what they forbid
    (r"\bnc\b|non-?commercial", "non_commercial"),
    (r"\bnd\b|no-?deriv", "no_derivatives"),
    (r"\bsa\b|share-?alike", "share_alike"),
    (r"(?:research|academic)-(?:only|use|purposes?)|for-research", "research"),
)
SAID: dict[Term, str] = {
    "notice": "It allows any use; the notice must be kept.",
    "attribution": "It asks to name the source.",
    "share_alike": "Adapted versions of the texts must have the same licence.",
    "no_derivatives": "It forbids to pass on adapted versions of the texts.",
    "non_commercial": "It forbids commercial use.",
    "research": "It is for research; another use needs permission.",
}
NAME_SOURCE = "Name the source of the texts wherever the model is described."
PUBLISHED: dict[Term, str] = {  # what is to be done for a publication of weights
    "non_commercial": "Publish the weights under terms that forbid commercial use.",
    "share_alike": (
        "Whether weights are an adaptation of texts is not settled: the same licence for the "
        "weights is on the safe side."
    ),
    "no_derivatives": (
        "Whether weights are an adaptation of texts, which must not be passed on, is not settled: "
        "ask the owner."
    ),
}
NO_LICENCE = "Without a licence nothing is allowed that the law does not allow: ask the owner."
NOT_HERE = "The corpus cannot be opened on this machine: read its licence where it is."
NOT_KNOWN = "What it allows is not known here: read it before the model is used."
ANY_USE = "It allows any use."


@dataclass(frozen=True)
class Licence:
    """Licence of a corpus, as far as its name tells.

    Attributes:
        name: the name that the corpus states.
        spdx: SPDX ids of the licences that it names, or "" if it is none of those known.
        terms: what it asks for.
        is_known: whether these are all its terms.
    """

    name: str
    spdx: str
    terms: frozenset[Term]
    is_known: bool


def is_stated(name: str) -> bool:
    """Return whether a corpus states a licence, given the name of its licence."""
    return name.strip().lower() not in (*NOT_STATED, UNKNOWN)


def licence_of(name: str) -> Licence:
    """Return the licence that a name stands for: an SPDX id, a usual name such as "CC BY-SA 4.0",
    or several of them with "AND".
    """
    whole = re.sub(r"(?i)\bcommercial and non-?commercial", "any", name.strip())
    parts = re.split(r"\s+(?:AND|and)\s+|\s*[;,]\s*", whole)
    found = [single_licence(part) for part in parts]
    terms = frozenset(term for each in found for term in each.terms)
    is_known = all(each.is_known for each in found)
    spdx = [each.spdx for each in found if each.spdx]
    return Licence(name, " AND ".join(spdx) if len(spdx) == len(found) else "", terms, is_known)


def single_licence(name: str) -> Licence:
    """Return the licence that a name without "AND" stands for."""
    key = re.sub(r"[\s_-]+", "-", name.strip().lower())
    spdx = next((each for each in KNOWN if each.lower() == key), ALIASES.get(key, ""))
    if spdx:
        return Licence(name, spdx, frozenset(KNOWN[spdx]), is_known=True)
    if key in UNNUMBERED:
        return Licence(name, "", frozenset(UNNUMBERED[key]), is_known=True)
    if found := CREATIVE_COMMONS.fullmatch(key):
        terms = frozenset(PARTS[part] for part in found[1].split("-"))
        return Licence(name, creative_commons_id(found[1], found[2], found[3]), terms, True)
    if "-or-" in key:  # a choice, whose terms are those of what is chosen
        return Licence(name, "", frozenset(), is_known=False)
    restrictions = frozenset(term for words, term in RESTRICTIONS if re.search(words, key))
    return Licence(name, "", restrictions, is_known=False)


def creative_commons_id(parts: str, version: str | None, land: str | None) -> str:
    """Return the SPDX id of a Creative Commons licence; "" if it has none.

    Args:
        parts: what it asks for, such as "by-nc-sa".
        version: its version; None if it is not stated, so that there is no id.
        land: its country, or a word for none; None if the name has neither.
    """
    if version is None:
        return ""
    found = f"CC-{parts.upper()}-{version}"
    if land in (None, "international", "unported", "generic"):
        return found
    return ported if (ported := f"{found}-{land.upper()}") in PORTED else ""


def licence_sentences(name: str) -> list[str]:
    """Return sentences on what a licence allows and asks for.

    Args:
        name: name of the licence of a corpus, such as "CC BY-NC-SA 4.0"; "not stated" if there is
            none.
    """
    if name == UNKNOWN:
        return [NOT_HERE]
    if not is_stated(name):
        return [NO_LICENCE]
    licence = licence_of(name)
    terms = [term for term in SAID if term in licence.terms]
    if terms != ["notice"]:  # what allows any use is not told beside a restriction
        terms = [term for term in terms if term != "notice"]
    found = [SAID[term] for term in terms]
    if licence.is_known:
        return found or [ANY_USE]
    return [*found, NOT_KNOWN]


def answers_of(
    name: str, uses: Sequence[IntendedUse]
) -> tuple[dict[IntendedUse, Result], list[str]]:
    """Return whether a licence allows each intended use of a model that was trained on its texts,
    and what is to be done for those that it allows under conditions.

    Args:
        name: name of the licence.
        uses: the intended uses.
    """
    answers = {use: answer(licence_of(name), use) for use in uses}
    results = {use: result for use, (result, _) in answers.items()}
    todo = [each for result, found in answers.values() for each in found if result != "forbidden"]
    return results, list(dict.fromkeys(todo))


def answer(licence: Licence, use: IntendedUse) -> tuple[Result, list[str]]:
    """Return whether a licence allows a use, and what is to be done for it."""
    terms = licence.terms
    if use == "commercial" and terms & {"non_commercial", "research"}:
        return "forbidden", []
    if not licence.is_known:
        return "unclear", []
    todo = [NAME_SOURCE] if "attribution" in terms else []
    if use == "publication":
        todo += [PUBLISHED[term] for term in PUBLISHED if term in terms]
        if "no_derivatives" in terms:
            return "unclear", todo
    return ("conditions" if todo else "allowed"), todo
