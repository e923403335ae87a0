"""Records of a gate: a table for the terminal, JUnit XML for build servers, and Markdown for their
summaries.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from lslm_lightning.experiments.gate_checks import GateCheck
from lslm_lightning.experiments.gating import GateResults
from lslm_lightning.files import atomic_write
from lslm_lightning.localization import Term
from lslm_lightning.reports.blocks import Cell, Code, Table
from lslm_lightning.reports.escaping import code_span, in_cell, markdown
from lslm_lightning.reports.formatting import number
from lslm_lightning.reports.words import words
from lslm_lightning.safety.display import safe_text
from lslm_lightning.safety.redaction import redacted

N_FAILURE = 10  # failures of an assertion that records list
# all but the characters that XML 1.0 can hold
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def gate_table(results: GateResults) -> Table:
    """Return the table of checks that the terminal shows."""
    has_baseline = any(check.baseline is not None for check in results.checks)
    columns = ["check", "run", *(["baseline"] if has_baseline else []), "demanded", "result"]
    rows: list[list[Cell]] = []
    for check in results.checks:
        baseline: list[Cell] = []
        if has_baseline:
            baseline = [None if check.baseline is None else Code(number(check.baseline))]
        rows.append(
            [
                Code(check.name),
                Code(shown_value(check)),
                *baseline,
                Term(demand(check)),
                Term("passed" if check.passed else "failed"),
            ]
        )
    return Table(columns, rows)


def shown_value(check: GateCheck) -> str:
    """Return the score of the run, or the percentage of its outputs."""
    return f"{number(check.value)} %" if check.demanded is not None else number(check.value)


def demand(check: GateCheck) -> str:
    """Return what a check demands, such as "loss below 0.5"."""
    if check.test is None:
        return f"at least {number(check.demanded)} %"
    margin = number(check.test.margin)
    if check.rule == "regression":
        return f"no loss above {margin}"
    return f"loss below {margin}"


def write_junit(path: Path, results: GateResults, seconds: float, date: str) -> None:
    """Write the checks as test cases in JUnit XML, which build servers read, atomically.

    Texts are escaped, secrets in them are masked, and characters that XML cannot hold are replaced
    by U+FFFD.

    Args:
        seconds: time that the gate took.
        date: start in ISO 8601 without a time zone, as the schema wants it.
    """
    n_failed = sum(not check.passed for check in results.checks)
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(
        suites,
        "testsuite",
        {
            "name": f"lslm gate {xml_text(results.run)}",
            "package": "lslm.gate",
            "id": "0",
            "timestamp": date,
            "hostname": "localhost",
            "tests": str(len(results.checks)),
            "failures": str(n_failed),
            "errors": "0",
            "skipped": "0",
            "time": f"{seconds:.3f}",
        },
    )
    properties = ElementTree.SubElement(suite, "properties")
    facts = {
        "run": results.run,
        "baseline": results.baseline,
        "examples": str(results.n_example),
        "level": f"{results.level:g}",
    }
    for name, value in facts.items():
        ElementTree.SubElement(properties, "property", {"name": name, "value": xml_text(value)})
    for name, check in zip(case_names(results.checks), results.checks, strict=True):
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {
                "name": name,
                "classname": f"lslm.gate.{results.task}",
                "time": f"{seconds / len(results.checks):.3f}",
            },
        )
        if not check.passed:
            failure = {"message": xml_text(check.sentence), "type": check.rule or "assertion"}
            ElementTree.SubElement(case, "failure", failure).text = xml_text(
                "\n".join(lines_of(check))
            )
    output = [f"{check.name}: {line}" for check in results.checks for line in lines_of(check)[:2]]
    ElementTree.SubElement(suite, "system-out").text = xml_text("\n".join(output))
    ElementTree.SubElement(suite, "system-err").text = ""
    ElementTree.indent(suites)
    text = ElementTree.tostring(suites, encoding="unicode")
    atomic_write(path, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')


def case_names(checks: Sequence[GateCheck]) -> list[str]:
    """Return a name for each check that no other has, since build servers tell test cases by their
    names: of equal ones, the second has the number 2 behind it, and so on.

    Readers collapse white space, so that names are different without it.
    """
    found: dict[str, str] = {}
    for check in checks:
        name = given = xml_text(check.name)
        n_equal = 1
        while " ".join(name.split()) in found:
            n_equal += 1
            name = f"{given} ({n_equal})"
        found[" ".join(name.split())] = name
    return list(found.values())


def xml_text(text: str) -> str:
    """Return a text that XML can hold, with secrets masked."""
    return NOT_XML.sub("\ufffd", redacted(text))


def lines_of(check: GateCheck) -> list[str]:
    """Return the result of a check in lines: the sentence, the power, and, if it failed, the first
    outputs on which it does not hold.
    """
    lines = [each for each in (check.sentence, check.power) if each]
    if check.passed:
        return lines
    failures = [f"{id_}: {reason}" for id_, reason in check.failures[:N_FAILURE]]
    return [*lines, *failures, *rest_of(check.failures)]


def rest_of(failures: Sequence[tuple[str, str]]) -> list[str]:
    """Return a line with the number of failures that are not listed; none if all are."""
    n_rest = len(failures) - N_FAILURE
    return [f"{n_rest:,} more outputs"] if n_rest > 0 else []


def gate_markdown(results: GateResults) -> str:
    """Return the result as Markdown: the sentence, a table, and the failures of assertions."""
    headings = ["check", "run", "baseline", "demanded", "result"]
    lines = [
        f"### {markdown(words(results.summary))}",
        "",
        f"| {' | '.join(map(words, headings))} |",
        "| :--- | ---: | ---: | :--- | :--- |",
    ]
    for check in results.checks:
        sentences = [words(each) for each in (check.sentence, check.power) if each]
        cells = [
            code_span(safe_text(check.name)),
            shown_value(check),
            "" if check.baseline is None else number(check.baseline),
            markdown(words(demand(check))),
            markdown(f"{'✅' if check.passed else '❌'} {'; '.join(sentences)}"),
        ]
        lines.append(f"| {' | '.join(map(in_cell, cells))} |")
    for check in results.checks:
        if check.failures and not check.passed:
            lines += ["", f"{code_span(safe_text(check.name))}:", ""]
            lines += [
                f"- {code_span(safe_text(id_))}: {markdown(safe_text(words(reason)))}"
                for id_, reason in check.failures[:N_FAILURE]
            ]
            lines += [f"- {words(line)}" for line in rest_of(check.failures)]
    return "\n".join(lines) + "\n"


def add_summary(path: Path, results: GateResults) -> None:
    """Add the result as Markdown to the end of a file, which is made if it does not exist, as build
    servers expect it of a file of summaries.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{gate_markdown(results)}\n")


def show_gate(results: GateResults) -> None:
    """Print the result: table, reasons and power of each check, the first failures of assertions,
    and the result as a whole.
    """
    from lslm_lightning.reports.terminal import show_table

    for line in results.notes:
        print(line)
    show_table(gate_table(results))
    for check in results.checks:
        for line in lines_of(check):
            print(f"{check.name}: {line}")
    print(results.summary, flush=True)
