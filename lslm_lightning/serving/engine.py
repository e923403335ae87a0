"""Engine of a server: its models, and the requests that they answer side by side."""

import logging
from collections.abc import Iterator, Sequence

from lslm_lightning.devices import usable_device
from lslm_lightning.serving.protocol import (
    Cancel,
    EngineLoad,
    EngineSettings,
    Event,
    Message,
    Models,
    Refusal,
    ServedModelInfo,
    ServingError,
)
from lslm_lightning.serving.served_model import ServedModel, one_line, refusal

logger = logging.getLogger(__name__)


class EngineCore:
    """Models of a server and the requests that they answer side by side.

    Attributes:
        models: models by name.
    """

    def __init__(self, models: Sequence[ServedModel]) -> None:
        self.models = {model.name: model for model in models}
        if len(self.models) < len(models):
            names = ", ".join(model.name for model in models)
            raise ValueError(f"two runs have one name: {names}; give names with --name")
        self.n_token = 0
        self._retired: list[ServedModel] = []

    @property
    def infos(self) -> tuple[ServedModelInfo, ...]:
        """Description of each model."""
        return tuple(model.info for model in self.models.values())

    @property
    def is_busy(self) -> bool:
        """True while there is something to do."""
        return any(model.is_busy for model in self._all())

    def _all(self) -> Iterator[ServedModel]:
        yield from self.models.values()
        yield from self._retired

    def replace(self, model: ServedModel) -> Models:
        """Let a model answer the requests for its name from now on. The one before ends what it has
        begun.
        """
        self._retired.append(self.models[model.name])
        self.models[model.name] = model
        return Models(self.infos)

    def take(self, message: Message) -> list[Event]:
        """Begin a request, or drop one. Return the events that this causes."""
        if isinstance(message, Cancel):
            for model in self._all():
                model.cancel(message.id)
            return []
        try:
            if message.model not in self.models:
                known = ", ".join(self.models)
                raise ServingError(
                    f"model={message.model!r} is not served here; there are {known}",
                    "not_found",
                    "model",
                )
            self.models[message.model].take(message)
        except ServingError as error:
            return [refusal(message, error)]
        except Exception as error:  # of a task's own code; the other requests go on
            logger.exception("request %d failed", message.id)
            return [Refusal(message.id, one_line(error), "internal")]
        return []

    def work(self) -> list[Event]:
        """Do a part of the work of each model, and return the events for clients."""
        events: list[Event] = []
        for model in list(self._all()):
            try:
                events += model.work()
            except Exception as error:  # of a task's own code; the other models go on
                logger.exception("%s failed", model.name)
                events += model.fail(one_line(error))
        self._retired = [model for model in self._retired if model.is_busy]
        self.n_token += sum(getattr(event, "n_token", 0) for event in events)
        return events

    @property
    def load(self) -> EngineLoad:
        """Figures of what is being done."""
        models = list(self._all())
        return EngineLoad(
            sum(model.n_running for model in models),
            sum(model.n_waiting for model in models),
            sum(model.n_row for model in models),
            self.n_token,
        )


def load_model(name: str, run: str, settings: EngineSettings) -> ServedModel:
    """Load the model of a run.

    Args:
        name: name of the model in requests; "" for that of the run directory.
        run: reference of the run, as in `find_run`.

    Raises:
        ValueError: the run does not exist or cannot be used, or the engine cannot compute it.
    """
    from typing import cast

    from lslm_lightning.decoding.beam import Beam
    from lslm_lightning.decoding.stepwise import Stepwise
    from lslm_lightning.runs.loading import load_run
    from lslm_lightning.serving.stepwise_model import StepwiseModel
    from lslm_lightning.serving.whole_model import WholeModel
    from lslm_lightning.training.causal import CausalTask
    from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
    from lslm_lightning.training.task import Task

    loaded = load_run(run, trust=settings.trust)
    name = name or loaded.directory.path.name
    task = cast(Task, loaded.task)
    task.to(usable_device(settings.device))
    if settings.engine is not None:
        task.answering.use_engine(settings.engine, settings.dtype)
    is_stepwise = (
        isinstance(task, CausalTask | SequenceToSequenceTask)
        and task.backbone.has_ragged_state
        and settings.engine is None
        and isinstance(task.search, Beam | Stepwise)
    )
    if is_stepwise:
        return StepwiseModel(name, run, loaded, settings.n_row)
    return WholeModel(name, run, loaded)
