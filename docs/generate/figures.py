"""Figures of pages: SVG within the page, drawn from the records of benchmarks or defined here."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from docs.generate.benchmark_tables import named
from docs.generate.benchmarks import caption, recorded
from docs.generate.language import localized
from lslm_lightning.contracts import Score, metric_label
from lslm_lightning.reports.axes import WIDTH, Point
from lslm_lightning.reports.blocks import Heading
from lslm_lightning.reports.intervals import Intervals
from lslm_lightning.reports.scatter import Scatter

HIGHER_IS_BETTER = ("bleu", "rougeL")  # of the headline metrics of sweeps
LINE = 15.0  # height of a line of text
HEAD = 6.0  # length of an arrow's head


def sweep_figure(name: str, *left_out: str) -> str:
    """Return the scores of a sweep with their intervals as a figure, and its circumstances.

    Args:
        name: name of the benchmark.
        left_out: systems that are not drawn, since the axis would show nothing else.
    """
    record = recorded(name)
    found = record.figures["sweep"]
    scores = {
        named(system): score_of(found["headline"], score)
        for system, score in found["scores"].items()
        if system not in left_out
    }
    figure = Intervals(scores)
    drawing = figure.drawing()
    bottom = drawing.height - 16
    parts = [
        line((tick.at, 8), (tick.at, bottom - 4), "grid")
        + text((tick.at, bottom + 10), tick.label, "label", "middle")
        for tick in drawing.ticks
    ]
    for bar in drawing.bars:
        parts += [
            text((0, bar.y - 8), bar.name),
            text((WIDTH, bar.y - 8), bar.value, anchor="end"),
            line((bar.low, bar.y + 3), (bar.high, bar.y + 3), "whisker"),
            f'<circle class="dot" cx="{bar.x:.1f}" cy="{bar.y + 3:.1f}" r="4"/>',
        ]
    return figured(parts, drawing.height, figure.caption, caption(name, record))


def size_figure(name: str, *left_out: str) -> str:
    """Return the scores of a sweep against the sizes of its systems as a figure.

    Args:
        name: name of the benchmark.
        left_out: systems that are not drawn.
    """
    record = recorded(name)
    found = record.figures["sweep"]
    points = {
        named(system): (size / 1e6, found["scores"][system]["value"])
        for system, size in found["parameters"].items()
        if size is not None and system not in left_out
    }
    headline = found["headline"]
    label = metric_label(headline)
    quality = Heading(label, "", headline in HIGHER_IS_BETTER)
    scatter = Scatter(points, Heading("parameters", "millions", None), quality)
    frame, marks, front = scatter.drawing()
    bottom = frame.height - 24
    parts = [
        line((frame.left, tick.at), (frame.width, tick.at), "grid")
        + text((frame.left - 6, tick.at), tick.label, "label", "end")
        for tick in frame.y_ticks
    ]
    parts += [text((tick.at, bottom + 14), tick.label, "label", "middle") for tick in frame.x_ticks]
    parts += [text((0, 10), label, "label"), f'<path class="front" d="{front}"/>']
    for mark in marks:
        (x, y), kind = mark.at, "dot" if mark.best else "ring"
        parts += [
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>',
            text(mark.name_at, mark.name, anchor="end" if mark.end else "start"),
        ]
    parts.append(text((WIDTH, bottom + 30), "million parameters", "label", "end"))
    about = (
        f"{label} against millions of parameters; the line joins systems that none beats in both."
    )
    return figured(parts, frame.height + 12, about, caption(name, record))


def score_of(metric: str, found: Mapping[str, float]) -> Score:
    """Return a recorded score as a `Score`."""
    is_higher = metric in HIGHER_IS_BETTER
    return Score(metric, found["value"], "", is_higher, "", 0, found["low"], found["high"])


# Diagrams


@dataclass(frozen=True)
class Box:
    """Box of a diagram with lines of text, at the coordinates of its upper left corner."""

    x: float
    y: float
    width: float
    lines: Sequence[str]
    kind: str = "box"

    @property
    def height(self) -> float:
        """Height of the box."""
        return LINE * len(self.lines) + 13


@dataclass(frozen=True)
class Arrow:
    """Arrow of a diagram along points, with a label beside it."""

    points: Sequence[Point]
    label: str = ""
    label_at: Point = (0, 0)
    anchor: str = "start"


@dataclass(frozen=True)
class Diagram:
    """Boxes and arrows, `WIDTH` units wide, and a sentence for readers who do not see them."""

    about: str
    height: float
    boxes: Sequence[Box]
    arrows: Sequence[Arrow]


DIAGRAMS = {
    "scores": Diagram(
        "Each prediction gives a row of statistics. Their sum gives the score, resampled sums the "
        "interval, exchanged rows of two systems the p-value.",
        286,
        (
            Box(80, 1, 200, ("predictions/test.jsonl",)),
            Box(40, 62, 280, ("statistics of each example", "(N rows of D numbers)")),
            Box(1, 146, 112, ("sum of all", "N rows")),
            Box(124, 146, 112, ("sums of", "resamples")),
            Box(247, 146, 112, ("sums after", "exchanges")),
            Box(1, 242, 112, ("score",), "result"),
            Box(124, 242, 112, ("95 % interval",), "result"),
            Box(247, 242, 112, ("p, after Holm",), "result"),
        ),
        (
            Arrow(((180, 29), (180, 62)), "Metric.statistics", (188, 47)),
            Arrow(((100, 105), (57, 146))),
            Arrow(((180, 105), (180, 146))),
            Arrow(((260, 105), (303, 146)), "of two systems", (190, 130)),
            Arrow(((57, 189), (57, 242)), "Metric.score", (65, 217)),
            Arrow(((180, 189), (180, 242)), "Metric.score", (188, 217)),
            Arrow(((303, 189), (303, 242))),
        ),
    ),
    "states": Diagram(
        "A run is RUNNING until it ends as FINISHED, FAILED or KILLED. lslm resume makes it "
        "RUNNING again.",
        220,
        (
            Box(130, 50, 100, ("RUNNING",), "result"),
            Box(1, 188, 96, ("FINISHED",)),
            Box(132, 188, 96, ("FAILED",)),
            Box(263, 188, 96, ("KILLED",)),
        ),
        (
            Arrow(((180, 10), (180, 50)), "lslm run", (188, 30)),
            Arrow(((146, 78), (49, 188)), "last step", (85, 122), "end"),
            Arrow(((180, 78), (180, 188)), "error", (174, 122), "end"),
            Arrow(((214, 78), (296, 188)), "signal", (213, 152)),
            Arrow(((326, 188), (230, 64)), "lslm resume", (272, 90)),
            Arrow(((205, 188), (205, 78))),
            Arrow(((24, 188), (24, 64), (130, 64)), "more steps", (28, 54)),
        ),
    ),
}


def diagram(name: str) -> str:
    """Return a diagram as a figure.

    Raises:
        ValueError: there is no such diagram.
    """
    if name not in DIAGRAMS:
        raise ValueError(f"there is no diagram {name}; give one of {', '.join(DIAGRAMS)}")
    found = DIAGRAMS[name]
    parts = []
    for box in found.boxes:
        shape = f'x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="4"'
        parts.append(f'<rect class="{box.kind}" {shape}/>')
        middle = box.x + box.width / 2
        parts += [
            text((middle, box.y + LINE * (i + 1)), each, anchor="middle")
            for i, each in enumerate(localized("\n".join(box.lines)).split("\n"))
        ]
    for arrow in found.arrows:
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in arrow.points)
        parts.append(f'<path class="arrow" d="M{path}"/><path class="head" d="{head(arrow)}"/>')
        if arrow.label:
            parts.append(text(arrow.label_at, arrow.label, "label", arrow.anchor))
    return figured(parts, found.height, found.about)


def head(arrow: Arrow) -> str:
    """Return the SVG path of an arrow's head."""
    (x0, y0), (x, y) = arrow.points[-2:]
    angle = math.atan2(y - y0, x - x0)
    corners = [
        (x - HEAD * math.cos(angle + side), y - HEAD * math.sin(angle + side))
        for side in (-0.45, 0.45)
    ]
    return "M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in ((x, y), *corners)) + "Z"


MASKS: dict[
    str, Callable[[int, int], bool]
] = {  # name -> whether query t sees key s, of N_POSITION each
    "no mask": lambda t, s: True,
    "causal": lambda t, s: s <= t,
    "padding": lambda t, s: s < N_POSITION - 2,
    "both": lambda t, s: s <= t and s < N_POSITION - 2,
}
N_POSITION = 5
CELL = 15.0  # width of a cell of a mask


def masks() -> str:
    """Return the masks of attention as a figure: a row for each query, a column for each key."""
    parts = []
    for i, (name, sees) in enumerate(MASKS.items()):
        left = 1 + i * (WIDTH - 2 - N_POSITION * CELL) / (len(MASKS) - 1)
        parts.append(text((left, 10), name, "label"))
        for t in range(N_POSITION):
            for s in range(N_POSITION):
                kind = "seen" if sees(t, s) else "hidden"
                at = f'x="{left + s * CELL:.1f}" y="{20 + t * CELL:.1f}"'
                parts.append(f'<rect class="{kind}" {at} width="{CELL}" height="{CELL}"/>')
    about = "Row: query, column: key. Filled where the query sees the key."
    return figured(parts, 20 + N_POSITION * CELL + 2, about)


# SVG


def figured(parts: Sequence[str], height: float, about: str, below: str = "") -> str:
    """Return drawn parts as a figure with a description.

    Args:
        parts: SVG elements in a drawing that is `WIDTH` units wide.
        about: one sentence; shown below the drawing.
        below: Markdown after the figure.
    """
    about = localized(about)
    drawing = (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(about)}">'
        f"{''.join(parts)}</svg>"
    )
    shown = f'<figure class="drawing">{drawing}<figcaption>{escape(about)}</figcaption></figure>'
    return f"{shown}\n\n{below}" if below else shown


def line(start: Point, end: Point, kind: str) -> str:
    """Return a straight line."""
    return f'<path class="{kind}" d="M{start[0]:.1f} {start[1]:.1f}L{end[0]:.1f} {end[1]:.1f}"/>'


def text(at: Point, shown: str, kind: str = "name", anchor: str = "start") -> str:
    """Return a text, vertically centred at a point."""
    x, y = at
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">'
        f"{escape(localized(shown))}</text>"
    )
