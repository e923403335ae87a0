"""Export to a folder that Hugging Face's `transformers` reads."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor

from lslm_lightning.extras import MissingPackageError
from lslm_lightning.interchange.fitting import FittedModel
from lslm_lightning.interchange.foreign_model import ForeignModel
from lslm_lightning.interchange.foreign_weights import SAFE, read_safe
from lslm_lightning.interchange.layouts import choose_layout, layout_named
from lslm_lightning.interchange.layouts.bart import N_POSITION
from lslm_lightning.interchange.prompts import compare_prompts
from lslm_lightning.interchange.search_settings import generation_config
from lslm_lightning.interchange.span_verification import compare_spans, exported_reader
from lslm_lightning.interchange.targets import ExportedModel, Target
from lslm_lightning.interchange.tokenizer_export import special_ids, write_tokenizer
from lslm_lightning.interchange.verification import (
    AnyTask,
    OtherModel,
    Verification,
    compare,
    copy_to_compare,
    precision_of,
)
from lslm_lightning.interchange.weights import to_ours, to_theirs
from lslm_lightning.interchange.written import (
    cast_to,
    extra_notes,
    longest_input,
    with_positions,
)
from lslm_lightning.safety.user_files import permit_as_usual
from lslm_lightning.systems.hugging_face_model import Loaded, load_model
from lslm_lightning.text.hugging_face import NO_CODE, first
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from lslm_lightning.training.span_model import SpanModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


CAUSAL_USE = """from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
model = AutoModelForCausalLM.from_pretrained("FOLDER")
ids = tokenizer("TEXT", return_tensors="pt").input_ids
output = model.generate(ids, max_new_tokens=LENGTH)
print(tokenizer.decode(output[0], skip_special_tokens=True))
"""
CHAT_USE = """from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
model = AutoModelForCausalLM.from_pretrained("FOLDER")
turns = [{"role": "user", "content": "TEXT"}]
inputs = tokenizer.apply_chat_template(
    turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
output = model.generate(**inputs, max_new_tokens=LENGTH)
print(tokenizer.decode(output[0], skip_special_tokens=True))
"""
PAIR_USE = """from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
model = AutoModelForSeq2SeqLM.from_pretrained("FOLDER")
sources = tokenizer(["TEXT"], return_tensors="pt", padding=True, truncation=True)
print(tokenizer.batch_decode(model.generate(**sources), skip_special_tokens=True))
"""
SPAN_USE = """from transformers import AutoModelForQuestionAnswering, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
model = AutoModelForQuestionAnswering.from_pretrained("FOLDER")
given = tokenizer("QUESTION", "PASSAGE", return_tensors="pt", truncation="only_second")
output = model(**given)
start, end = output.start_logits.argmax(), output.end_logits.argmax()
print(tokenizer.decode(given.input_ids[0, start : end + 1]))
"""


class HuggingFaceTarget(Target):
    """Folder with config.json, model.safetensors, tokenizer.json and generation_config.json, which
    `from_pretrained` of `transformers` reads without code of ours.
    """

    name = "huggingface"
    library = "transformers"
    kinds = ("causal", "sequence-to-sequence", "span-extraction")

    def layout(self, model: ExportedModel) -> str:
        check_installed()
        return choose_layout(model.written[0], model.layout).model_type

    def usage_code(self, model: ExportedModel) -> str:
        if model.parts.kind != "causal":
            return PAIR_USE if model.parts.kind == "sequence-to-sequence" else SPAN_USE
        code = CHAT_USE if model.task.prompt.chat_template else CAUSAL_USE
        return code.replace("LENGTH", str(model.task.max_length))

    def write(self, model: ExportedModel, folder: Path) -> list[str]:
        layout = layout_named(self.layout(model))
        task = model.any_task
        parts, ours = model.written
        parts = with_positions(parts, task)
        ids = special_ids(task.tokenizer, parts.kind, parts.vocab_size)
        config = layout.config(parts, ids) | {"dtype": model.dtype}
        if task.prompt.prefix:
            config["prefix"] = task.prompt.prefix
        rows = list(layout.rows(parts))
        weights = to_theirs(rows, ours)
        computed = {name for row in rows if not row.ours for name in row.theirs}  # not trained
        cast = {
            name: weight if name in computed else cast_to(name, weight, model.dtype)
            for name, weight in weights.items()
        }
        save_file(cast, folder / SAFE, {"format": "pt"})
        permit_as_usual(folder / SAFE)
        write_json(folder / "config.json", config)
        if not isinstance(task, SpanModel):
            search = generation_config(task, ids, parts.max_positions)
            write_json(folder / "generation_config.json", search)
        longest = longest_input(parts, task)
        write_tokenizer(task.tokenizer, ids, parts.kind, longest, folder, task.prompt)
        extra = extra_notes(task, parts, has_template=True)
        notes = [*dict.fromkeys(row.note for row in rows if row.note), *extra]
        if parts.dropout and not layout.dropouts:
            notes.append(
                f"dropout={parts.dropout}, which acts in training alone, has no place in the layout"
            )
        return notes

    def verify(self, model: ExportedModel, folder: Path) -> Verification:
        task = copy_to_compare(model.any_task, torch.float32)
        if model.dtype != "float32":
            self._take_written_weights(model, folder, task)
        if isinstance(task, SpanModel):
            read = exported_reader(folder, precision_of(task))
            return compare_spans(task, read, model.texts)
        if isinstance(task, SequenceToSequenceTask):
            task.max_source_length = longest_input(with_positions(model.written[0], task), task)
        precision = str(precision_of(model.task)).removeprefix("torch.")
        loaded = load_model(str(folder), "cpu", precision)
        compare_prompts(task, loaded, model.texts.sources)
        return compare(task, other_model(loaded, model.task.tokenizer.pad_id), model.texts)

    def _take_written_weights(
        self, model: ExportedModel, folder: Path, task: AnyTask | SpanModel
    ) -> None:
        """Replace the weights of a copy of the task by those in the file, as our model reads them:
        a factor between both was applied before their type was rounded.

        Raises:
            ValueError: a weight differs from that of the run by more than the rounding.
        """
        layout = layout_named(self.layout(model))
        precision = precision_of(task)
        limits = torch.finfo(getattr(torch, model.dtype))
        weights = task.state_dict()
        written: dict[str, Tensor] = {}
        for row in layout.rows(with_positions(model.written[0], task)):
            theirs = dict(read_safe(folder / SAFE, precision, row.theirs))
            for name, found in to_ours([row], theirs, {}, layout.ignored).items():
                written[name] = found
                if not found.dim():  # a setting, which is stored as it is
                    continue
                same, rest = weights[name].tensor_split([len(found)])  # no row for padding, perhaps
                if not torch.allclose(found, same, 2 * limits.eps, limits.smallest_normal):
                    raise ValueError(f"its weight {name} is another than in the run")
                written[name] = torch.cat([found, rest])
        task.load_state_dict(written, assign=True)


def write_json(path: Path, content: object) -> None:
    """Write a JSON file with an end of line."""
    path.write_text(f"{json.dumps(content, ensure_ascii=False, indent=2)}\n", "utf-8")


def other_model(loaded: Loaded, pad: int) -> OtherModel:
    """Return a model of `transformers` as functions on ids, to compare it with ours.

    Args:
        pad: id of padding in what it reads.
    """
    model, tokenizer = loaded

    def read(texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(list(texts)).input_ids
        limit = tokenizer.model_max_length
        if loaded.reads_sources and any(len(row) > limit for row in ids):
            ids = tokenizer(list(texts), truncation=True).input_ids
        return ids

    def logits(source: Tensor, target: Tensor) -> Tensor:
        if not loaded.reads_sources:
            return model(target).logits
        return model(source, decoder_input_ids=target).logits

    def generate(source: Tensor, most: int) -> list[list[int]]:
        n_row = model.config.get_text_config().vocab_size  # none for padding, perhaps
        written = model.generate(
            input_ids=source.clamp(max=n_row - 1),
            attention_mask=(source != pad).long(),
            do_sample=False,
            num_beams=1,
            max_new_tokens=most,
            no_repeat_ngram_size=0,
            min_new_tokens=0,
        )
        n_given = 1 if loaded.reads_sources else source.size(1)
        return [up_to_end(row[n_given:].tolist(), loaded.end_ids) for row in written]

    return OtherModel(read, logits, generate)


def imported_network(foreign: ForeignModel) -> "PreTrainedModel":
    """Return a network of `transformers` with the weights that were read, in evaluation mode. It
    shares memory with them.

    Raises:
        ValueError: the weights do not fit the configuration.
    """
    import transformers

    network, loading = getattr(transformers, foreign.layout.architecture).from_pretrained(
        None,
        config=foreign.config,
        state_dict=foreign.weights,
        dtype=next(iter(foreign.weights.values())).dtype,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
        use_kernels=False,
        **NO_CODE,
    )
    for name, *shapes in loading["mismatched_keys"]:
        there, expected = map(tuple, shapes)
        raise ValueError(
            f"{foreign.source} cannot be imported: its weight {name} is {there}, and its "
            f"config.json states {expected}; fetch both files again"
        )
    made: PreTrainedModel = network.eval()
    return made


def imported_model(foreign: ForeignModel, tokenizer: "PreTrainedTokenizerBase") -> OtherModel:
    """Return a model of `transformers` that was read as functions on ids, to compare it with ours.
    It shares memory with the weights that were read.

    Args:
        tokenizer: its tokenizer.

    Raises:
        ValueError: the weights do not fit the configuration.
    """
    import transformers

    model, config = foreign.model, foreign.config
    is_pair = bool(config.is_encoder_decoder)
    network = imported_network(foreign)
    ours = model.tokenizer
    pad = ours.pad_id if ours.pad_id < config.vocab_size else ours.eos_id
    network.generation_config = transformers.GenerationConfig(
        pad_token_id=pad,
        eos_token_id=ours.eos_id,
        decoder_start_token_id=first(
            foreign.generation.get("decoder_start_token_id"),
            getattr(config, "decoder_start_token_id", None),
        ),
        bad_words_ids=[[pad]] if model.blocks_padding else None,
    )
    loaded = Loaded(network, tokenizer)  # type: ignore[arg-type]  # as in `load_model`
    other = other_model(loaded, ours.pad_id)
    if is_pair:
        limit = model.parts.max_positions or model.parts.context or N_POSITION
        return replace(other, read=lambda texts: [cut(ids, limit) for ids in other.read(texts)])

    def read(texts: Sequence[str]) -> list[list[int]]:
        return [begin_as_ours(ids, model) for ids in tokenizer(list(texts)).input_ids]

    def begun(ids: Tensor) -> Tensor:
        return torch.cat([torch.full_like(ids[:, :1], model.start), ids[:, 1:]], 1)

    return OtherModel(
        read,
        lambda source, target: other.logits(source, begun(target)),
        lambda source, most: other.generate(begun(source), most),
    )


def begin_as_ours(ids: list[int], model: FittedModel) -> list[int]:
    """Return the ids of a text from the tokenizer of a language model as our models read it, which
    has the end of the text before it in the place of its own start, and none of its own.
    """
    eos = model.tokenizer.eos_id
    if ids[-1:] == [eos]:
        ids = ids[:-1]
    if not model.adds_start:
        return [eos, *ids]
    return [eos, *ids[1:]] if ids[:1] == [model.start] else ids


def cut(ids: list[int], longest: int) -> list[int]:
    """Return the ids of a source, of which those before the last, its end, are cut to a length."""
    return ids if len(ids) <= longest else [*ids[: longest - 1], ids[-1]]


def up_to_end(ids: list[int], ends: Sequence[int]) -> list[int]:
    """Return ids up to and including the first one that ends a text."""
    n = next((i + 1 for i, index in enumerate(ids) if index in ends), len(ids))
    return ids[:n]


def check_installed() -> None:
    """Raise ValueError if `transformers` is not installed."""
    try:
        import transformers  # noqa: F401
    except ImportError:
        raise ValueError(MissingPackageError("transformers", "the Hugging Face format")) from None
