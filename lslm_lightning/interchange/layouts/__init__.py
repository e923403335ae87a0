"""Layouts of models of `transformers`."""

from collections.abc import Sequence

from lslm_lightning.interchange.layouts.bart import Bart, Blenderbot, Marian, MBart, Pegasus
from lslm_lightning.interchange.layouts.gpt2 import Gpt2
from lslm_lightning.interchange.layouts.gpt_neox import GptNeoX
from lslm_lightning.interchange.layouts.layout import Layout, Obstacle
from lslm_lightning.interchange.layouts.llama import Llama, Mistral, Qwen2, StableLm
from lslm_lightning.interchange.layouts.starcoder2 import Starcoder2
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
)
"""All layouts; of several that can express a model, the first is written."""


class NoLayoutError(ValueError):
    """Error: no layout can express a model."""


def layout_named(model_type: str) -> Layout:
    """Return the layout of a name.

    Raises:
        ValueError: there is no such layout.
    """
    for layout in LAYOUTS:
        if layout.model_type == model_type:
            return layout
    known = ", ".join(sorted(layout.model_type for layout in LAYOUTS))
    raise ValueError(f"layout={model_type!r} is not known; there are {known}")


def choose_layout(parts: ModelParts, layouts: Sequence[Layout] = LAYOUTS) -> Layout:
    """Return the first of some layouts that can express a model.

    Raises:
        NoLayoutError: none can; the message names the parts in the way of the nearest one, and the
            options of a config that it can express.
    """
    fitting = [layout for layout in layouts if layout.kind == parts.kind]
    if not fitting:
        raise NoLayoutError(
            f"the model is {parts.kind}, and {layouts[0].model_type} is {layouts[0].kind}"
        )
    obstacles = {layout: layout.obstacles(parts) for layout in fitting}
    for layout, found in obstacles.items():
        if not found:
            return layout
    nearest = min(obstacles, key=lambda layout: len(obstacles[layout]))
    raise NoLayoutError(explain(nearest, obstacles[nearest]))


def explain(nearest: Layout, obstacles: Sequence[Obstacle]) -> str:
    """Return a message about a model that no layout can express."""
    in_the_way = ", ".join(map(str, obstacles))
    options = " ".join(obstacle.option() for obstacle in obstacles)
    return (
        "no layout of transformers can express this model; in the way of the nearest, "
        f"{nearest.model_type}: {in_the_way}. Trained with {options}, a model can be exported"
    )
