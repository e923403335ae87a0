"""Layouts of models of `transformers`."""

from collections.abc import Sequence

from lslm_lightning.interchange.layouts.bart import Bart, Blenderbot, Marian, MBart, Pegasus
from lslm_lightning.interchange.layouts.bert import Bert, Electra
from lslm_lightning.interchange.layouts.gpt2 import Gpt2
from lslm_lightning.interchange.layouts.gpt_neox import GptNeoX
from lslm_lightning.interchange.layouts.layout import Layout
from lslm_lightning.interchange.layouts.llama import Llama, Mistral, Qwen2, StableLm
from lslm_lightning.interchange.layouts.starcoder2 import Starcoder2
from lslm_lightning.interchange.layouts.t5 import T5
from lslm_lightning.interchange.parts import ModelParts

LAYOUTS: tuple[Layout, ...] = (
    Llama(),
    GptNeoX(),
    Gpt2(),
    Starcoder2(),
    StableLm(),
    Mistral(),
    Qwen2(),
    Pegasus(),
    Marian(),
    Bart(),
    MBart(),
    Blenderbot(),
    T5(),
    Bert(),
    Electra(),
)
"""All layouts; of several that can express a model, the first is written."""


class NoLayoutError(ValueError):
    """Error: no layout can express a model."""


def layout_named(model_type: str, layouts: Sequence[Layout] = LAYOUTS) -> Layout:
    """Return the layout of a name.

    Raises:
        ValueError: there is no such layout.
    """
    for layout in layouts:
        if layout.model_type == model_type:
            return layout
    known = ", ".join(sorted(layout.model_type for layout in layouts))
    raise ValueError(f"layout={model_type!r} is not known; there are {known}")


def choose_layout(
    parts: ModelParts,
    name: str | None = None,
    layouts: Sequence[Layout] = LAYOUTS,
    library: str = "transformers",
) -> Layout:
    """Return the layout of a name, or the first one that can express a model.

    Args:
        layouts: layouts to choose from, at least one for models of this kind.
        library: name of the library that has them, for messages.

    Raises:
        ValueError: there is no layout of this name.
        NoLayoutError: no layout can express the model, or the one that was named cannot; the
            message names the parts in the way, and the options of a config that it can express.
    """
    named = None if name is None else layout_named(name, layouts)
    alike = [layout for layout in layouts if layout.kind == parts.kind]
    fitting = [layout for layout in alike if not layout.obstacles(parts)]
    if named is None and fitting:
        return fitting[0]
    if named in fitting:
        return named
    if named is not None and named not in alike:
        others = ", ".join(layout.model_type for layout in fitting or alike)
        raise NoLayoutError(
            f"layout={name} is for {named.kind} models, and this one is {parts.kind}; take {others}"
        )
    nearest = named or min(alike, key=lambda layout: len(layout.obstacles(parts)))
    obstacles = nearest.obstacles(parts)
    in_the_way = ", ".join(map(str, obstacles))
    options = " ".join(dict.fromkeys(obstacle.option() for obstacle in obstacles))
    if named is None:
        raise NoLayoutError(
            f"no layout of {library} can express this model; in the way of the nearest, "
            f"{nearest.model_type}: {in_the_way}. Trained with {options}, a model can be exported"
        )
    if fitting:
        others = ", ".join(layout.model_type for layout in fitting)
        raise NoLayoutError(
            f"layout={name} cannot express this model, and {others} can; in the way: {in_the_way}"
        )
    raise NoLayoutError(
        f"layout={name} cannot express this model; in the way: {in_the_way}. Trained with "
        f"{options}, a model can be exported"
    )
