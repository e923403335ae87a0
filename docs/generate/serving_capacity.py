"""Tables of `lslm serve` under load, and the number of users that a machine carries."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from docs.generate.benchmark_tables import Figures, Rows, aligned, shown
from docs.generate.language import localized
from docs.generate.markdown import table
from lslm_lightning.types import Settings
from tests.benchmarks.benchmark import number

MODELS = {"language_model": "language model, streamed", "translator": "translator, beam 5"}
PAUSES = (10, 30, 60)  # seconds between an answer and the next request of a user
PAUSE = 30  # of these, that of the second table
WAITS = (0.5, 1, 2, 5)  # seconds that 95 % of the requests wait at most


class Load(NamedTuple):
    """Measurement of a model under requests of clients that never pause.

    Args:
        model: name of the model.
        n_client: number of clients, each of which has a request under way.
        requests: requests answered in a second.
        tokens: tokens written in a second.
        first: seconds to the first part of a streamed answer, p95; None without streams.
        whole: seconds to the end of an answer, p95.
    """

    model: str
    n_client: int
    requests: float
    tokens: float
    first: float | None
    whole: float

    @property
    def wait(self) -> float:
        """Seconds that a user waits: for the first part of a stream, else for the answer, p95."""
        return self.whole if self.first is None else self.first

    def users(self, pause: float) -> int:
        """Return the number of users who together make this load, by Little's law.

        In a second `requests` users ask, each of whom pauses for `pause` seconds before; the others
        have a request under way.
        """
        return int(self.n_client + self.requests * pause)


def loads(figures: Figures, part: str = "load") -> Iterator[Load]:
    """Yield the measurements of a part of the record, by model and number of clients."""
    for model in MODELS:
        found = {
            int(name.rpartition("_")[2]): each
            for name, each in figures.get(part, {}).items()
            if name.rpartition("_")[0] == model
        }
        for n_client, each in sorted(found.items()):
            yield Load(
                MODELS[model],
                n_client,
                each["requests_per_second"],
                each["tokens_per_second"],
                seconds(each, "first_ms"),
                seconds(each, "whole_ms") or 0.0,
            )


def seconds(figures: Settings, name: str) -> float | None:
    """Return the p95 of latencies in seconds; None if there are none."""
    return figures[name][1] / 1000 if name in figures else None


def under_load(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return the table of `lslm serve` under load, beside a plain server of transformers."""
    rows: Rows = []
    for part, system in (("load", "lslm serve"), ("peer", "FastAPI, transformers")):
        for load in loads(figures, part):
            figures_of_load = (load.tokens, load.requests, load.first, load.whole)
            name = f"{localized(load.model)}; {system}"
            rows.append((name, str(load.n_client), *map(shown, figures_of_load)))
    headings = ("model; server", "clients", "tokens/s", "requests/s")
    return (*headings, "first part, p95 in s", "whole, p95 in s"), rows


def users_by_load(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return the table of users by the load that they make."""
    rows: Rows = [
        (
            localized(load.model),
            str(load.n_client),
            number(load.requests),
            number(load.wait),
            *(f"{load.users(pause):,}" for pause in PAUSES),
        )
        for load in loads(figures)
    ]
    pauses = (f"users, pause {pause} s" for pause in PAUSES)
    return ("model", "requests at a time", "requests/s", "wait, p95 in s", *pauses), rows


def users_by_wait(figures: Figures) -> tuple[Sequence[str], Rows]:
    """Return the table of users by the time that 95 % of their requests wait at most."""
    by_model: dict[str, list[Load]] = {}
    for load in loads(figures):
        by_model.setdefault(load.model, []).append(load)
    rows: list[tuple[str, *tuple[float | None, ...]]] = [
        (localized(model), *(most_users(found, wait) for wait in WAITS))
        for model, found in by_model.items()
    ]
    return aligned(rows, "model", *(f"users, wait up to {wait} s" for wait in WAITS))


def most_users(found: Sequence[Load], wait: float) -> int | None:
    """Return the most users of any measurement in which 95 % of the requests wait at most `wait`
    seconds; None if there is none.
    """
    fitting = [load.users(PAUSE) for load in found if load.wait <= wait]
    return max(fitting) if fitting else None


def capacity_tables(figures: Mapping[str, Settings]) -> str:
    """Return both tables of users."""
    return "\n\n".join(
        table(headings, rows, numbers=len(headings) - 1)
        for headings, rows in (users_by_wait(figures), users_by_load(figures))
    )
