"""Benchmarks that are one training run, and the scores of what needs no model beside it."""

from collections.abc import Callable, Mapping

from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.job import train


def one_run(config: str, signature: Mapping[str, str]) -> Mapping[str, Callable]:
    """Its parts.

    Args:
        signature: metric -> what its signature must hold for the figure to be the one that is
            meant.
    """

    def training(done: Mapping[str, Figures], smoke: bool) -> Figures:
        figures = train(config, smoke=smoke)
        for metric, part in signature.items():
            if part not in figures["signatures"][metric]:
                raise ValueError(
                    f"{config}: {metric} must be scored with {part}, not "
                    f"{figures['signatures'][metric]}; correct the config"
                )
        return figures

    def baselines(done: Mapping[str, Figures], smoke: bool) -> Figures:
        from tests.benchmarks.finished import Finished

        return Finished(done["training"]["run"]).baselines()

    return {"training": training, "baselines": baselines}


def beside(figures: Mapping[str, Figures], *metrics: str) -> list[Check]:
    """The baselines' scores."""
    return [
        Check(f"{metric} of {name}", scores[metric])
        for name, scores in figures["baselines"].items()
        for metric in metrics
    ]


def minutes(figures: Mapping[str, Figures], most: float | None = None) -> Check:
    """How long the run trained."""
    return Check("minutes of training", figures["training"]["training_minutes"], "<=", most)


def only_reported(
    about: str, minutes_about: float, config: str, metric: str, signature: str
) -> Benchmark:
    """A benchmark without a threshold."""
    return Benchmark(
        about=about,
        minutes=minutes_about,
        parts=one_run(config, {metric: signature}),
        checks=lambda figures: [
            Check(metric, figures["training"]["scores"][metric]),
            *beside(figures, metric),
            minutes(figures),
        ],
        needs=("LSLM_DATA",),
    )
