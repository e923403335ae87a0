"""Names of types that have no class of their own.

A value out of a JSON or YAML document could be anything that such a document can hold, and the
recursive type that says so needs a cast at every step. Code that knows more says more: a
`NamedTuple`, a `TypedDict`, a dataclass; `object` where a value is only passed on.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

Json: TypeAlias = Any  # null, a truth value, a number, a text, a list or a mapping of these
JsonObject: TypeAlias = dict[str, Json]  # one JSON object, or one mapping of a YAML document
Settings: TypeAlias = Mapping[str, Json]  # (part of) a config, not to be changed
StateDict: TypeAlias = dict[str, Any]  # state that only its owner reads, as PyTorch writes it
