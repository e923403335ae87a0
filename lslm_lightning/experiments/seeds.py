"""`lslm run --seeds N`: one experiment trained with N seeds, as child runs of one parent run."""

import json
import math
import os
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypedDict

from lslm_lightning.contracts import Score, metric_label
from lslm_lightning.evaluation.scoring import read_scores, scores_tag
from lslm_lightning.experiments.child_process import run_to_its_end
from lslm_lightning.experiments.endings import WorkError, attach_suggestion, is_stop
from lslm_lightning.experiments.evaluation_records import run_links
from lslm_lightning.experiments.invocation import command_arguments, command_line
from lslm_lightning.experiments.run_evaluation import digest_line
from lslm_lightning.files import atomic_write
from lslm_lightning.reports.description import describe, score_table
from lslm_lightning.reports.formatting import decimals, number
from lslm_lightning.reports.scores import heading_of
from lslm_lightning.reports.terminal import show_conclusion
from lslm_lightning.run_files import CONFIG, METRICS
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.config import read_config
from lslm_lightning.tracking.tracker import Tracker


class Summary(TypedDict):
    """Mean, sample standard deviation (None for one value) and values of one metric over seeds."""

    mean: float
    deviation: float | None
    values: dict[int, float]  # by seed


@dataclass
class TrainedSeeds:
    """Child runs of the parent run of several seeds.

    Attributes:
        children: runs that were trained and tested, by seed.
        failed: seeds whose training failed.
        apart: seeds that were tested on other data than the first seed.
        data: recorded facts about the test set of the first seed; empty before its test.
    """

    children: dict[int, RunDirectory] = field(default_factory=dict)
    failed: list[int] = field(default_factory=list)
    apart: list[int] = field(default_factory=list)
    data: dict[str, str] = field(default_factory=dict)

    def add(self, seed: int, child: RunDirectory) -> None:
        """Add the tested run of a seed.

        Args:
            child: directory of the run.
        """
        own = json.loads(child.metrics.read_text("utf-8"))["data"]
        self.data = self.data or own
        self.children[seed] = child
        if own["digest"] != self.data["digest"]:
            self.apart.append(seed)

    @property
    def scores(self) -> dict[int, dict[str, float]]:
        """Test scores by seed, then by metric name.

        Seeds tested on other data than the first, and scores that are not finite, are left out.
        """
        return {
            seed: {
                score.metric: score.value
                for score in read_scores(child.metrics)
                if math.isfinite(score.value)
            }
            for seed, child in self.children.items()
            if seed not in self.apart
        }

    def problems(self, parent: RunDirectory) -> list[str]:
        """Return one sentence for each problem: seeds that failed or were tested on other data.

        Args:
            parent: directory of the parent run, whose folder the message names.
        """
        found = []
        if self.failed:
            found.append(f"seeds {self.failed} failed; the others are in {parent.path.parent}")
        if self.apart:
            found.append(
                f"seeds {self.apart} were tested on other data than seed "
                f"{next(iter(self.children))} and are not part of the mean: the corpus has "
                "changed meanwhile; train them again"
            )
        return found


def run_seeds(n: int, first: int, parent: RunDirectory, tracker: Tracker) -> None:
    """Train with the seeds `first` to `first + n - 1`, and record the mean and deviation of every
    score in the parent run.

    If the length of training is set by `job.minutes`, the first seed determines the number of steps
    and the others train for the same number, so that the deviation comes from the seeds alone.

    Args:
        n: number of seeds.
        first: first seed.
        parent: directory of the parent run.
        tracker: tracker of the parent run.

    Raises:
        WorkError: a seed failed or was tested on other data; the remaining seeds were still
            trained.
    """
    trained = TrainedSeeds()
    for seed in range(first, first + n):
        child = train_seed(seed, first + n, parent, tracker, trained)
        if child is None:
            trained.failed.append(seed)
        else:
            trained.add(seed, child)
    summary = summarize(trained.scores)
    text = json.dumps({"seeds": n, "summary": summary}, indent=1)
    atomic_write(parent.metrics, text + "\n")
    show_conclusion([conclusion_on_seeds(trained, summary)])
    show(summary, n, tracker)
    if trained.data:
        print(digest_line(trained.data))
        describe_seeds(trained, summary, tracker)
    tracker.log_artifact(parent.metrics)
    for seed, child in trained.children.items():
        print(f"seed {seed} is {child.path}", flush=True)
    if problems := trained.problems(parent):
        raise WorkError("; ".join(problems))


def train_seed(
    seed: int, end: int, parent: RunDirectory, tracker: Tracker, trained: TrainedSeeds
) -> RunDirectory | None:
    """Train and test one seed in a child process.

    Args:
        end: one more than the last seed.
        parent: directory of the parent run.
        tracker: tracker of the parent run.
        trained: seeds trained so far; this seed trains for the same number of steps.

    Returns:
        Directory of the seed's run; None if it failed.
    """
    shuffles = "seed" in read_config(parent.config)["data"]["init_args"]
    name = f"{parent.path.name}-seed-{seed}"
    command = [
        *(sys.executable, "-m", "lslm_lightning", *command_arguments()),
        *steps_of(trained),
        "--job.seeds=1",
        f"--seed_everything={seed}",
        # a batch order of its own, as well as weights and dropout
        *([f"--data.seed={seed}"] if shuffles else []),
        f"--job.parent={tracker.version}",
        f"--job.name={name}",
    ]
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("LSLM_RUN", "PL_GLOBAL"))
    }
    print(f"seed {seed}", flush=True)
    try:
        status = run_to_its_end(command, environment)
    except BaseException as error:
        if is_stop(error):
            line = seeds_suggestion(newest(parent, name), seed, end, shuffles)
            attach_suggestion(error, line)
        raise
    written = sorted(parent.path.parent.glob(f"{name}-*/{METRICS}"), key=os.path.getmtime)
    return None if status or not written else RunDirectory(written[-1].parent)


def steps_of(trained: TrainedSeeds) -> Iterator[str]:
    """Yield command-line arguments that set the number of training steps to that of the last
    trained seed; nothing before the first seed.
    """
    usable = [child for seed, child in trained.children.items() if seed not in trained.apart]
    if usable:
        yield f"--trainer.max_steps={read_config(usable[-1].config)['trainer']['max_steps']}"
        yield "--job.minutes=null"


def describe_seeds(trained: TrainedSeeds, summary: Mapping[str, Summary], tracker: Tracker) -> None:
    """Write the tags and the description of the parent run to MLflow.

    Args:
        summary: result of `summarize`.
        tracker: tracker of the parent run.
    """
    data = trained.data
    tags: dict[str, str] = {
        "corpus": data["corpus"],
        "corpus.test_digest": data["digest"],
        "seeds": str(len(trained.scores)),
    }
    tags |= {"corpus.test_languages": data["languages"]} if "languages" in data else {}
    child = next(iter(trained.children.values()))
    first_scores = read_scores(child.metrics)
    tracker.set_tags(tags | {"scores": scores_tag(first_scores)} | shared_tags(child, summary))
    if size := child.beginning.get("parameters", {}).get("n_parameter"):
        tracker.log_hyperparams({"n_parameter": size})
    tracker.set_description(
        describe(
            score_table(seed_scores(summary, first_scores)),
            lead=f"**{sentence}**" if (sentence := conclusion_on_seeds(trained, summary)) else "",
            facts={"Test": digest_line(data)},
            command=command_line(),
            links=run_links(tracker, {CONFIG: CONFIG}),
        )
    )


def conclusion_on_seeds(trained: TrainedSeeds, summary: Mapping[str, Summary]) -> str:
    """Return the sentence "BLEU 31.2 over 3 seeds (30.9 to 31.5)" on the headline metric; "" for
    fewer than two scores.

    Args:
        summary: result of `summarize`.
    """
    for child in trained.children.values():
        headline = child.beginning.get("tags", {}).get("headline", "").rpartition("/")[2]
        if headline in summary and len(summary[headline]["values"]) > 1:
            row = summary[headline]
            values = row["values"].values()
            places = decimals(values)
            low, mean, high = (number(x, places) for x in (min(values), row["mean"], max(values)))
            score = next(each for each in read_scores(child.metrics) if each.metric == headline)
            unit = f" {shown}" if (shown := heading_of(score).shown_unit) else ""
            name = metric_label(headline)
            return f"{name} {mean}{unit} over {len(values)} seeds ({low} to {high})"
    return ""


def newest(parent: RunDirectory, name: str) -> RunDirectory | None:
    """Return the newest run called `name` in the folder of the parent run; None if there is none
    with a config.yaml.
    """
    found = sorted(parent.path.parent.glob(f"{name}-*/{CONFIG}"), key=os.path.getmtime)
    return RunDirectory(found[-1].parent) if found else None


def seeds_suggestion(child: RunDirectory | None, seed: int, end: int, shuffles: bool) -> str:
    """Return the line that tells how to continue after seeds were stopped.

    Args:
        child: run of `seed`, which was stopped; None if it had not started.
        seed: seed that was being trained.
        end: one more than the last seed.
        shuffles: whether each seed has its own order of batches. A command for a single seed must
            then set `data.seed` itself.
    """
    steps = [] if child is None else [command_line(["resume", str(child.path)])]
    seed = seed if child is None else seed + 1
    if seed < end:
        order = [f"--data.seed={seed}"] if shuffles and seed + 1 == end else []
        steps.append(
            command_line(
                [
                    *command_arguments(),
                    f"--job.seeds={end - seed}",
                    f"--seed_everything={seed}",
                    *order,
                ]
            )
        )
    return f"To continue: {' && '.join(steps)}"


def summarize(scores: dict[int, dict[str, float]]) -> dict[str, Summary]:
    """Return the mean, sample standard deviation (None for one value) and values by seed, for each
    metric.

    Args:
        scores: scores by seed, then by metric name.
    """
    summary: dict[str, Summary] = {}
    for name in dict.fromkeys(name for of_seed in scores.values() for name in of_seed):
        values = {seed: of_seed[name] for seed, of_seed in scores.items() if name in of_seed}
        deviation = statistics.stdev(values.values()) if len(values) > 1 else None
        summary[name] = {
            "mean": statistics.fmean(values.values()),
            "deviation": deviation,
            "values": values,
        }
    return summary


def shared_tags(child: RunDirectory, summary: Mapping[str, Summary]) -> dict[str, str]:
    """Return the MLflow tags that are the same for all seeds, and the tag `interval` with the
    deviation of the headline metric.

    Args:
        child: run of one of the seeds.
        summary: result of `summarize`.
    """
    noted = child.beginning.get("tags", {})
    tags = {name: noted[name] for name in ("model", "languages", "headline") if name in noted}
    headline = tags.get("headline", "").rpartition("/")[2]
    deviation = summary[headline]["deviation"] if headline in summary else None
    return tags | ({} if deviation is None else {"interval": f"± {number(deviation)} over seeds"})


def seed_scores(summary: Mapping[str, Summary], scores: Sequence[Score]) -> dict[str, list[Score]]:
    """Return the columns of a table of scores: "mean", "deviation" and one column per seed.

    Args:
        summary: result of `summarize`.
        scores: scores of one seed, which supply the names and units of the metrics.
    """
    known = [replace(score, low=None, high=None) for score in scores if score.metric in summary]
    found = {
        "mean": [replace(score, value=summary[score.metric]["mean"]) for score in known],
        "deviation": [
            replace(s, value=d) for s in known if (d := summary[s.metric]["deviation"]) is not None
        ],
    }
    for seed in dict.fromkeys(seed for row in summary.values() for seed in row["values"]):
        values = {
            name: row["values"][seed] for name, row in summary.items() if seed in row["values"]
        }
        found[f"seed {seed}"] = [
            replace(score, value=values[score.metric]) for score in known if score.metric in values
        ]
    return found


def show(summary: Mapping[str, Summary], n: int, tracker: Tracker) -> None:
    """Print the mean and deviation of every metric over `n` seeds, and log them to MLflow.

    Args:
        summary: result of `summarize`.
        tracker: tracker of the parent run.
    """
    for name, row in summary.items():
        mean = row["mean"]
        deviation = row["deviation"]
        n_value = len(row["values"])
        logged = {f"test/{name}": mean} | (
            {} if deviation is None else {f"test/{name}_deviation": deviation}
        )
        tracker.log_metrics(logged, step=0)
        margin = "" if deviation is None else f" ± {deviation:.2g}"
        print(
            f"{metric_label(name)}: {mean:.4g}{margin} over "
            f"{n_value if n_value == n else f'{n_value} of {n}'} seeds"
        )
