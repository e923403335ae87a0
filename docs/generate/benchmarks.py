"""Tables of what was measured, from the records of the benchmarks."""

import ast
from collections.abc import Mapping, Sequence

from docs.generate.benchmark_tables import TABLES, Rows, all_numbers, sweep
from docs.generate.language import colon, localized, one_sentence
from docs.generate.markdown import code, plain, table
from docs.generate.scale_table import scale
from docs.generate.serving_capacity import capacity_tables
from docs.generate.serving_tables import SERVING_TABLES
from docs.generate.sources import ROOT
from lslm_lightning.configuration.source_tree import constant
from lslm_lightning.types import Json
from tests.benchmarks.__main__ import GPU, WRAPPED
from tests.benchmarks.record import RESULTS, Record

SERVING = "serving"
MAKERS = {**TABLES, **SERVING_TABLES, "scale": (scale,)}


def tables(*names: str) -> str:
    """Return a section for each benchmark: what it measures, a table, hardware and command."""
    return "\n\n".join(section(name) for name in names)


def tables_to_come(*names: str) -> str:
    """Return a section for each benchmark that has a record, and a line for each other."""
    return "\n\n".join(section(name) if has_record(name) else to_come(name) for name in names)


def to_come(name: str) -> str:
    """Return the line on a benchmark that has no record."""
    return f"{localized('Not measured yet')}{colon()}{code(f'make bench ONLY={name}')}"


def capacity() -> str:
    """Return the tables of users that a machine carries, and how they were measured."""
    if not has_record(SERVING):
        return to_come(SERVING)
    record = recorded(SERVING)
    return f"{capacity_tables(record.figures)}\n\n{caption(SERVING, record)}"


def section(name: str) -> str:
    """Return the section of one benchmark: what it measures, a table, hardware and command."""
    record = recorded(name)
    parts = [f"### {name}", plain(localized(about(name)))]
    for made in MAKERS.get(name, (all_numbers,)):
        headings, rows = made(record.figures)
        parts.append(numbers_of(headings, rows))
    return "\n\n".join([*parts, caption(name, record)])


def sweep_table(name: str) -> str:
    """Return the table of a sweep alone."""
    return numbers_of(*sweep(recorded(name).figures))


def numbers_of(headings: Sequence[str], rows: Rows) -> str:
    """Return a table of numbers, whose first column names what was measured."""
    named_rows = [(localized(first), *numbers) for first, *numbers in rows]
    return table(headings, named_rows, numbers=len(headings) - 1)


def has_record(name: str) -> bool:
    """Return whether a benchmark has a record."""
    return (RESULTS / f"{name}.json").is_file()


def recorded(name: str) -> Record:
    """Return the record of a benchmark.

    Raises:
        ValueError: it has none.
    """
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        raise ValueError(f"{path.relative_to(ROOT)} does not exist: a page names it")
    return Record(path)


def about(name: str) -> str:
    """Return the line on a benchmark in its module, which is not imported: some import torch."""
    made = constant(f"tests.benchmarks.{WRAPPED.get(name, name)}", "BENCHMARK")
    assert isinstance(made, ast.Call)
    given = [each.value for each in made.keywords if each.arg == "about"] or made.args
    text: str = ast.literal_eval(given[0])
    return f"{text[:1].upper()}{text[1:]}."


def caption(name: str, record: Record) -> str:
    """Return the line under a table: command, hardware, versions, commits."""
    made = [record.circumstances(part) for part in record.figures]
    target = "bench-gpu" if name in GPU else "bench"
    command = "make bench-faults" if name == "faults" else f"make {target} ONLY={name}"
    hardware = {localized(hardware_of(each)) for each in made}
    dates = sorted(each["date"][:10] for each in made)
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} – {dates[-1]}"
    commits = sorted({each["commit"].partition(" ")[0] for each in made})
    changed = any(" " in each["commit"] for each in made)
    versions = sorted({each["torch"] for each in made})
    parts = (
        code(command),
        plain(", ".join(sorted(hardware))),
        f"torch {', '.join(versions)}",
        f"{localized('commit')} {', '.join(map(code, commits))}",
        *([localized("with uncommitted changes")] if changed else []),
        when,
    )
    return f"{{.measured}}\n{one_sentence(parts)}"


def hardware_of(circumstances: Mapping[str, Json]) -> str:
    """Return the hardware of a measurement in words."""
    device = circumstances["device"]
    if "NVIDIA" in device:
        return str(device)
    kind = "bfloat16" if circumstances["bfloat16"] else "no bfloat16"
    n_thread = circumstances["threads"]
    return f"{n_thread} thread{'s' if n_thread > 1 else ''} of {device} ({kind})"
