"""Blocks for speech: an audio player, a spectrogram with time marks, and an output aligned to its
reference.
"""

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lslm_lightning.reports.axes import text_width
from lslm_lightning.reports.blocks import Cell, Heading, Table

WIDTH = 720.0
HEIGHT = 120.0
LINE = 14.0
QUANTILES = (0.1, 0.995)


def data_uri(data: bytes, kind: str) -> str:
    """Return the bytes of a file as a `data:` address, which needs no network."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@dataclass(frozen=True, slots=True)
class Sound:
    """Audio player with the sound embedded in the page; `kind` is its media type, such as
    "audio/flac".
    """

    data: bytes
    kind: str
    caption: str = ""

    @property
    def address(self) -> str:
        """Sound as a `data:` address."""
        return data_uri(self.data, self.kind)


class TimeMark(NamedTuple):
    """Piece of text and its frames, from the first to the one after the last."""

    start: float
    end: float
    text: str


class Label(NamedTuple):
    """Drawn time mark: a bar from `x` of this width, and its text in row `line`."""

    x: float
    width: float
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Spectrogram:
    """Features over time as shades of grey, with time marks below: `values` (T, F), the first
    feature at the bottom.

    Shades are spread evenly between a low and a high quantile of the values; frames that share a
    pixel are averaged. `per_second` is the number of frames in a second.
    """

    values: np.ndarray
    per_second: float
    marks: Sequence[TimeMark] = ()
    caption: str = ""

    @property
    def address(self) -> str:
        """Picture as a `data:` address, one pixel for each value, at most as wide as the figure."""
        # (F, T), the highest first
        values = average_rows(np.asarray(self.values, float), int(WIDTH)).T[::-1]
        low, high = np.quantile(values, QUANTILES) if values.size else (0.0, 1.0)
        shades = 255 * np.clip((high - values) / max(high - low, 1e-9), 0, 1)
        return data_uri(png(shades.astype(np.uint8)), "image/png")

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.values) / self.per_second

    def labels(self) -> list[Label]:
        """Return the labels below the picture, each in the first row that has room for it."""
        scale = WIDTH / max(1, len(self.values))
        ends: list[float] = []  # of the last label in each row
        labels = []
        for mark in self.marks:
            x = mark.start * scale
            needed = text_width(mark.text, 12) + 4
            line = next((i for i, end in enumerate(ends) if end <= x), len(ends))
            ends[line : line + 1] = [x + needed]
            labels.append(Label(x, max(1.0, (mark.end - mark.start) * scale), line, mark.text))
        return labels

    def drawing(self) -> tuple[float, float, list[Label]]:
        """Return width and height of the figure, and the labels."""
        labels = self.labels()
        lines = 1 + max((label.line for label in labels), default=-1)
        return WIDTH, HEIGHT + 6 + LINE * lines, labels

    def table(self) -> Table:
        """Return the time marks as a table in seconds."""
        rows: list[list[Cell]] = [
            [mark.text, mark.start / self.per_second, mark.end / self.per_second]
            for mark in self.marks
        ]
        return Table(
            ["token", Heading("from", "s"), Heading("to", "s")], rows, self.caption, places=2
        )


class RecordingPair(NamedTuple):
    """One step of an alignment: the expected unit and the written one, "" for none, and the
    operation that relates them.
    """

    operation: str  # equal, substitute, delete or insert
    wanted: str
    written: str


@dataclass(frozen=True, slots=True)
class Aligned:
    """Output aligned to its reference, unit by unit; units that differ are marked by colour and
    text.
    """

    pairs: Sequence[RecordingPair]
    wanted: str = "reference"
    written: str = "output"
    language: str = "en"

    def lines(self) -> tuple[str, str]:
        """Return reference and output as plain text, with "*" for a missing unit."""
        return " ".join(pair.wanted or "*" for pair in self.pairs), " ".join(
            pair.written or "*" for pair in self.pairs
        )


def average_rows(values: np.ndarray, most: int) -> np.ndarray:
    """Return at most `most` rows of (T, F), each the mean of neighbouring rows in groups of nearly
    equal size.
    """
    if len(values) <= most:
        return values
    first = np.arange(most) * len(values) // most
    return np.add.reduceat(values, first) / np.diff(first, append=len(values))[:, None]


def png(shades: np.ndarray) -> bytes:
    """Return a grey picture (rows, columns) uint8 as a PNG file.

    Source: Portable Network Graphics (PNG) Specification, third edition, section 5.
    """
    rows, columns = shades.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)  # 8 bits of grey
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), shades], 1)  # each line as it is
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines.tobytes(), 9))
        + chunk(b"IEND", b"")
    )
