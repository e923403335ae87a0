"""Licences by their names, against intended uses: nothing is allowed that is not known to be."""

import itertools
from typing import get_args

import pytest

from lslm_lightning.auditing.licence_part import licence_finding, stated_uses
from lslm_lightning.auditing.licences import (
    KNOWN,
    PORTED,
    RESULTS,
    answers_of,
    licence_of,
    licence_sentences,
)
from lslm_lightning.auditing.settings import USES, AuditSettings
from lslm_lightning.configuration.job import Job
from lslm_lightning.corpora.catalogue import read_catalogue
from lslm_lightning.types import IntendedUse

ALLOWED, CONDITIONS, UNCLEAR, FORBIDDEN = RESULTS
UNKNOWN_NAMES = (
    "redistribution permitted",
    "each package's own",
    "CMU AN4 licence (any purpose, keep the notice)",
    "ours",
    "none stated",
    "not known",
    "MIT-like",
    "MIT OR Apache-2.0",
    "CC BY-ND-SA 4.0 or so",
    "",
)


@pytest.mark.parametrize(
    ("licence", "n_sentence"),
    [
        ("CC BY-NC-SA 4.0", 3),
        ("MIT", 1),
        ("Unicode-3.0", 1),
        ("not stated", 1),
        ("CMU AN4 licence", 1),
        ("CC BY 4.0", 1),
        ("CC0-1.0", 1),
    ],
)
def test_licences_are_read_by_their_names(licence: str, n_sentence: int) -> None:
    found = licence_sentences(licence)
    assert len(found) == n_sentence
    assert any("commercial" in sentence for sentence in found) == ("NC" in licence)


@pytest.mark.parametrize(
    ("name", "spdx"),
    [
        ("CC BY-NC-SA 4.0", "CC-BY-NC-SA-4.0"),
        ("GPL-2.0", "GPL-2.0-only"),
        ("GPL-3.0+", "GPL-3.0-or-later"),
        ("gfdl 1.2+", "GFDL-1.2-or-later"),
        ("etalab-2.0", "etalab-2.0"),
        ("Unicode-DFS-2015", "Unicode-DFS-2015"),
        ("cc-by-4.0", "CC-BY-4.0"),
        ("CC BY-SA 4.0 International", "CC-BY-SA-4.0"),
        ("CC-BY-3.0-IGO", "CC-BY-3.0-IGO"),
        ("CC BY 2.0 FR", ""),  # SPDX has no port of this version to France
        ("CC BY-SA", ""),  # of which version is not stated
        ("mit", "MIT"),
        ("Apache 2.0", "Apache-2.0"),
        ("Apache License 2.0", "Apache-2.0"),
        ("Unicode-3.0", "Unicode-3.0"),
        ("GPL-3.0-or-later", "GPL-3.0-or-later"),
        ("CC BY-SA 3.0 and GFDL-1.3", "CC-BY-SA-3.0 AND GFDL-1.3-only"),
        ("MIT and something", ""),
    ],
)
def test_spdx_ids(name: str, spdx: str) -> None:
    assert licence_of(name).spdx == spdx


@pytest.mark.parametrize("spdx", sorted({*KNOWN, *PORTED}))
def test_ids_are_in_the_list_of_spdx(spdx: str) -> None:
    licenses = pytest.importorskip("packaging.licenses")  # of packaging 24.2 and newer
    assert licenses.canonicalize_license_expression(spdx) == spdx


@pytest.mark.parametrize("spdx", sorted(KNOWN))
def test_an_spdx_id_stands_for_itself_in_any_case(spdx: str) -> None:
    for name in (spdx, spdx.lower(), spdx.upper()):
        assert licence_of(name).spdx == spdx


@pytest.mark.parametrize(
    ("name", "research", "commercial", "publication"),
    [
        ("MIT", ALLOWED, ALLOWED, ALLOWED),
        ("Unicode-3.0", ALLOWED, ALLOWED, ALLOWED),
        ("CC0-1.0", ALLOWED, ALLOWED, ALLOWED),
        ("CC BY 4.0", CONDITIONS, CONDITIONS, CONDITIONS),
        ("CC BY-SA 4.0", CONDITIONS, CONDITIONS, CONDITIONS),
        ("GPL-3.0", ALLOWED, ALLOWED, CONDITIONS),
        ("CC BY-NC 4.0", CONDITIONS, FORBIDDEN, CONDITIONS),
        ("CC BY-NC-SA 4.0", CONDITIONS, FORBIDDEN, CONDITIONS),
        ("CC BY-ND 4.0", CONDITIONS, CONDITIONS, UNCLEAR),
        ("CC BY-NC-ND 4.0", CONDITIONS, FORBIDDEN, UNCLEAR),
        ("for research only", UNCLEAR, FORBIDDEN, UNCLEAR),
        ("a non-commercial licence of ours", UNCLEAR, FORBIDDEN, UNCLEAR),
        *((name, UNCLEAR, UNCLEAR, UNCLEAR) for name in UNKNOWN_NAMES),
    ],
)
def test_answers(name: str, research: str, commercial: str, publication: str) -> None:
    results, _ = answers_of(name, USES)
    assert results == {"research": research, "commercial": commercial, "publication": publication}


@pytest.mark.parametrize("name", [*KNOWN, "CC BY-NC-SA 4.0", "CC BY-ND 4.0", *UNKNOWN_NAMES])
def test_another_licence_on_top_never_allows_more(name: str) -> None:
    """Texts under two licences allow at most what each of them does."""
    for other, use in itertools.product(("MIT", "CC BY-NC 4.0", "CC BY-SA 4.0", "ours"), USES):
        [both] = answers_of(f"{name} AND {other}", [use])[0].values()
        for one in (name, other):
            [alone] = answers_of(one, [use])[0].values()
            assert RESULTS.index(both) >= RESULTS.index(alone), (name, other, use)


@pytest.mark.parametrize("name", sorted({each.licence for each in read_catalogue().values()}))
def test_a_licence_of_the_catalogue_is_explained(name: str) -> None:
    assert all(sentence.endswith(".") for sentence in licence_sentences(name))


def test_the_strictest_answer_leads_and_names_its_uses_alone() -> None:
    finding = licence_finding("CC BY-NC 4.0", USES)
    assert finding.severity == "look"
    assert "does not allow commercial use." in finding.summary[0]
    assert "research" not in finding.summary[0]
    rows = dict(finding.tables[0].rows)
    assert rows["Intended use (research)"] == "allowed under conditions"
    assert rows["Intended use (commercial)"] == "not allowed"


def test_an_intended_use_that_is_not_stated_has_no_answer() -> None:
    finding = licence_finding("MIT", ())
    assert finding.severity == "unknown"
    assert "not stated" in finding.summary[0]


@pytest.mark.parametrize(
    ("given", "uses"),
    [
        (None, ()),
        ("commercial", ("commercial",)),
        (["publication", "research"], ("research", "publication")),
        (["something"], ()),
    ],
)
def test_uses_are_read_from_a_config(given: object, uses: tuple[str, ...]) -> None:
    assert stated_uses({"job": {"intended_use": given}}) == uses
    assert stated_uses({}) == ()


def test_a_use_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match=r"intended_use='resale'.*commercial"):
        AuditSettings(intended_use=("resale",))  # type: ignore[arg-type]
    assert Job().intended_use is None
    assert get_args(IntendedUse) == USES


@pytest.mark.parametrize(
    "name",
    ["CC BY-NC 4.0 OR MIT", "Academic Free License 3.0", "for commercial and non-commercial use"],
)
def test_what_may_be_chosen_or_is_only_named_forbids_nothing(name: str) -> None:
    found = licence_of(name)
    assert (found.terms, found.is_known) == (frozenset(), False)
