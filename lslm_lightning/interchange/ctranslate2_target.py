"""Export to a folder that CTranslate2 reads."""

import tempfile
from pathlib import Path

import torch

from lslm_lightning.decoding import Beam, Greedy
from lslm_lightning.interchange.ctranslate2_engine import CTranslate2Engine, search_options
from lslm_lightning.interchange.ctranslate2_files import DTYPES, check_installed, write_model
from lslm_lightning.interchange.ctranslate2_layout import layout_name
from lslm_lightning.interchange.targets import ExportedModel, Target
from lslm_lightning.interchange.tokenizer_export import read_with
from lslm_lightning.interchange.verification import (
    OtherModel,
    Verification,
    compare,
    copy_to_compare,
    rows_of,
)
from lslm_lightning.interchange.written import INT8_NOTE, extra_notes
from lslm_lightning.training.batches import unpadded

MOST_TARGET = 64  # tokens of a target whose logits are compared, one step after the other
TOLERANCE = 1e-3  # of the largest logit: it computes in float32
EMPTY_NOTE = "a source without tokens, which the library does not read, gets an empty answer"
EARLY_NOTE = "the library ends a beam search when as many answers as beams have ended"
READ_USE = """import ctranslate2
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("FOLDER/tokenizer.json")
tokenizer.encode_special_tokens = True  # text that looks like one stays text
"""
PAIR_USE = """model = ctranslate2.Translator("FOLDER")
sources = [tokenizer.encode(text).tokens for text in ["TEXT"]]
for result in model.translate_batch(sources, {options}):
    ids = [tokenizer.token_to_id(token) for token in result.hypotheses[0]]
    print(tokenizer.decode(ids))
"""
CAUSAL_USE = """model = ctranslate2.Generator("FOLDER")
prompts = [tokenizer.encode(text).tokens for text in ["TEXT"]]
for result in model.generate_batch(prompts, {options}):
    print(tokenizer.decode(result.sequences_ids[0]))
"""


class CTranslate2Target(Target):
    """Folder with model.bin, config.json, the vocabulary and tokenizer.json, which `Translator` and
    `Generator` of CTranslate2 read.
    """

    name = "ctranslate2"
    library = "ctranslate2"
    dtypes = DTYPES

    def layout(self, model: ExportedModel) -> str:
        check_installed()
        name = layout_name(model.written[0])
        if model.layout not in (None, name):
            raise ValueError(f"layout={model.layout!r} must be {name} for this model")
        return name

    def usage_code(self, model: ExportedModel) -> str:
        task = model.task
        is_causal = model.parts.kind == "causal"
        try:
            options = search_options(task.search)
        except ValueError:  # sampling draws other random numbers there
            options = {"beam_size": 1}
        limit = "max_length" if is_causal else "max_decoding_length"
        options = {**options, limit: task.max_length}
        if is_causal:
            options["include_prompt_in_result"] = False
        text = ", ".join(f"{name}={value}" for name, value in options.items())
        return READ_USE + (CAUSAL_USE if is_causal else PAIR_USE).replace("{options}", text)

    def write(self, model: ExportedModel, folder: Path) -> list[str]:
        notes = write_model(model.task, model.parts, model.dtype, folder)
        int8 = [INT8_NOTE] if model.dtype == "int8" else []
        empty = [EMPTY_NOTE] if model.parts.kind != "causal" else []
        search = model.task.search
        early = [EARLY_NOTE] if isinstance(search, Beam) and not search.early_stopping else []
        extra = extra_notes(model.task, model.written[0])
        return [*notes, *int8, *empty, *early, *extra]

    def verify(self, model: ExportedModel, folder: Path) -> Verification:
        if model.dtype != "int8":
            return compare_folder(model, folder, model.dtype)
        with tempfile.TemporaryDirectory(prefix="lslm-ctranslate2-") as other:
            exact = Path(other)  # int8 differs; what it was made from must not
            write_model(model.task, model.parts, "float32", exact)
            compare_folder(model, exact, "float32")
        return compare_folder(model, folder, "int8")


def compare_folder(model: ExportedModel, folder: Path, dtype: str) -> Verification:
    """Compare the model in a folder with that of the run.

    Raises:
        ValueError: the models differ; of one in int8, in more than its roundings.
    """
    is_int8 = dtype == "int8"
    task = copy_to_compare(model.task, torch.float32 if is_int8 else getattr(torch, dtype))
    engine = CTranslate2Engine(folder, dtype, model.task.tokenizer.eos_id)
    engine.task = task
    other = other_model(engine, folder, model.task.tokenizer.pad_id)
    return compare(task, other, model.texts, TOLERANCE, is_exact=not is_int8)


def other_model(engine: CTranslate2Engine, folder: Path, pad: int) -> OtherModel:
    """Return the model of a folder as functions on ids, to compare it with ours.

    Args:
        pad: id of padding in what it reads.
    """
    read = read_with(folder / "tokenizer.json")

    def generate(source: torch.Tensor, most: int) -> list[list[int]]:
        rows = source.tolist() if engine.is_causal else unpadded(source, pad)
        return rows_of(engine.find_answers(rows, Greedy(), most))

    return OtherModel(read, engine.logits, generate, None if engine.is_causal else MOST_TARGET)
