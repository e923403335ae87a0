"""Settings that must fit together, refused before any long work."""

from typing import Any


def check_kind(task: Any, data: Any, kind: type) -> None:
    """Refuse the data module of another sort of task."""
    if not isinstance(data, kind):
        raise ValueError(
            f"{type(task).__name__} cannot read {type(data).__name__} but {kind.__name__}; choose a data.class_path of the same task"
        )


def check_lengths(min_length: int, max_length: int) -> None:
    """Refuse answers that cannot be."""
    if max_length < 1:
        raise ValueError(f"max_length={max_length} must be at least 1 token")
    if not 0 <= min_length <= max_length:
        raise ValueError(f"min_length={min_length} must be between 0 and max_length={max_length}")
