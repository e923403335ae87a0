"""What some other tool wrote, from a file."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from lslm_lightning.contracts import Example, Prediction


class Outputs:
    """Answers in a file: one a line in the order of the exam, or JSON Lines with `id` and `output` (`.jsonl`).

    Args:
        path: UTF-8.
    """

    whole_exam, shared = True, False  # lines are counted
    reads = None

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.name = self.path.stem

    def ready(self, examples: Sequence[Example]) -> None:
        """Raises FileNotFoundError where there is no such file, ValueError where it does not answer these examples."""
        if not self.path.is_file():
            raise FileNotFoundError(f"outputs {self.path}: there is no such file")
        for _ in self.generate(examples):
            pass

    def fingerprint(self) -> str | None:
        """Of the file; None where it is no longer here."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest() if self.path.is_file() else None

    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        """Raises ValueError where a line is no answer, or not every example has one."""
        try:
            lines = self._lines()
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.path} is not UTF-8 (byte {error.start}); convert it first") from None
        if self.by_id:
            outputs = dict(self._record(number, line) for number, line in enumerate(lines, 1) if line.strip())
            lacking = [e.id for e in examples if e.id not in outputs]
            if lacking:
                raise ValueError(f"{self.path} has no output for {len(lacking)} of {len(examples)} examples; {lacking[0]!r} is one")
            yield from (Prediction(e.id, outputs[e.id]) for e in examples)
            return
        if len(lines) != len(examples):
            raise ValueError(f"{self.path} has {len(lines):,} lines for {len(examples):,} examples; give one a line, in the exam's order")
        yield from (Prediction(e.id, line) for e, line in zip(examples, lines, strict=True))

    @property
    def by_id(self) -> bool:
        return self.path.suffix in (".jsonl", ".ndjson")

    def _lines(self) -> list[str]:
        """Only a line feed ends a line: other tools leave U+2028 and the like in their texts."""
        lines = self.path.read_text("utf-8-sig").replace("\r\n", "\n").split("\n")
        return lines[:-1] if lines[-1] == "" else lines

    def _record(self, number: int, line: str) -> tuple[str, str]:
        try:
            record = json.loads(line)
            found, output = str(record["id"]), record["output"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f'{self.path}, line {number}: expected {{"id": ..., "output": "..."}}') from None
        if not isinstance(output, str):
            raise ValueError(f"{self.path}, line {number}: output must be text, not {output!r}")
        return found, output
