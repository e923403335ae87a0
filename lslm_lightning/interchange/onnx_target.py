"""Export to a folder of graphs in ONNX, which onnxruntime computes."""

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from lslm_lightning.decoding import Greedy
from lslm_lightning.interchange.onnx_engine import OnnxRuntimeEngine
from lslm_lightning.interchange.onnx_files import DTYPES, check_installed, write_model
from lslm_lightning.interchange.onnx_graphs import OPSET
from lslm_lightning.interchange.targets import ExportedModel, Target
from lslm_lightning.interchange.tokenizer_export import read_with
from lslm_lightning.interchange.verification import (
    OtherModel,
    Verification,
    compare,
    copy_to_compare,
    rows_of,
)
from lslm_lightning.interchange.written import (
    INT8_NOTE,
    extra_notes,
    longest_input,
    write_tokenizer_and_search,
)
from lslm_lightning.training.batches import unpadded
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask

MOST_BYTES = 1.5e9  # of weights in one file, which must stay below 2 GB with all else
TOLERANCE = 1e-4  # of the largest logit: it computes in float32
STEP_NOTE = "the decoder computes one step; search, such as the loop above, is left to its user"
STORED_NOTE = "weights are stored in 16 bits and computed with in float32"
READ_USE = """import json

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("FOLDER/tokenizer.json")
tokenizer.encode_special_tokens = True  # text that looks like one stays text
with open("FOLDER/config.json") as file:
    config = json.load(file)
decoder = onnxruntime.InferenceSession("FOLDER/decoder.onnx")
"""
PAIR_USE = """encoder = onnxruntime.InferenceSession("FOLDER/encoder.onnx")
tokenizer.enable_padding(pad_id=config["pad_id"])
source = np.array([row.ids for row in tokenizer.encode_batch(["TEXT"])])
names = [each.name for each in encoder.get_outputs()]
given = {"source": source, **dict(zip(names, encoder.run(None, {"source": source})))}
ids = np.full((len(source), 1), config["bos_id"])
most = config["max_length"]
"""
CAUSAL_USE = """given = {}
ids = np.array([tokenizer.encode("TEXT").ids])
most = min(config["max_length"], config["context"] + 1 - ids.shape[1])
"""
LOOP_USE = """past = {
    each.name: np.zeros((len(ids), each.shape[1], 0, each.shape[3]), np.float32)
    for each in decoder.get_inputs()
    if each.name.startswith("past")
}
answers = []
while len(answers) < most:  # greedy search
    given["wanted"] = np.array([ids.shape[1] - 1])  # the last
    logits, *present = decoder.run(None, {"ids": ids, **past, **given})
    past = dict(zip(past, present))
    ids = logits.argmax(-1)
    answers.append(ids)
    if (np.hstack(answers) == config["eos_id"]).any(1).all():
        break
for row in np.hstack(answers).tolist():
    print(tokenizer.decode(row[: (row + [config["eos_id"]]).index(config["eos_id"])]))
"""


class OnnxTarget(Target):
    """Folder with encoder.onnx and decoder.onnx, their description in config.json, and
    tokenizer.json.
    """

    name = "onnx"
    library = "onnxruntime"
    dtypes = DTYPES

    def layout(self, model: ExportedModel) -> str:
        check_installed()
        name = f"opset{OPSET}"
        if model.layout not in (None, name):
            raise ValueError(f"layout={model.layout!r} must be {name} for ONNX; leave it out")
        n_byte = 4 * sum(weight.numel() for weight in model.task.parameters())
        if model.dtype != "float32" and n_byte > MOST_BYTES:
            raise ValueError(
                f"dtype={model.dtype}: a graph of {n_byte / 1e9:.1f} GB in float32 can be written "
                f"in float32 only, as those above {MOST_BYTES / 1e9:.1f} GB; leave --dtype out"
            )
        return name

    def usage_code(self, model: ExportedModel) -> str:
        use = CAUSAL_USE if model.parts.kind == "causal" else PAIR_USE
        return READ_USE + use + LOOP_USE

    def write(self, model: ExportedModel, folder: Path) -> list[str]:
        task, parts = model.task, model.parts
        write_model(task, model.dtype, folder)
        write_tokenizer_and_search(model, longest_input(parts, task), folder)
        notes = {"float32": [], "int8": [INT8_NOTE]}.get(model.dtype, [STORED_NOTE])
        return [STEP_NOTE, *notes, *extra_notes(task, parts)]

    def verify(self, model: ExportedModel, folder: Path) -> Verification:
        if model.dtype == "int8":  # which differs; what it was made from must not
            with tempfile.TemporaryDirectory(prefix="lslm-onnx-") as exact:
                write_model(model.task, "float32", Path(exact))
                compare_folder(model, Path(exact), folder / "tokenizer.json")
        return compare_folder(model, folder, folder / "tokenizer.json")


def compare_folder(model: ExportedModel, folder: Path, tokenizer: Path) -> Verification:
    """Compare the model in a folder with that of the run.

    Args:
        tokenizer: file with the tokenizer that was written.

    Raises:
        ValueError: the models differ; of one in int8, in more than its roundings.
    """
    engine = OnnxRuntimeEngine(folder)
    is_int8 = engine.dtype == "int8"
    task = copy_to_compare(model.task, torch.float32 if is_int8 else getattr(torch, engine.dtype))
    if isinstance(task, SequenceToSequenceTask):
        task.max_source_length = longest_input(model.parts, task)
    other = other_model(engine, tokenizer)
    return compare(task, other, model.texts, TOLERANCE, is_exact=not is_int8)


def other_model(engine: OnnxRuntimeEngine, tokenizer: Path) -> OtherModel:
    """Return the model of an engine as functions on ids, to compare it with ours.

    Args:
        tokenizer: file with the tokenizer that was written.
    """

    def generate(source: Tensor, most: int) -> list[list[int]]:
        rows = source.tolist() if engine.encoder is None else unpadded(source, engine.pad_id)
        return rows_of(engine.find_answers(rows, Greedy(), most))

    return OtherModel(read_with(tokenizer), engine.logits, generate)
