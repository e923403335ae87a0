"""Export to a file of LiteRT (TensorFlow Lite), which phones and small devices compute."""

import re
from pathlib import Path

import torch

from lslm_lightning.interchange.litert_files import Lengths, check_installed, write_model
from lslm_lightning.interchange.litert_model import LiteRtModel
from lslm_lightning.interchange.onnx_target import TOLERANCE
from lslm_lightning.interchange.search_settings import most_new
from lslm_lightning.interchange.targets import ExportedModel, Target
from lslm_lightning.interchange.tokenizer_export import read_with
from lslm_lightning.interchange.verification import (
    OtherModel,
    Verification,
    compare,
    copy_to_compare,
)
from lslm_lightning.interchange.written import (
    extra_notes,
    longest_input,
    write_tokenizer_and_search,
)
from lslm_lightning.training.causal import CausalTask

USUAL_SOURCE = 256  # tokens of a source, for a model that reads any number
WHOLE_NOTE = "the decoder reads the whole text so far at every step; search, such as the loop "
WHOLE_NOTE += "above, is left to its user"
READ_USE = """import json

import numpy as np
from ai_edge_litert.interpreter import Interpreter  # or tf.lite.Interpreter of TensorFlow
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("FOLDER/tokenizer.json")
tokenizer.encode_special_tokens = True  # text that looks like one stays text
with open("FOLDER/config.json") as file:
    config = json.load(file)
model = Interpreter("FOLDER/model.tflite")
decode = model.get_signature_runner("decode")


def read(text, length):
    ids = tokenizer.encode(text).ids
    if len(ids) > length:
        raise ValueError(f"the text has {len(ids)} tokens, more than {length}; shorten it")
    return ids


def row(ids, length):
    return np.array([ids + [config["pad_id"]] * (length - len(ids))], np.int32)


"""
PAIR_USE = """encode = model.get_signature_runner("encode")
source = row(read("TEXT", config["source_length"]), config["source_length"])
given = {"source": source, **encode(source=source)}
ids = [config["bos_id"]]
"""
CAUSAL_USE = """given = {}
ids = read("TEXT", config["length"])
"""
LOOP_USE = """answer = []
while len(answer) < config["max_length"] and len(ids) <= config["length"]:  # greedy search
    logits = decode(ids=row(ids, config["length"]), **given)["logits"]
    token = int(logits[0, len(ids) - 1].argmax())
    if token == config["eos_id"]:
        break
    ids.append(token)
    answer.append(token)
print(tokenizer.decode(answer))
"""


class LiteRtTarget(Target):
    """Folder with model.tflite, whose inputs have fixed lengths, their description in config.json,
    and tokenizer.json.
    """

    name = "litert"
    library = "ai-edge-litert"
    dtypes = ("float32",)

    def layout(self, model: ExportedModel) -> str:
        check_installed()
        return layout_name(lengths_of(model))

    def usage_code(self, model: ExportedModel) -> str:
        return READ_USE + (CAUSAL_USE if model.parts.kind == "causal" else PAIR_USE) + LOOP_USE

    def write(self, model: ExportedModel, folder: Path) -> list[str]:
        lengths = lengths_of(model)
        write_model(model.task, lengths, folder)
        longest = longest_input(model.parts, model.task)
        limit = lengths.target if lengths.source is None else lengths.source
        is_cut = longest is not None and longest <= limit  # what the run cuts is cut here
        write_tokenizer_and_search(model, longest if is_cut else None, folder)
        return [length_note(lengths), WHOLE_NOTE, *extra_notes(model.task, model.parts)]

    def verify(self, model: ExportedModel, folder: Path) -> Verification:
        lengths = lengths_of(model)
        task = copy_to_compare(model.task, torch.float32)
        if isinstance(task, CausalTask):
            task.context = lengths.target
        else:
            task.max_source_length = lengths.source
            task.max_length = min(task.max_length, lengths.target)
        read = read_with(folder / "tokenizer.json", lengths.source)
        made = LiteRtModel(folder)
        other = OtherModel(read, made.logits, made.answers, lengths.target)
        return compare(task, other, model.texts, TOLERANCE)


def lengths_of(model: ExportedModel) -> Lengths:
    """Return the fixed lengths of the inputs of a model: those of the layout, or as long as the run
    reads and writes.

    Raises:
        ValueError: the layout is no length, or too long.
    """
    task, parts = model.task, model.parts
    if isinstance(task, CausalTask):
        most = usual = Lengths(task.context)
    else:
        longest = longest_input(parts, task)
        most = Lengths(most_new(task, parts.max_positions), longest)
        usual = most._replace(source=longest or USUAL_SOURCE)
    if model.layout is None:
        return usual
    found = re.fullmatch(r"(?:(\d{1,9})x)?(\d{1,9})", model.layout)
    if found is None or bool(found[1]) != (usual.source is not None):
        what = "tokens of a text" if usual.source is None else "tokens of source x answer"
        raise ValueError(
            f"layout={model.layout!r} must be the lengths of the inputs ({what}), such as "
            f"{layout_name(usual)}"
        )
    lengths = Lengths(int(found[2]), int(found[1]) if found[1] else None)
    limits = most._replace(source=most.source or lengths.source)
    pairs = zip(lengths, limits, strict=True)
    if not all(n is None or limit is None or 2 <= n <= limit for n, limit in pairs):
        raise ValueError(
            f"layout={model.layout} must be lengths of at least 2 tokens, and at most "
            f"{layout_name(limits)}, which the run reads and writes; leave it out for "
            f"{layout_name(usual)}"
        )
    return lengths


def layout_name(lengths: Lengths) -> str:
    """Return the name of a layout, such as 256x64 for sources and answers."""
    return "x".join(str(n) for n in (lengths.source, lengths.target) if n is not None)


def length_note(lengths: Lengths) -> str:
    """Return a remark on the fixed lengths of a model."""
    if lengths.source is None:
        return f"texts have at most {lengths.target} tokens, with the end of the one before"
    return (
        f"sources have at most {lengths.source} tokens with their end, and answers {lengths.target}"
    )
