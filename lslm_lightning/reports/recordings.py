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
    """Return bytes as a `data:` URI, which needs no network. `kind` is their media type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@dataclass(frozen=True, slots=True)
class Sound:
    """Audio player with embedded sound; `kind` is the media type, such as "audio/flac"."""

    data: bytes
    kind: str
    caption: str = ""

    @property
    def address(self) -> str:
        """Sound as a `data:` URI."""
        return data_uri(self.data, self.kind)


class TimeMark(NamedTuple):
    """Text with the range of frames [start, end) in which it occurs."""

    start: float
    end: float
    text: str


class Label(NamedTuple):
    """Drawn time mark: a bar of `width` at `x`, and its text in row `line` below the picture."""

    x: float
    width: float
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Spectrogram:
    """Features over time in shades of grey, with time marks below: `values` (T, F), the first
    feature at the bottom.

    Shades range from a low to a high quantile of the values. Frames that share a pixel are
    averaged. `per_second` is the number of frames per second.
    """

    values: np.ndarray
    per_second: float
    marks: Sequence[TimeMark] = ()
    caption: str = ""

    @property
    def address(self) -> str:
        """Picture as a `data:` URI. Each value is one pixel, unless there are more frames than the
        figure is wide.
        """
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
        """Return the labels of the time marks, each in the first row where it overlaps no other."""
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
        """Return a table of the time marks, with start and end in seconds."""
        rows: list[list[Cell]] = [
            [mark.text, mark.start / self.per_second, mark.end / self.per_second]
            for mark in self.marks
        ]
        return Table(
            ["token", Heading("from", "s"), Heading("to", "s")], rows, self.caption, places=2
        )


class RecordingPair(NamedTuple):
    """Step of an alignment: the operation, the reference unit and the output unit; "" for a missing
    unit.
    """

    operation: str  # equal, substitute, delete or insert
    wanted: str
    written: str


@dataclass(frozen=True, slots=True)
class Aligned:
    """Output aligned to its reference, unit by unit. Differing units are marked by colour and by
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
    """Return `values` (T, F) reduced to at most `most` rows, each the mean of a group of
    neighbouring rows. The groups have nearly equal sizes.
    """
    if len(values) <= most:
        return values
    first = np.arange(most) * len(values) // most
    return np.add.reduceat(values, first) / np.diff(first, append=len(values))[:, None]


def png(shades: np.ndarray) -> bytes:
    """Return a greyscale picture (rows, columns) uint8 as the bytes of a PNG file.

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
