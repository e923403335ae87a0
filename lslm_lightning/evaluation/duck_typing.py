"""Adapters for systems written for the last release, which had methods but no base class."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

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

T = TypeVar("T")


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
        """Yield one prediction for each example, in any order, with the `nats` of its first
        reference.
        """
        ...


def _of_wrapped(find: Callable[[object], T]) -> T:
    """Return a property that computes its value with `find` from the wrapped object.

    For type checkers, the result has the type of the value, since `System` declares an attribute.
    """
    return property(lambda adapter: find(adapter.wrapped))  # type: ignore[return-value]


def _name_of(wrapped: object) -> str:
    """Return the name of a duck-typed system, or the name of its class if it has none."""
    return str(getattr(wrapped, "name", type(wrapped).__name__))


def _is_baseline(wrapped: object) -> bool:
    """Return whether the class of a duck-typed system is defined in a module named `baselines`."""
    return type(wrapped).__module__.rpartition(".")[2] == "baselines"


def _run_directory_of(wrapped: object) -> Path | None:
    """Return the run directory of a duck-typed system; None if it has none."""
    directory = getattr(wrapped, "directory", None)
    return None if directory is None else Path(directory.path)


class _Adapter(System):
    """Adapter of a duck-typed system.

    Each method or attribute of the wrapped object is looked up by its old name at the time of use,
    so that an error in one of them is raised there.
    """

    def __init__(self, wrapped: DuckGenerator | DuckScorer) -> None:
        self.wrapped = wrapped

    name: str = _of_wrapped(_name_of)
    modality: str | None = _of_wrapped(lambda wrapped: getattr(wrapped, "reads", "text"))
    shardable: bool = _of_wrapped(lambda wrapped: getattr(wrapped, "shared", True))
    needs_all_examples: bool = _of_wrapped(lambda wrapped: getattr(wrapped, "whole_exam", False))
    is_baseline: bool = _of_wrapped(_is_baseline)
    allow_mismatch: bool = _of_wrapped(lambda wrapped: getattr(wrapped, "allow_mismatch", False))
    run_directory: Path | None = _of_wrapped(_run_directory_of)

    def _method(self, name: str, default: Callable[..., T]) -> Callable[..., T]:
        """Return a method of the wrapped object, or `default` if it has no such method."""
        method: Callable[..., T] = getattr(self.wrapped, name, default)
        return method

    def prepare(self, examples: Sequence[Example]) -> None:
        self._method("ready", super().prepare)(examples)

    def fingerprint(self) -> str | None:
        return self._method("fingerprint", super().fingerprint)()

    def info(self) -> Mapping[str, object]:
        return self._method("facts", super().info)()

    def signature(self, mode: Mode) -> str:
        return self._method("signature", super().signature)(mode)

    def calibrate(self, examples: Callable[[], Sequence[Example]]) -> None:
        self._method("tune", super().calibrate)(examples)

    def cut_sources(self, examples: Sequence[Example]) -> tuple[int, str]:
        return self._method("cut_sources", super().cut_sources)(examples)

    def chosen_runs(self) -> Sequence[object]:
        return self._method("chosen_runs", super().chosen_runs)()

    def purposes(self) -> Sequence[Purpose]:
        return self._method("purposes", super().purposes)()

    def told_languages(self) -> tuple[str, str] | None:
        return self._method("told_languages", super().told_languages)()


class _GeneratorAdapter(_Adapter, Generator):
    """Adapter of a duck-typed system that writes answers."""

    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        assert isinstance(self.wrapped, DuckGenerator)
        return self.wrapped.generate(examples)


class _ScorerAdapter(_Adapter, Scorer):
    """Adapter of a duck-typed system that gives probabilities."""

    def log_prob(
        self, examples: Sequence[Example], answers: Answers | None = None
    ) -> Iterator[Prediction]:
        assert isinstance(self.wrapped, DuckScorer)
        if answers is None:
            return self.wrapped.log_prob(examples)
        method: Callable[..., Iterator[Prediction]] = self.wrapped.log_prob
        if "answers" not in inspect.signature(method).parameters:
            raise CannotError(f"{self.name}.log_prob takes no answers: give it that parameter")
        return method(examples, answers)


class _BothAdapter(_GeneratorAdapter, _ScorerAdapter):
    """Adapter of a duck-typed system that writes answers and gives probabilities."""


def as_system(system: System | DuckGenerator | DuckScorer) -> System:
    """Return a system unchanged, or an adapter around a system written for the last release.

    The adapter comes with a warning that says which class to derive from.

    Raises:
        TypeError: the object can neither generate answers nor compute probabilities.
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
    """Return the user's own object: the system, without its adapter if it has one."""
    return system.wrapped if isinstance(system, _Adapter) else system
