"""Adapters for systems of the last release, which had methods but no base class."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lslm_lightning.contracts import (
    Answers,
    CannotError,
    Example,
    Generator,
    Mode,
    Prediction,
    Purpose,
    Scorer,
    System,
)


@runtime_checkable
class DuckGenerator(Protocol):
    """A class with a `generate` method that does not derive from `Generator`."""

    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        """Yield one prediction with `output` for each example, in any order."""
        ...


@runtime_checkable
class DuckScorer(Protocol):
    """A class with a `log_prob` method that does not derive from `Scorer`."""

    def log_prob(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        """Yield one prediction with `nats` of the first reference for each example, in any
        order.
        """
        ...


class _Adapter(System):
    """Adapter of a duck-typed system; its abilities are looked up by their old names when they are
    used, so that an error in one is raised there.
    """

    def __init__(self, wrapped: DuckGenerator | DuckScorer) -> None:
        self.wrapped = wrapped

    def _own(self, name: str, default: Any) -> Any:
        return getattr(self.wrapped, name, default)

    @property
    def name(self) -> str:
        return self._own("name", type(self.wrapped).__name__)

    @property
    def modality(self) -> str | None:
        return self._own("reads", "text")

    @property
    def shardable(self) -> bool:
        return self._own("shared", True)

    @property
    def needs_all_examples(self) -> bool:
        return self._own("whole_exam", False)

    @property
    def is_baseline(self) -> bool:
        return type(self.wrapped).__module__.rpartition(".")[2] == "baselines"

    @property
    def allow_mismatch(self) -> bool:
        return self._own("allow_mismatch", False)

    @property
    def run_directory(self) -> Path | None:
        directory = self._own("directory", None)
        return None if directory is None else Path(directory.path)

    def prepare(self, examples: Sequence[Example]) -> None:
        self._own("ready", super().prepare)(examples)

    def fingerprint(self) -> str | None:
        return self._own("fingerprint", super().fingerprint)()

    def info(self) -> Mapping[str, object]:
        return self._own("facts", super().info)()

    def signature(self, mode: Mode) -> str:
        return self._own("signature", super().signature)(mode)

    def calibrate(self, examples: Callable[[], Sequence[Example]]) -> None:
        self._own("tune", super().calibrate)(examples)

    def cut_sources(self, examples: Sequence[Example]) -> tuple[int, str]:
        return self._own("cut_sources", super().cut_sources)(examples)

    def chosen_runs(self) -> Sequence[object]:
        return self._own("chosen_runs", super().chosen_runs)()

    def purposes(self) -> Sequence[Purpose]:
        return self._own("purposes", super().purposes)()


class _GeneratorAdapter(_Adapter, Generator):
    """Adapter of a duck-typed system that writes answers."""

    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        return self.wrapped.generate(examples)


class _ScorerAdapter(_Adapter, Scorer):
    """Adapter of a duck-typed system that gives probabilities."""

    def log_prob(
        self, examples: Sequence[Example], answers: Answers | None = None
    ) -> Iterator[Prediction]:
        if answers is None:
            return self.wrapped.log_prob(examples)
        if "answers" not in inspect.signature(self.wrapped.log_prob).parameters:
            raise CannotError(f"{self.name}.log_prob takes no answers: give it that parameter")
        return self.wrapped.log_prob(examples, answers)


class _BothAdapter(_GeneratorAdapter, _ScorerAdapter):
    """Adapter of a duck-typed system that writes answers and gives probabilities."""


def as_system(system: System | DuckGenerator | DuckScorer) -> System:
    """Return a system unchanged, or an adapter around one of the last release, with a warning that
    says what to derive from.

    Raises:
        TypeError: it can neither write answers nor give probabilities.
    """
    if isinstance(system, System):
        return system
    kinds = (isinstance(system, DuckGenerator), isinstance(system, DuckScorer))
    kind = type(system).__name__
    if not any(kinds):
        raise TypeError(
            f"{kind} is no system: derive it from Generator or Scorer of lslm_lightning.contracts"
        )
    bases = " and ".join(
        base for base, has_it in zip(("Generator", "Scorer"), kinds, strict=True) if has_it
    )
    warnings.warn(
        f"{kind} has the methods of a system but derives from none: derive it from {bases} of "
        "lslm_lightning.contracts; the next release accepts no other",
        FutureWarning,
        stacklevel=2,
    )
    adapter = {
        (True, False): _GeneratorAdapter,
        (False, True): _ScorerAdapter,
        (True, True): _BothAdapter,
    }[kinds]
    return adapter(system)


def unwrapped(system: System) -> object:
    """Return the user's own object, without the adapter that may be around it."""
    return system.wrapped if isinstance(system, _Adapter) else system
