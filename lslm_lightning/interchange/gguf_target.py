"""Export to a GGUF file, which llama.cpp reads."""

import tempfile
from dataclasses import Field, fields, is_dataclass, replace
from pathlib import Path

import torch

from lslm_lightning.decoding import Sampling, Search
from lslm_lightning.interchange.gguf_files import DTYPES, FILE, rounded, write_file
from lslm_lightning.interchange.gguf_layout import gguf_layout
from lslm_lightning.interchange.gguf_readers import (
    check_installed,
    has_llama_cpp,
    opened_by_llama_cpp,
    read_by_transformers,
)
from lslm_lightning.interchange.gguf_tokenizer import read_vocabulary
from lslm_lightning.interchange.targets import ExportedModel, Target
from lslm_lightning.interchange.tokenizer_export import special_ids
from lslm_lightning.interchange.verification import (
    AnyTask,
    Verification,
    compare,
    copy_to_compare,
    precision_of,
)
from lslm_lightning.interchange.written import INT8_NOTE, extra_notes

LLAMA_CPP_TOLERANCE = 1e-2  # of the largest logit: it reads GELU from a table in float16
READ_NOTE = "the file was read again by transformers, and by llama.cpp"
UNREAD_NOTE = "the file was read again by transformers; llama-cpp-python was not installed"
SHARED = ("temperature", "top_k", "top_p", "seed")  # settings of sampling that llama.cpp has
LATE_NOTE = "llama.cpp applies `top_p` before the temperature, and the run after it"
USE = """from llama_cpp import Llama

model = Llama("FOLDER/model.gguf", n_ctx=CONTEXT, verbose=False)
prompt = model.tokenize("TEXT".encode())  # text that looks like a special token stays text
output = model.create_completion(prompt, max_tokens=LENGTH, OPTIONS)
print(output["choices"][0]["text"])
"""


class GgufTarget(Target):
    """Folder with model.gguf, a file with weights and tokenizer that llama.cpp and its relatives
    read.
    """

    name = "gguf"
    library = "llama.cpp"
    dtypes = DTYPES

    def layout(self, model: ExportedModel) -> str:
        check_installed()
        parts = model.written[0]
        name = gguf_layout(parts, model.layout).model_type
        read_vocabulary(model.task.tokenizer, parts.vocab_size)
        return name

    def usage_code(self, model: ExportedModel) -> str:
        task, search = model.task, model.task.search
        options: dict[str, float] = {"temperature": 0.0}
        if isinstance(search, Sampling):
            top_p = 1.0 if search.top_p is None else search.top_p
            options = {
                "temperature": search.temperature,
                "top_k": search.top_k or 0,
                "top_p": top_p,
                "min_p": 0.0,
            }
        text = ", ".join(f"{name}={value}" for name, value in options.items())
        code = USE.replace("CONTEXT", str(model.parts.context))
        return code.replace("LENGTH", str(task.max_length)).replace("OPTIONS", text)

    def write(self, model: ExportedModel, folder: Path) -> list[str]:
        notes = self._write(model, model.dtype, folder)
        int8 = [INT8_NOTE] if model.dtype == "int8" else []
        search = model.task.search
        has_top_p = isinstance(search, Sampling) and search.top_p is not None
        late = [LATE_NOTE] if has_top_p else []
        left = settings_left(search, model.task.min_length)
        lost = [f"llama.cpp is asked without {' and '.join(left)} of the run"] if left else []
        read = [READ_NOTE if has_llama_cpp() else UNREAD_NOTE]
        extra = extra_notes(model.task, model.written[0])
        return [*notes, *int8, *late, *lost, *read, *extra]

    def _write(self, model: ExportedModel, dtype: str, folder: Path) -> list[str]:
        """Write the file with weights of a type."""
        parts, ours = model.written
        name = self.layout(model)
        return write_file(parts, ours, model.task.tokenizer, name, dtype, folder / FILE)

    def verify(self, model: ExportedModel, folder: Path) -> Verification:
        parts, task = model.written[0], model.task
        ids = special_ids(task.tokenizer, parts.kind, parts.vocab_size)
        name = self.layout(model)
        other = read_by_transformers(folder, parts, name, ids, precision_of(task))
        texts = model.texts
        if read_vocabulary(task.tokenizer, parts.vocab_size).kind == "llama":
            # transformers drops a space at the start of a text, which neither we nor llama.cpp do
            begun = tuple(text.lstrip(" ") for text in texts.sources)
            texts = replace(texts, sources=begun, targets=begun)
        found = compare(with_rounded_weights(task, model.dtype), other, texts)
        if has_llama_cpp():
            self._verify_by_llama_cpp(model, folder)
        if model.dtype != "int8":
            return found
        return compare(copy_to_compare(task, torch.float32), other, texts, is_exact=False)

    def _verify_by_llama_cpp(self, model: ExportedModel, folder: Path) -> None:
        """Compare the model in a folder, as llama.cpp computes it, with that of the run; of another
        type than float32, which llama.cpp computes with rounded activations, the model that it was
        made from.

        Raises:
            ValueError: the models differ.
        """
        with tempfile.TemporaryDirectory(prefix="lslm-gguf-") as other:
            if model.dtype != "float32":
                folder = Path(other)
                self._write(model, "float32", folder)
            task = copy_to_compare(model.task, torch.float32)
            with opened_by_llama_cpp(folder / FILE, model.task) as reader:
                try:
                    compare(task, reader, model.texts, LLAMA_CPP_TOLERANCE)
                except ValueError as error:
                    raise ValueError(f"in llama.cpp {error}") from None


def settings_left(search: Search, min_length: int) -> list[str]:
    """Return the settings of a search, and the least length, that the usage code leaves out."""
    own: tuple[Field[object], ...] = fields(search) if is_dataclass(search) else ()
    left = [
        f"{field.name}={value}"
        for field in own
        if field.name not in SHARED
        and ((value := getattr(search, field.name)) != field.default or field.name == "beam_size")
    ]
    return [*left, *([f"min_length={min_length}"] if min_length else [])]


def with_rounded_weights(task: AnyTask, dtype: str) -> AnyTask:
    """Return a copy of a task that computes in the type of `precision_of`, with its weights as they
    are read from a file where matrices have a type.
    """
    made = copy_to_compare(task, torch.float32)
    for name, weight in made.named_parameters():
        weight.data = rounded(name, weight.data, dtype)
    return made
