"""Check of the sizes in a `transformers` config.json against the size of the weights."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from lslm_lightning.safety.parameters import ADVICE, Bounds, bounds_of_folder
from lslm_lightning.types import Json, Settings

# at the end of a name: modules one after the other
LAYERS = re.compile(r"(^|_)(layers?|blocks?|depths?|types)$")
LABELS = re.compile(r"(^|_)(labels|classes)$")
# may be large, and no module has that size
FREE = re.compile(r"theta|base|freq|timescale|seed|window|len|scale|_ids?$")
# no model has fewer than one of them
POSITIVE = re.compile(
    r"vocab_size|hidden_size|intermediate_size|d_(model|ff|kv)|n_(embd|layer|head|inner)|head_dim|"
    r"num_(heads|layers|decoder_layers|hidden_layers|attention_heads|key_value_heads)|"
    r"(encoder|decoder)_(layers|attention_heads|ffn_dim)"
)
MOST_LAYERS = 10_000
MOST_LABELS = 1_000_000
MOST = 1 << 27  # of any other size


def bounds_of(path: str) -> Bounds:
    """Return the bounds on the sizes of a model, from the files in its folder; no bounds for a hub
    id.
    """
    folder = Path(path)
    return bounds_of_folder(folder) if folder.is_dir() else Bounds()


def check_sizes(config: Settings, bounds: Bounds) -> None:
    """Raise ValueError if a configuration has more layers, labels or units than its weights can
    have, or no layers, heads or units.

    The check runs before anything of that size is allocated. The message states the setting and the
    largest accepted value.
    """
    for name, value in config.items():
        is_size = isinstance(value, int) and POSITIVE.fullmatch(name)
        if is_size and value < 1:
            raise ValueError(
                f"its config.json has {name}={value}, which must be at least 1; fetch it again"
            )
    n_layer = MOST_LAYERS if bounds.n_layer is None else bounds.n_layer
    n_unit = MOST if bounds.n_parameter is None else max(MOST, bounds.n_parameter)
    for name, value in whole_numbers(config):
        if FREE.search(name):
            continue
        n_most = n_layer if LAYERS.search(name) else MOST_LABELS if LABELS.search(name) else n_unit
        if value > n_most:
            shown = f"{value:,}" if value < 10**20 else f"10^{len(str(value)) - 1}"
            raise ValueError(
                f"its config.json has {name}={shown}, more than the {n_most:,} that its weights "
                f"allow; {ADVICE}"
            )


def whole_numbers(config: Json, name: str = "") -> Iterator[tuple[str, int]]:
    """Yield (setting name, value) of every integer in a configuration, including nested ones.

    An integer in a list has the name of the list.

    Args:
        name: setting name of `config` itself, if it is an integer or a list.
    """
    if isinstance(config, Mapping):
        for key, value in config.items():
            yield from whole_numbers(value, str(key))
    elif isinstance(config, list | tuple):
        for value in config:
            yield from whole_numbers(value, name)
    elif isinstance(config, int) and not isinstance(config, bool):
        yield name, config
