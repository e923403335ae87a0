"""Figure of the layers of the library, drawn from the imports of its source code."""

import ast
from functools import cache
from html import escape

from docs.generate.language import localized
from docs.generate.sources import ROOT

LIBRARY = "lslm_lightning"
TASKS = (
    "language_modeling",
    "translation",
    "summarization",
    "question_answering",
    "speech_recognition",
)
ABOUT = (
    "A layer imports only layers below it. Tasks import the library and never each other. Only a "
    "YAML file names a task together with a network."
)
WIDTH = 620
LEFT = 440  # width of the library's part
ROW = 36
HEIGHT = 26  # of a box
GAP = 8
COLOURS = {  # class -> attribute -> colour on a light and on a dark page
    "box": {"fill": ("#f6f8fa", "#161b22"), "stroke": ("#d0d7de", "#30363d")},
    "result": {"fill": ("#ddf4ff", "#0c2d6b"), "stroke": ("#0969da", "#58a6ff")},
    "name": {"fill": ("#1f2328", "#e6edf3")},
    "label": {"fill": ("#59636e", "#9198a1")},
    "arrow": {"stroke": ("#59636e", "#9198a1")},
    "head": {"fill": ("#59636e", "#9198a1")},
}


def imported_layers() -> dict[str, set[str]]:
    """Return the layers that each layer of the library imports, for layers that import any or are
    imported by any. A layer is a folder of the library, or a module beside these folders.
    """
    folders = {path.name for path in (ROOT / LIBRARY).iterdir() if any(path.glob("*.py"))}
    layers: dict[str, set[str]] = {name: set() for name in folders}
    for name in folders:
        for path in (ROOT / LIBRARY / name).rglob("*.py"):
            for module in imported_modules(path.read_text("utf-8")):
                package, _, rest = module.partition(".")
                layer = rest.partition(".")[0]
                if package == LIBRARY and layer in folders and layer != name:
                    layers[name].add(layer)
    return {
        name: imported
        for name, imported in layers.items()
        if name != "localization"  # which every layer may import
    }


def imported_modules(source: str) -> set[str]:
    """Return the names of the modules that a file imports, and of what it imports from them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return names


@cache
def levels() -> tuple[tuple[str, ...], ...]:
    """Return the layers by level, the lowest first: a layer stands one level above the highest
    layer that it imports.
    """
    layers = imported_layers()
    found: dict[str, int] = {}
    while len(found) < len(layers):
        ready = {
            name: max((found[other] for other in imported & layers.keys()), default=-1) + 1
            for name, imported in layers.items()
            if name not in found and imported & layers.keys() <= found.keys()
        }
        assert ready, "layers import each other in a circle"
        found |= ready
    return tuple(
        tuple(sorted(name for name, level in found.items() if level == each))
        for each in range(max(found.values()) + 1)
    )


def drawing() -> tuple[list[str], int]:
    """Return the SVG elements of the figure, and its height."""
    parts = []
    rows = levels()
    top = 2 * ROW
    height = top + len(rows) * ROW
    for i, names in enumerate(reversed(rows)):
        width = (LEFT - GAP * (len(names) - 1)) / len(names)
        for k, name in enumerate(names):
            kind = "result" if i == 0 else "box"
            parts += box(k * (width + GAP), top + i * ROW, width, HEIGHT, [name], kind)
    tasks = LEFT + 3 * GAP
    parts += box(0, 0, WIDTH, HEIGHT, ["configs/*.yaml"], "result")
    parts += box(
        tasks, top, WIDTH - tasks, height - top - ROW + HEIGHT, list(TASKS), "box", "tasks"
    )
    parts += arrow((LEFT / 2, HEIGHT), (LEFT / 2, top))
    parts += arrow(((tasks + WIDTH) / 2, HEIGHT), ((tasks + WIDTH) / 2, top))
    parts += arrow((tasks, top + 5.5 * ROW), (LEFT, top + 5.5 * ROW))
    return parts, height


def box(
    x: float, y: float, width: float, height: float, lines: list[str], kind: str, title: str = ""
) -> list[str]:
    """Return a box with lines of text in its middle.

    Args:
        x: left end.
        y: upper end.
        title: line at the top of the box.
    """
    shape = f'x="{x + 1:.1f}" y="{y + 1:.1f}" width="{width - 2:.1f}" height="{height - 2:.1f}"'
    parts = [f'<rect class="{kind}" {shape} rx="4"/>']
    middle = x + width / 2
    first = y + height / 2 - 20 * (len(lines) - 1) / 2
    if title:
        parts.append(label(middle, y + 16, title, "label"))
    return parts + [label(middle, first + 20 * i, each) for i, each in enumerate(lines)]


def label(x: float, y: float, text: str, kind: str = "name") -> str:
    """Return a text that is centred at a point."""
    at = f'x="{x:.1f}" y="{y + 4:.1f}"'
    return f'<text class="{kind}" {at} text-anchor="middle">{escape(text)}</text>'


def arrow(start: tuple[float, float], end: tuple[float, float]) -> list[str]:
    """Return a horizontal or vertical arrow."""
    (x0, y0), (x, y) = start, end
    corners = [(x - 3, y - 6), (x + 3, y - 6)] if x0 == x else [(x + 6, y - 3), (x + 6, y + 3)]
    points = " ".join(f"{px:.1f},{py:.1f}" for px, py in ((x, y), *corners))
    return [
        f'<path class="arrow" d="M{x0:.1f} {y0:.1f}L{x:.1f} {y:.1f}"/>',
        f'<polygon class="head" points="{points}"/>',
    ]


def architecture() -> str:
    """Return the layers as a figure of a page, in the colours of its theme."""
    parts, height = drawing()
    about = localized(ABOUT)
    shown = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{about}">'
    return (
        f'<figure class="drawing wide">{shown}{"".join(parts)}</svg>'
        f"<figcaption>{about}</figcaption></figure>"
    )


def architecture_file() -> str:
    """Return the layers as an SVG file that follows the reader's light or dark colours."""
    parts, height = drawing()
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    dark = f"@media (prefers-color-scheme: dark) {{ {styles(1)} }}"
    text = "text { font: 13px system-ui, sans-serif; }"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{ABOUT}">',
        f"<style>{text} {styles(0)} {dark}</style>",
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def styles(scheme: int) -> str:
    """Return the style sheet of the colours; 0 for light, 1 for dark."""
    return " ".join(
        f".{kind} {{ {' '.join(f'{key}: {pair[scheme]};' for key, pair in colours.items())} }}"
        for kind, colours in COLOURS.items()
    )
