"""CSV files of report tables."""

import csv
from pathlib import Path

from lslm_lightning.experiments.comparing import plain
from lslm_lightning.reports.blocks import Table
from lslm_lightning.safety.spreadsheets import escape_csv_formula


def write_csv(table: Table, path: Path) -> None:
    """Write a table as a CSV file that is safe to open in a spreadsheet: formulas are escaped."""

    def shown(value: object) -> object:
        found = plain(value)
        return (
            "" if found is None else escape_csv_formula(found) if isinstance(found, str) else found
        )

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([escape_csv_formula(heading.column) for heading in table.headings()])
        writer.writerows([shown(cell) for cell in row] for row in table.rows)
