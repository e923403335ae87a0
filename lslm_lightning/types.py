"""Type aliases, for types without a class of their own.

A value from a JSON or YAML document can be anything that such a document can contain. A recursive
type for this would need a cast at every step. Code that knows more uses a precise type: a
`NamedTuple`, a `TypedDict` or a dataclass. `object` is used for a value that is only passed on.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np

Json: TypeAlias = Any  # null, a truth value, a number, a text, a list or a mapping of these
JsonObject: TypeAlias = dict[str, Json]  # one JSON object, or one mapping of a YAML document
Settings: TypeAlias = Mapping[str, Json]  # (part of) a config, not to be changed
# of rows of ids, and of the number of given ids in each, the nats of each id
TokenNats: TypeAlias = "Callable[[Sequence[Sequence[int]], Sequence[int] | None], list[np.ndarray]]"
StateDict: TypeAlias = dict[str, Any]  # state that only its owner reads, as PyTorch writes it
# what a model is intended for, against which the licence of its data is held
IntendedUse: TypeAlias = Literal["research", "commercial", "publication"]
