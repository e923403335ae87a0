"""Saved views of an experiment in MLflow's web UI: columns, order and charts that compare runs.

The UI stores a view as a tag of the experiment (`useSharedExperimentViewState` and
`savedViewEnvelope` in MLflow's source). A link that names the view opens it, and the menu "Views"
lists it.
"""

import base64
import json
import re
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lslm_lightning.tracking.descriptions import DESCRIPTION, is_own, sign
from lslm_lightning.tracking.names import mlflow_name
from lslm_lightning.types import JsonObject

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

KIND = {"mlflow.experimentKind": "custom_model_development"}  # model training, not LLM evaluation
KEY = "lslm"
NESTED = f"{KEY}-parts"
PREFIX = "mlflow.sharedViewState."
TAG = f"{PREFIX}{KEY}"
SETTINGS = "settings that differ"  # a section of charts
NAMES = {KEY: "Best first (lslm)", NESTED: "Newest first, with their parts (lslm)"}
LONGEST_TAG = 20_000  # characters of an experiment's tag
N_RUN = 200  # newest runs that the view is made from
MOST_COLUMNS = 12  # for settings in which runs differ
TAGS = (
    "corpus",
    "languages",
    "model",
    "command",
)  # tags with a column; the last one only if it differs
# pixels
WIDTHS = {
    "interval": 210,
    "languages": 110,
    "corpus": 110,
    "model": 130,
    "n_parameter": 120,
    "command": 90,
}
NO_SCORES = ("_deviation", "/cut_sources")  # metrics that describe scores
MEASURED = (
    "n_parameter",
    "data.train_",
    "data.val_",
    "cost.",
)  # measured parameters, which are not settings
SHOWN = ("backbone", "corpus", "source_language", "target_language")  # shown as tags
# parameter names of earlier releases, which logged all settings
EARLIER = re.compile(r"\.(class_path|init_args\.)|^(trainer|job)\.")


def publish(client: "MlflowClient", experiment_id: str) -> None:
    """Write the saved views, the experiment kind and a description with links as tags of an
    experiment.

    Tags that a user has changed in the UI are left unchanged.
    """
    tags = client.get_experiment(experiment_id).tags
    for name, value in KIND.items():
        if name not in tags:
            client.set_experiment_tag(experiment_id, name, value)
    runs = list(client.search_runs([experiment_id], max_results=N_RUN))
    if not any(run.data.metrics for run in runs):
        return
    state = view_state(runs)
    for key, name in NAMES.items():
        # only in this order does the UI show children below their parents
        view = (
            state
            if key == KEY
            else state | {"orderByKey": "attributes.start_time", "orderByAsc": False}
        )
        if is_ours(before := tags.get(f"{PREFIX}{key}", "")) and state_of(before) != view:
            client.set_experiment_tag(experiment_id, f"{PREFIX}{key}", envelope(name, view))
    text = sign(introduction(experiment_id), LONGEST_TAG)
    if is_own(known := tags.get(DESCRIPTION, "")) and known != text:
        client.set_experiment_tag(experiment_id, DESCRIPTION, text)


def links(experiment_id: str) -> dict[str, str]:
    """Return the addresses of an experiment's views and models in MLflow's web UI, starting with
    `#`, by label.
    """
    home = f"#/experiments/{experiment_id}"
    training = "workflowType=machine_learning"  # where the pages have other names otherwise
    page = f"{home}/runs?{training}&compareRunsMode="
    return {
        "best first": f"{page}TABLE&viewStateShareKey={KEY}",
        "charts": f"{page}CHART&viewStateShareKey={KEY}",
        "newest first": f"{page}TABLE&viewStateShareKey={NESTED}",
        "models": f"{home}/models?{training}",
    }


def introduction(experiment_id: str) -> str:
    """Return the Markdown description of an experiment, which links to its views."""
    return "Compare runs: " + " · ".join(
        f"[{name}]({address})" for name, address in links(experiment_id).items()
    )


# The state


def view_state(runs: Sequence["Run"]) -> JsonObject:
    """Return the contents of a view in the UI's format: search, columns, charts and sections.

    Args:
        runs: runs of the experiment, newest first.
    """
    headline = headline_of(runs)
    metrics = ordered_metrics(runs, headline)
    columns = columns_of(runs, headline, metrics)
    sections, charts = charts_of(metrics)
    parents = {
        run.data.tags["mlflow.parentRunId"] for run in runs if "mlflow.parentRunId" in run.data.tags
    }
    return {
        "searchFilter": "",
        "orderByKey": f"metrics.`{headline}`",
        "orderByAsc": is_lower_better(headline, runs),
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {name: width(name.split("`")[1]) for name in columns},
        "runsExpanded": dict.fromkeys(sorted(parents), True),
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsHiddenMode": "FIRST_10_RUNS",
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "groupBy": None,
        "groupsExpanded": {},
        "autoRefreshEnabled": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
    }


def columns_of(runs: Sequence["Run"], headline: str, metrics: Sequence[str]) -> list[str]:
    """Return the columns of the table of runs.

    These are the main score, tags and settings in which the runs differ, other scores, and last the
    tags that all runs share.

    Args:
        headline: name of the main metric.
        metrics: names of all metrics with a chart.
    """
    known = {name: {run.data.tags.get(name) for run in runs} - {None} for name in TAGS}
    differs = {name: len(found) > 1 for name, found in known.items()}
    sizes = {run.data.params.get("n_parameter") for run in runs} - {None}
    size = "params.`n_parameter`"
    others = [name for name in metrics if name.startswith("test/") and name != headline][:3]
    return [
        f"metrics.`{headline}`",
        "tags.`interval`",
        *(f"tags.`{name}`" for name in TAGS if differs[name]),
        *(f"params.`{name}`" for name in differing_parameters(runs)),
        *([size] if len(sizes) > 1 else []),
        *(f"metrics.`{name}`" for name in others),
        *(f"tags.`{name}`" for name in TAGS if not differs[name] and name != "command"),
        *([] if len(sizes) > 1 else [size]),
    ]


def width(name: str) -> int:
    """Return the width in pixels of the column `name`, wide enough for its heading."""
    return WIDTHS.get(name) or max(100, 8 * len(name) + 40)


def headline_of(runs: Sequence["Run"]) -> str:
    """Return the metric by which runs are compared.

    It is the metric that most runs name as headline, else a test score, else the validation loss.
    """
    named = [
        (mlflow_name(run.data.tags["headline"]), run)
        for run in runs
        if run.data.tags.get("headline")
    ]
    said = Counter(name for name, run in named if name in run.data.metrics)
    if said:
        return said.most_common(1)[0][0]
    names = Counter(name for run in runs for name in sorted(run.data.metrics))
    scores = [
        name
        for name, _ in names.most_common()
        if name.startswith("test/") and not name.endswith(NO_SCORES)
    ]
    return scores[0] if scores else "val/loss"


def ordered_metrics(runs: Sequence["Run"], headline: str) -> list[str]:
    """Return the metrics that get a chart: test metrics, then validation metrics, then training
    metrics.

    In each group, the main metric and the loss come first.

    Args:
        headline: name of the main metric.
    """
    name = headline.rpartition("/")[2]
    ranks = {"test": 0, "val": 1, "train": 2}

    def rank(metric: str) -> tuple[int, int, str]:
        split, _, inner = metric.partition("/")
        return ranks[split], [name, "loss"].index(inner) if inner in (name, "loss") else 2, inner

    known = {
        metric for run in runs for metric in run.data.metrics if metric.partition("/")[0] in ranks
    }
    return sorted(
        (metric for metric in known if "/" in metric and not metric.endswith(NO_SCORES)), key=rank
    )


def differing_parameters(runs: Sequence["Run"]) -> list[str]:
    """Return the settings in which runs of the same kind differ, most common first.

    Measured values are excluded. If there are runs of this release, settings that only earlier
    releases logged are excluded as well.
    """
    recent = [run for run in runs if "n_parameter" in run.data.params]
    if recent:
        runs = recent
    known = [
        name
        for run in runs
        for name in run.data.params
        if not name.startswith(MEASURED) and name not in SHOWN
    ]
    having = Counter(name for name in known if not (recent and EARLIER.search(name)))
    groups: dict[str, list[dict[str, str]]] = {}
    for run in runs:
        if run.data.params:
            groups.setdefault(kind_of(run), []).append(run.data.params)
    differing = [
        name
        for name in having
        if any(len({params.get(name) for params in group}) > 1 for group in groups.values())
    ]
    return sorted(differing, key=lambda name: (-having[name], name))[:MOST_COLUMNS]


def kind_of(run: "Run") -> str:
    """Return the kind of a run according to its parameters: "system", "n_shot" or "training"."""
    return next((name for name in ("system", "n_shot") if name in run.data.params), "training")


def charts_of(metrics: Sequence[str]) -> tuple[list[JsonObject], list[JsonObject]]:
    """Return sections and charts for the UI: bar charts of test scores, a table of differing
    settings, and curves.

    Args:
        metrics: names of the metrics that get a chart, in order.
    """
    names = [*dict.fromkeys(metric.partition("/")[0] for metric in metrics)]
    names.insert(1 if names[:1] == ["test"] else 0, SETTINGS)
    names += ["Model metrics", "System metrics"]
    sections = [
        {
            "uuid": f"{KEY}-{name}",
            "name": name,
            "display": name != "System metrics",
            "isReordered": True,
            "deleted": False,
            "isGenerated": False,
            **({"columns": 1, "cardHeight": 420} if name == SETTINGS else {}),
        }
        for name in names
    ]
    charts = [chart(metric) for metric in metrics]
    charts.append(
        {
            "type": "DIFFERENCE",
            "uuid": f"{KEY}-difference",
            "metricSectionId": f"{KEY}-{SETTINGS}",
            "chartName": "Settings that differ",
            "compareGroups": ["Parameters"],
            "showChangeFromBaseline": False,
            "showDifferencesOnly": True,
            "baselineColumnUuid": "",
            "runsCountToCompare": 10,
            "deleted": False,
            "isGenerated": False,
        }
    )
    return sections, charts


def chart(metric: str) -> JsonObject:
    """Return the chart of one metric in the UI's format."""
    split = metric.partition("/")[0]
    found: JsonObject = {
        "type": "BAR" if split == "test" else "LINE",
        "uuid": f"{KEY}-{metric}",
        "metricSectionId": f"{KEY}-{split}",
        "metricKey": metric,
        "runsCountToCompare": 10,
        "deleted": False,
        "isGenerated": False,
    }
    if split != "test":
        found |= {
            "selectedMetricKeys": [metric],
            "lineSmoothness": 0,
            "scaleType": "linear",
            "xAxisScaleType": "linear",
            "xAxisKey": "step",
            "selectedXAxisMetricKey": "",
            "yAxisKey": "metric",
            "yAxisExpressions": [],
            "ignoreOutliers": False,
            "range": {},
            "useGlobalXaxisKey": True,
            "useGlobalLineSmoothing": True,
        }
    return found


def is_lower_better(metric: str, runs: Sequence["Run"]) -> bool:
    """Return whether lower values of a metric are better, according to the tags of the runs.

    Without such a tag, this is so for a loss only.
    """
    name = metric.rpartition("/")[2]
    for run in runs:
        try:
            scores = {
                mlflow_name(key): value
                for key, value in json.loads(run.data.tags.get("scores", "{}")).items()
            }
            return not scores[name]["higher_is_better"]
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return name == "loss"


# The tag


def envelope(name: str, state: JsonObject) -> str:
    """Return a view in the form in which the UI stores it in a tag: its name and compressed
    contents.
    """
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    now = round(time.time() * 1000)
    return json.dumps(
        {"name": name, "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"}
    )


def state_of(tag: str) -> JsonObject | None:
    """Return the contents of a view in a tag that `envelope` made; None for any other text."""
    try:
        packed = json.loads(tag)["state"].removeprefix("deflate;")
        return json.loads(zlib.decompress(base64.b64decode(packed)))
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
        return None


def is_ours(tag: str) -> bool:
    """Return whether a view may be replaced: there is none, or no user has saved it in the UI.

    Args:
        tag: tag that holds the view; "" if there is none.
    """
    if not tag:
        return True
    try:
        found = json.loads(tag)
        return found["createdAt"] == found.get("updatedAt", found["createdAt"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
