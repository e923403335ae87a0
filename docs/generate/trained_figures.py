"""Figures of trained models, drawn from what `python -m docs.record` wrote to docs/figures."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from docs.generate.figures import figured, line, text
from docs.generate.markdown import code
from lslm_lightning.localization import CHINESE, interface_language
from lslm_lightning.reports.axes import HEIGHT, WIDTH, axes, extent, ticks_around, ticks_within
from lslm_lightning.types import JsonObject

FOLDER = Path(__file__).parents[1] / "figures"
FORMAT = 1  # of the records; raised whenever the fields below change
FIELDS: dict[str, Sequence[str]] = {
    "attention": (
        *("source", "target", "accuracy", "steps"),
        *("scores", "weights", "values", "outputs", "untrained"),
    ),
    "curves": ("steps", "curves", "parameters"),
}
CELL = 14.0  # width of a cell of a matrix
TOP = 34.0  # height above a matrix, with its name and the names of its columns
GAP = 13.0  # least distance of the names of curves
NAMES = {"rnn": "RNN", "lstm": "LSTM", "transformer": "Transformer"}
IN_CHINESE = {
    "scores": "1 得分",
    "weights": "2 权重",
    "outputs": "3 输出",
    "before": "训练前",
    "after": "训练后",
    "steps": "步",
    "loss": "验证损失，每字比特数",
    "about steps": (
        "训练好的模型倒写 {source} 时的交叉注意力。行：要写的数字；列：读到的数字，输出一栏为值的"
        "各个分量。颜色越浓，绝对值越大；灰色为负"
    ),
    "about learning": "同一模型在训练前后的权重。训练后，每一行都看向该写的数字",
    "about curves": "验证损失随训练步数的变化，越低越好；n-gram 只读一遍语料，没有步数",
    "attention": "{command}；{steps} 步之后，1,000 个新序列中 {accuracy}% 的数字写对",
    "curves": "{command}；参数量：{sizes}；CLDR 的中文短语，以字为单位",
}
IN_ENGLISH = {
    "scores": "1 scores",
    "weights": "2 weights",
    "outputs": "3 outputs",
    "before": "before training",
    "after": "after training",
    "steps": "steps",
    "loss": "validation loss, bits per character",
    "about steps": (
        "Cross-attention of a trained model that writes {source} in reverse order. Row: digit to "
        "be written; column: digit that is read, or component of the values. The stronger the "
        "colour, the larger the absolute value; grey is negative"
    ),
    "about learning": (
        "Weights of the same model before and after training, which turns each row to the digit "
        "that must be written"
    ),
    "about curves": (
        "Validation loss by training step; lower is better. The n-gram model reads the corpus "
        "once, and has no steps"
    ),
    "attention": (
        "{command}; after {steps} steps {accuracy} % of the digits of 1,000 new sequences are right"
    ),
    "curves": "{command}; parameters: {sizes}; Chinese phrases of the CLDR by characters",
}


def wording(name: str) -> str:
    """Return a text of a figure in the language of the page."""
    return (IN_CHINESE if interface_language() == CHINESE else IN_ENGLISH)[name]


def read_record(name: str, folder: Path = FOLDER) -> JsonObject:
    """Return a record of `python -m docs.record`.

    Raises:
        ValueError: it is missing, of another format, or lacks a field.
    """
    path = folder / f"{name}.json"
    remedy = f"run `python -m docs.record {name}`"
    if not path.is_file():
        raise ValueError(f"{path.name} does not exist in {folder}: {remedy}")
    record: JsonObject = json.loads(path.read_text("utf-8"))
    if record.get("format") != FORMAT:
        raise ValueError(f"{path.name} has format={record.get('format')}, not {FORMAT}: {remedy}")
    if missing := [field for field in FIELDS[name] if field not in record]:
        raise ValueError(f"{path.name} lacks {', '.join(missing)}: {remedy}")
    return record


def attention_steps() -> str:
    """Return the three steps of attention of a trained model as a figure."""
    record = read_record("attention")
    source, target = record["source"], record["target"]
    names = {"scores": source, "weights": source, "outputs": ()}
    room = (WIDTH - 16 - 3 * CELL * len(source)) / 2
    parts = []
    for i, (name, columns) in enumerate(names.items()):
        left = 15 + i * (CELL * len(source) + room)
        parts += matrix(record[name], left, wording(name), target, columns)
    about = wording("about steps").format(source=" ".join(map(str, source)))
    return figured(parts, TOP + CELL * len(target) + 2, about, below(record, "attention"))


def attention_learning() -> str:
    """Return the weights of attention before and after training as a figure."""
    record = read_record("attention")
    parts = []
    for i, (name, field) in enumerate((("before", "untrained"), ("after", "weights"))):
        left = 15 + i * WIDTH / 2
        parts += matrix(record[field], left, wording(name), record["target"], record["source"])
    height = TOP + CELL * len(record["target"]) + 2
    return figured(parts, height, wording("about learning"))


def matrix(
    values: Sequence[Sequence[float]],
    left: float,
    name: str,
    rows: Sequence[object],
    columns: Sequence[object],
) -> list[str]:
    """Return the parts of a matrix as shaded cells, with names of its rows and columns."""
    largest = max(abs(value) for row in values for value in row) or 1.0
    parts = [text((left, 8), name, "label")]
    for s, column in enumerate(columns):
        parts.append(text((left + (s + 0.5) * CELL, 24), str(column), "label", "middle"))
    for t, row in enumerate(values):
        y = TOP + t * CELL
        parts.append(text((left - 5, y + CELL / 2), str(rows[t]), "label", "end"))
        for s, value in enumerate(row):
            at = f'x="{left + s * CELL:.1f}" y="{y:.1f}" width="{CELL}" height="{CELL}"'
            kind = "seen" if value >= 0 else "negative"
            shade = f'fill-opacity="{abs(value) / largest:.2f}"'
            parts.append(f'<rect class="{kind}" {at} {shade}/>')
    return parts


def learning_curves() -> str:
    """Return the learning curves of several families as a figure."""
    record = read_record("curves")
    curves: Mapping[str, Sequence[tuple[float, float]]] = record["curves"]
    values = [value for points in curves.values() for _, value in points]
    steps = record["steps"]
    frame, to_drawing = axes(
        (0, steps * 1.36), ticks_within(0, steps, 4), ticks_around(*extent(values)), "loss"
    )
    parts = [text((0, 10), wording("loss"), "label")]
    for tick in frame.y_ticks:
        parts.append(line((frame.left, tick.at), (to_drawing(steps, 0)[0], tick.at), "grid"))
        parts.append(text((frame.left - 6, tick.at), tick.label, "label", "end"))
    for tick in frame.x_ticks:
        parts.append(text((tick.at, HEIGHT - 10), tick.label, "label", "middle"))
    parts.append(text((to_drawing(steps * 1.1, 0)[0], HEIGHT - 10), wording("steps"), "label"))
    ends = {name: to_drawing(steps, points[-1][1]) for name, points in curves.items()}
    lowest = float("-inf")
    for name, (x, y) in sorted(ends.items(), key=lambda item: item[1][1]):
        lowest = max(y, lowest + GAP)
        points = [to_drawing(*point) for point in curves[name]]
        if len(points) == 1:
            points = [(frame.left, y), (x, y)]
        path = "L".join(f"{px:.1f} {py:.1f}" for px, py in points)
        kind = f"curve curve-{list(curves).index(name)}"
        parts.append(f'<path class="{kind}" d="M{path}"/>')
        parts.append(text((x + 6, lowest), NAMES.get(name, name)))
    return figured(parts, HEIGHT, wording("about curves"), below(record, "curves"))


def below(record: JsonObject, name: str) -> str:
    """Return the line below a figure: command, circumstances, version and day."""
    sizes = ", ".join(
        f"{NAMES.get(each, each)} {size:,}" for each, size in record.get("parameters", {}).items()
    )
    about = wording(name).format(
        command=code(record["command"]),
        steps=f"{record['steps']:,}",
        accuracy=record.get("accuracy"),
        sizes=sizes,
    )
    comma, stop = ("；", "。") if interface_language() == CHINESE else ("; ", ".")
    return f"{{.measured}}\n{about}{comma}torch {record['torch']}{comma}{record['date']}{stop}"


TRAINED: dict[str, Callable[[], str]] = {
    "attention-learning": attention_learning,
    "attention-steps": attention_steps,
    "learning-curves": learning_curves,
}
