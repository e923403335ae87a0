"""Interface of the formats that a model can be exported to."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from lslm_lightning.auditing.licences import UNKNOWN
from lslm_lightning.interchange.fitting import without_added_row
from lslm_lightning.interchange.parts import Kind, ModelParts
from lslm_lightning.interchange.verification import BUILT_IN, Texts, Verification
from lslm_lightning.runs.loading import LoadedRun
from lslm_lightning.training.causal import CausalTask
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from lslm_lightning.training.span_model import SpanModel

DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class ExportedModel:
    """Trained model on its way out.

    Args:
        run: the run, with its weights loaded.
        parts: parts of its model.
        dtype: type of the weights that are written.
        layout: name of the layout to write; None for the first one that can express the model.
        texts: texts that the written model must treat as ours does.
        licence: licence of the corpus of the run.
    """

    run: LoadedRun
    parts: ModelParts
    dtype: str
    layout: str | None
    texts: Texts = BUILT_IN
    licence: str = UNKNOWN

    @property
    def task(self) -> CausalTask | SequenceToSequenceTask:
        """Task with the trained weights, which writes text."""
        task = self.any_task
        assert isinstance(task, CausalTask | SequenceToSequenceTask)
        return task

    @property
    def any_task(self) -> CausalTask | SequenceToSequenceTask | SpanModel:
        """Task with the trained weights, whether or not it writes."""
        task = self.run.task
        assert isinstance(task, CausalTask | SequenceToSequenceTask | SpanModel)
        return task

    @property
    def written(self) -> tuple[ModelParts, dict[str, Tensor]]:
        """Parts and weights that are written: those of the run, without a row for padding that an
        import added.
        """
        task = self.any_task
        return without_added_row(self.parts, task.state_dict(), task.tokenizer.pad_id)

    @property
    def n_parameter(self) -> int:
        """Number of weights that are written; a single number, such as a threshold, is none."""
        return sum(weight.numel() for weight in self.written[1].values() if weight.dim())


class Target(ABC):
    """Format that a model can be exported to: a folder of files that another library reads.

    Attributes:
        name: name of the format on the command line.
        library: name of the library that reads it, for the model card.
        dtypes: types of weights that it can have.
        kinds: kinds of models that it can have.
    """

    name: ClassVar[str]
    library: ClassVar[str]
    dtypes: ClassVar[tuple[str, ...]] = DTYPES
    kinds: ClassVar[tuple[Kind, ...]] = ("causal", "sequence-to-sequence")

    @abstractmethod
    def layout(self, model: ExportedModel) -> str:
        """Return the name of the layout in which the model is written.

        Raises:
            ValueError: the format cannot express the model; the message names the parts in the way.
        """

    @abstractmethod
    def usage_code(self, model: ExportedModel) -> str:
        """Return lines of Python that use the model in a folder called FOLDER."""

    @abstractmethod
    def write(self, model: ExportedModel, folder: Path) -> list[str]:
        """Write the files of the model into an empty folder.

        Returns:
            Remarks on how what is written differs from our weights.

        Raises:
            ValueError: the format cannot express the model.
        """

    @abstractmethod
    def verify(self, model: ExportedModel, folder: Path) -> Verification:
        """Load the folder as its users do, and compare the model with ours.

        Raises:
            ValueError: the models differ.
        """
