"""Export to a folder of graphs in ONNX, which onnxruntime computes."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lslm_lightning.decoding import Greedy
from lslm_lightning.interchange.onnx_engine import OnnxRuntimeEngine
from lslm_lightning.interchange.onnx_files import DTYPES, check_installed, write_model
from lslm_lightning.interchange.onnx_graphs import GREEDY, OPSET
from lslm_lightning.interchange.targets import ExportedModel, Target
from lslm_lightning.interchange.tokenizer_export import read_with
from lslm_lightning.interchange.verification import (
    AnyTask,
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

STEPS = f"opset{OPSET}"  # layout with graphs of a step
LOOP = f"{STEPS}-greedy"  # layout with the graph of a whole search besides
MOST_BYTES = 1.5e9  # of weights in one file, which must stay below 2 GB with all else
TOLERANCE = 1e-4  # of the largest logit: it computes in float32
STEP_NOTE = "the decoder computes one step; search, such as the loop above, is left to its user"
LOOP_NOTE = (
    "greedy.onnx is a greedy search, for one call; at each step it reads the text so far again"
)
STORED_NOTE = "weights are stored in 16 bits and computed with in float32"
READ_USE = """import json

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("FOLDER/tokenizer.json")
tokenizer.encode_special_tokens = True  # text that looks like one stays text
with open("FOLDER/config.json") as file:
    config = json.load(file)
"""
STEPS_USE = """decoder = onnxruntime.InferenceSession("FOLDER/decoder.onnx")
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
SEARCH_USE = """past = {
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


PAIR_LOOP_USE = """tokenizer.enable_padding(pad_id=config["pad_id"])
source = np.array([row.ids for row in tokenizer.encode_batch(["TEXT"])])
ids = np.full((len(source), 1 + config["max_length"]), config["bos_id"])
given = {"source": source, "n_given": np.array(1)}
"""
CAUSAL_LOOP_USE = """start = tokenizer.encode("TEXT").ids
room = min(config["max_length"], config["context"] + 1 - len(start))
ids = np.array([start + room * [config["pad_id"]]])
given = {"n_given": np.array(len(start))}
"""
ANSWERS_USE = """greedy = onnxruntime.InferenceSession("FOLDER/greedy.onnx")
[answers] = greedy.run(None, {"ids": ids, **given})
for row in answers[:, int(given["n_given"]) :].tolist():
    print(tokenizer.decode(row[: (row + [config["eos_id"]]).index(config["eos_id"])]))
"""


class OnnxTarget(Target):
    """Folder with encoder.onnx and decoder.onnx, and greedy.onnx if wanted, their description in
    config.json, and tokenizer.json.
    """

    name = "onnx"
    library = "onnxruntime"
    dtypes = DTYPES

    def layout(self, model: ExportedModel) -> str:
        check_installed()
        name = model.layout or STEPS
        if name not in (STEPS, LOOP):
            raise ValueError(f"layout={name!r} must be {STEPS} or {LOOP} for ONNX; leave it out")
        if name == LOOP and model.dtype == "int8":
            raise ValueError(
                f"dtype=int8 cannot be written with layout={LOOP}, whose loop onnxruntime does not "
                "round; leave one of them out"
            )
        n_byte = 4 * sum(weight.numel() for weight in model.task.parameters())
        if model.dtype != "float32" and n_byte > MOST_BYTES:
            raise ValueError(
                f"dtype={model.dtype}: a graph of {n_byte / 1e9:.1f} GB in float32 can be written "
                f"in float32 only, as those above {MOST_BYTES / 1e9:.1f} GB; leave --dtype out"
            )
        return name

    def usage_code(self, model: ExportedModel) -> str:
        is_causal = model.parts.kind == "causal"
        if model.layout == LOOP:
            return READ_USE + (CAUSAL_LOOP_USE if is_causal else PAIR_LOOP_USE) + ANSWERS_USE
        return READ_USE + STEPS_USE + (CAUSAL_USE if is_causal else PAIR_USE) + SEARCH_USE

    def write(self, model: ExportedModel, folder: Path) -> list[str]:
        task, parts = model.task, model.parts
        write_model(task, model.dtype, folder, model.layout == LOOP)
        write_tokenizer_and_search(model, longest_input(parts, task), folder)
        notes = {"float32": [], "int8": [INT8_NOTE]}.get(model.dtype, [STORED_NOTE])
        note = LOOP_NOTE if model.layout == LOOP else STEP_NOTE
        return [note, *notes, *extra_notes(task, parts)]

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
    found = compare(task, other, model.texts, TOLERANCE, is_exact=not is_int8)
    if (folder / GREEDY).exists():
        other = replace(other, generate=greedy_search(folder / GREEDY, task))
        found = compare(task, other, model.texts, TOLERANCE)
    return found


def greedy_search(path: Path, task: AnyTask) -> Callable[[Tensor, int], list[list[int]]]:
    """Return the graph of a whole search as a function: prompts (N, T), or sources (B, S) of a task
    that reads them, and the most new tokens -> new ids of each row, the end included.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    end = task.tokenizer.eos_id
    is_pair = isinstance(task, SequenceToSequenceTask)

    def generate(source: Tensor, most: int) -> list[list[int]]:
        given = torch.full_like(source[:, :1], task.tokenizer.bos_id) if is_pair else source
        n_given = given.size(1)
        ids = torch.cat([given, given.new_full((len(given), most), end)], 1)
        inputs = {"ids": ids.numpy(), "n_given": np.array(n_given)}
        inputs |= {"source": source.numpy()} if is_pair else {}
        [answers] = session.run(None, inputs)
        rows = answers[:, n_given:].tolist()
        return [row[: row.index(end) + 1] if end in row else row for row in rows]

    return generate


def other_model(engine: OnnxRuntimeEngine, tokenizer: Path) -> OtherModel:
    """Return the model of an engine as functions on ids, to compare it with ours.

    Args:
        tokenizer: file with the tokenizer that was written.
    """

    def generate(source: Tensor, most: int) -> list[list[int]]:
        rows = source.tolist() if engine.encoder is None else unpadded(source, engine.pad_id)
        return rows_of(engine.find_answers(rows, Greedy(), most))

    return OtherModel(read_with(tokenizer), engine.logits, generate)
