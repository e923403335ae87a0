"""Tables of what was measured of `lslm serve`."""

from collections.abc import Sequence

from docs.generate.benchmark_tables import Figures, Maker, Rows, aligned, parts
from docs.generate.serving_capacity import under_load
from lslm_lightning.contracts import metric_label


def scores(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return the table of scores of runs by themselves, and asked through HTTP."""
    rows = [
        (f"{model.replace('_', ' ')}: {metric_label(metric)}", value, systems["http"][metric])
        for model, systems in figures["evaluation"].items()
        for metric, value in systems["local"].items()
    ]
    return aligned(rows, "test set", "run", "through HTTP")


def answers(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return the table of answers to the clients of others, against those of the runs."""
    libre = figures["libre_translate"]
    rows = [
        ("lm_eval", found["answers"], found["not equal"], 1e6 * found["worst difference"])
        for found in figures["lm_eval"]["tasks"].values()
    ]
    rows.append(("libretranslatepy", len(libre["translated"]), libre["others"], None))
    return aligned(
        rows, "client", "answers", "not equal", "largest difference, millionths of a nat"
    )


SERVING_TABLES: dict[str, tuple[Maker, ...]] = {
    "serving": (under_load,),
    "serving_clients": (scores, answers),
    "serving_hostile": (
        parts(
            "attack on a server",
            {
                "requests": "n_request",
                "longest wait of others before, s": "calm_longest_s",
                "and meanwhile, s": "others_longest_s",
                "memory added, %": "growth_percent",
            },
            lambda found: "others_longest_s" in found,
        ),
    ),
}
