"""Outputs of other tools, read from a file."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath

from lslm_lightning.contracts import Example, Generator, OutputsError, Prediction
from lslm_lightning.corpora.archives import bare_name, read_file
from lslm_lightning.corpora.file_names import FORMATS
from lslm_lightning.corpora.strict_json import parse
from lslm_lightning.corpora.text_lines import numbered_lines
from lslm_lightning.corpora.values import Number, as_text
from lslm_lightning.safety.paths import did_you_mean
from lslm_lightning.types import JsonObject


class Outputs(Generator):
    """Answers in a text file, one per line in the order of the evaluation set, or in a JSON Lines
    file (`.jsonl`) with `id` and `output`.

    Args:
        path: file in UTF-8, which may be compressed (.gz, .bz2, .xz, .zst); only LF and CRLF end a
            line.
    """

    # the lines of the file are those of all examples
    needs_all_examples = True
    shardable = False
    modality = None

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.unused: list[int] = []
        self.name = PurePath(bare_name(self.path.name)).stem
        self.form = FORMATS.get(
            PurePath(bare_name(self.path.name)).suffix.lower().removeprefix("."), "text"
        )

    def prepare(self, examples: Sequence[Example]) -> None:
        """Check that the file has an answer for each of these examples.

        Raises:
            FileNotFoundError: there is no such file.
            OutputsError: the file does not fit the examples.
        """
        if not self.path.is_file():
            raise FileNotFoundError(
                f"outputs {self.path}: there is no such file{did_you_mean(self.path)}"
            )
        for _ in self.generate(examples):
            pass

    def fingerprint(self) -> str | None:
        """Return the SHA-256 of the file; None if the file no longer exists."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest() if self.path.is_file() else None

    def info(self) -> JsonObject:
        """Return how many outputs have ids of no example, once the answers were read."""
        return {"unused_outputs": list(self.unused)} if self.unused else {}

    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        """Yield the answer that the file has for each example.

        Raises:
            OutputsError: a line is not an answer, an id occurs twice, or an example has no answer.
        """
        try:
            yield from self._answers(examples)
        except ValueError as error:
            raise OutputsError(str(error)) from None

    def _answers(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        if self.form not in ("text", "jsonl"):
            raise ValueError(
                f"{self.path}: answers are read from lines of text (.txt), or from JSON Lines "
                'with {"id": ..., "output": "..."} (.jsonl),'
                f" not from {self.path.suffix}; write one of these"
            )
        lines = list(numbered_lines(str(self.path), read_file(self.path)))
        if self.by_id:
            outputs = self._by_id(lines)
            lacking = [e.id for e in examples if e.id not in outputs]
            if lacking:
                raise ValueError(
                    f"{self.path} has no output for {len(lacking)} of {len(examples)} examples; "
                    f"{lacking[0]!r} is one"
                )
            n_unused = len(outputs.keys() - {e.id for e in examples})
            self.unused = [n_unused, len(outputs)] if n_unused else []
            yield from (Prediction(e.id, outputs[e.id]) for e in examples)
            return
        if len(lines) != len(examples):
            raise ValueError(
                f"{self.path} has {len(lines):,} lines for {len(examples):,} examples; give one "
                "a line, in the order of the examples"
            )
        yield from (Prediction(e.id, line) for e, (_, line) in zip(examples, lines, strict=True))

    @property
    def by_id(self) -> bool:
        """True if the lines have ids, False if they are in the order of the examples."""
        return self.form == "jsonl"

    def _by_id(self, lines: Iterable[tuple[int, str]]) -> dict[str, str]:
        """Return outputs by id; blank lines are skipped.

        Args:
            lines: line numbers, for messages, and lines of a JSON Lines file.
        """
        outputs: dict[str, str] = {}
        numbers: dict[str, int] = {}
        for number, line in lines:
            if line and not line.isspace():
                id_, output = self._record(f"{self.path}: line {number}", line)
                if id_ in outputs:
                    raise ValueError(
                        f"{self.path}: line {number}: the id {id_!r} is in line "
                        f"{numbers[id_]} already; remove one"
                    )
                outputs[id_] = output
                numbers[id_] = number
        return outputs

    def _record(self, where: str, line: str) -> tuple[str, str]:
        record = parse(where, line)
        if not isinstance(record, dict) or not {"id", "output"} <= record.keys():
            raise ValueError(f'{where}: expected {{"id": ..., "output": "..."}}')
        id_ = record["id"]
        output = record["output"]
        if not isinstance(output, str) or isinstance(output, Number):
            shown = output if isinstance(output, Number) else json.dumps(output)[:80]
            raise ValueError(f"{where}: output must be text, not {shown}")
        if id_ is None:
            raise ValueError(f"{where}: id must be text or a number, not null")
        return as_text(id_, where, "id"), as_text(output, where, "output")
