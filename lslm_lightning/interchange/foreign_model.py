"""Models of `transformers` as their files have them, and as our tasks expect them."""

import gc
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from lslm_lightning.interchange.fitting import (
    FittedModel,
    add_padding_row,
    begin_with_end,
    block_padding,
    fit_tokenizer,
    with_end,
)
from lslm_lightning.interchange.foreign_weights import read_weights, with_prefix
from lslm_lightning.interchange.layouts import Layout, layout_named
from lslm_lightning.interchange.parts import Kind
from lslm_lightning.interchange.prompts import imported_prompt
from lslm_lightning.interchange.search_settings import check_numbers, search_of_task
from lslm_lightning.interchange.weights import to_ours
from lslm_lightning.systems.hugging_face_model import purposes_in_files
from lslm_lightning.text.hugging_face import (
    fast_tokenizer,
    file_of,
    is_local,
    load_pretrained,
    model_config,
    read_before,
)
from lslm_lightning.text.json_texts import parse_json
from lslm_lightning.types import JsonObject, Settings

if TYPE_CHECKING:
    from transformers import PretrainedConfig

TASKS: Mapping[str, str] = {
    "language_modeling": "tasks.language_modeling.task.LanguageModelingTask",
    "translation": "tasks.translation.task.TranslationTask",
    "summarization": "tasks.summarization.task.SummarizationTask",
    "question_answering": "tasks.question_answering.extractive.task.SpanTask",
}
"""Class of each task that an imported model can have."""

FITTING: Mapping[Kind, tuple[str, ...]] = {
    "causal": ("language_modeling",),
    "sequence-to-sequence": ("translation", "summarization"),
    "span-extraction": ("question_answering",),
}
"""Tasks that a model of each kind can have, the usual one last."""

ENCODERS = ("albert", "distilbert", "roberta", "xlm-roberta")
SMALL = 10**7  # bytes of weights that may stay in memory until Python collects them
TRANSLATORS = ("marian", "mbart")


@dataclass(frozen=True)
class ForeignModel:
    """Model of `transformers` as its files have it, and as our tasks expect it.

    Args:
        source: a folder, or a hub id.
        layout: its layout.
        task: name of the task that it becomes.
        config: its configuration.
        generation: settings of generation_config.json, or of its task in config.json.
        weights: its weights, in the type in which it is compared.
        files: files of its weights.
        model: the same model with our parts and tokenizer, and our weights, which share memory
            with its own where they are the same.
    """

    source: str
    layout: Layout
    task: str
    config: "PretrainedConfig"
    generation: JsonObject
    weights: dict[str, Tensor]
    files: Sequence[Path]
    model: FittedModel

    def forget_weights(self) -> None:
        """Let go of the weights, so that memory holds those of the run alone."""
        n_byte = sum(weight.nbytes for weight in self.weights.values())
        self.weights.clear()
        self.model.weights.clear()
        if n_byte > SMALL:
            gc.collect()  # a network of transformers refers to itself


def read_foreign(source: str, task: str | None, prefix: str | None = None) -> ForeignModel:
    """Return a model in a folder or on the hub.

    Args:
        task: name of the task that it becomes; None to tell it from the layout.
        prefix: text before each input; None for that of the model.

    Raises:
        Exception: the model cannot be imported: `transformers` may raise anything for its files.
    """
    config = model_config(source)
    settings: JsonObject = config.to_dict()
    layout = layout_of(str(settings.get("model_type")))
    task = chosen_task(layout, task)
    weights, files = read_weights(source)
    weights = with_prefix(weights, layout.prefix)
    added = layout.new_weights(settings, weights)
    weights |= added
    generation = generation_settings(source)
    model = fitted_model(source, layout, settings, weights, generation)
    if added:
        model.tell(f"{' and '.join(added)} are not in its files and were made anew; train them")
    model.prompt = imported_prompt(source, model, settings, task, prefix)
    generation = search_of_task(generation, settings, task, model.prompt.prefix, model.tell)
    return ForeignModel(source, layout, task, config, generation, weights, files, model)


def layout_of(model_type: str) -> Layout:
    """Return the layout of a model in a config.json.

    Raises:
        ValueError: there is none; the message names where an encoder can be used.
    """
    if model_type in ENCODERS:
        raise ValueError(
            f"encoders of the type {model_type} have no layout here, unlike bert and electra; take "
            "lslm_lightning.pretrained.encoder.PretrainedEncoder with this path as the backbone of "
            "a SpanTask, and train the head for answers"
        )
    return layout_named(model_type)


def chosen_task(layout: Layout, task: str | None) -> str:
    """Return the name of the task of an imported model.

    Raises:
        ValueError: there is no such task, or the model is of another kind.
    """
    fitting = FITTING[layout.kind]
    usual = "translation" if layout.model_type in TRANSLATORS else fitting[-1]
    if task not in (None, *fitting):
        raise ValueError(f"task={task!r} must be {' or '.join(fitting)} for {layout.model_type}")
    return task or usual


def fitted_model(
    source: str,
    layout: Layout,
    config: Settings,
    weights: Mapping[str, Tensor],
    generation: Settings,
) -> FittedModel:
    """Return the parts, weights and tokenizer of a model, as our tasks expect them.

    Args:
        source: a folder, or a hub id.
        config: content of config.json.
        weights: weights of the model.
        generation: settings of generation_config.json.
    """
    parts = layout.parts(config, weights)
    rows = list(layout.rows(parts))
    found = to_ours(rows, weights, layout.aliases(parts), layout.ignored)
    dtype = next(iter(weights.values())).dtype
    ours = {name: weight.to(dtype) for name, weight in found.items()}
    loaded = load_pretrained(source, generation.get("decoder_start_token_id"))
    tokenizer = fit_tokenizer(loaded, parts.vocab_size)
    ends = end_ids(generation) or [tokenizer.eos_id]
    if tokenizer.eos_id not in ends and parts.kind == "causal":
        tokenizer = with_end(tokenizer, ends[0])
    model = FittedModel(parts, ours, tokenizer, [], tokenizer.eos_id)
    tell_dropout(model, layout, config)
    tell_unused(model, layout, weights)
    if parts.kind != "span-extraction":
        check_end(model, ends)
    elif math.isinf(parts.threshold):
        model.tell("every question gets an answer: its config.json has no no_answer_threshold")
    if parts.kind == "causal":
        tell_context(model, config)
        first = first_of_text(source, tokenizer.eos_id)
        model.adds_start = first is not None
        model.start = tokenizer.eos_id if first is None else first
        begin_with_end(model)
    elif generation.get("bad_words_ids") == [[tokenizer.pad_id]]:
        block_padding(model)
    add_padding_row(model)
    return model


def end_ids(generation: Settings) -> list[int]:
    """Return the ids that end an answer in the settings of generation_config.json."""
    ids = generation.get("eos_token_id")
    return ids if isinstance(ids, list) else [] if ids is None else [ids]


def check_end(model: FittedModel, ends: Sequence[int]) -> None:
    """Note the ids that end an answer of a model and not of the run, which has one.

    Args:
        ends: ids that end an answer of the model.

    Raises:
        ValueError: the id that ends a text in the run is not among them.
    """
    eos = model.tokenizer.eos_id
    if eos not in ends:
        raise ValueError(
            f"its generation_config.json has eos_token_id={ends[0]}, and its tokenizer ends texts "
            f"with {eos}; give both the same"
        )
    if others := [index for index in ends if index != eos]:
        model.tell(
            f"an answer ends with id {eos} alone; these end one of the model too: "
            f"{', '.join(map(str, others))}"
        )


def tell_context(model: FittedModel, config: Settings) -> None:
    """Note that a run reads shorter windows than its model."""
    context = model.parts.context
    longest = config.get("max_position_embeddings") or config.get("n_positions")
    if context is not None and longest is not None and context < longest:
        model.tell(f"the run reads windows of {context:,} tokens, and the model up to {longest:,}")


def tell_dropout(model: FittedModel, layout: Layout, config: Settings) -> None:
    """Note the shares of values that training sets to zero in a model and not in its run."""
    ours = dict.fromkeys(layout.dropouts, model.parts.dropout)
    for name, share in config.items():
        is_of_model = "drop" in name and not name.startswith(("summary_", "classifier_"))
        if is_of_model and isinstance(share, float | int) and share and share != ours.get(name):
            model.tell(f"{name}={share}, which acts in training alone, was left behind")


def tell_unused(model: FittedModel, layout: Layout, weights: Mapping[str, Tensor]) -> None:
    """Note the parts of a model that its run has no use for."""
    found = (re.match(layout.unused, name) for name in weights)
    for part in dict.fromkeys(each[0] for each in found if each):
        model.tell(f"{part} was left behind")


def first_of_text(source: str, eos: int) -> int | None:
    """Return the id that a tokenizer puts before a text; None if it puts none.

    Raises:
        ValueError: it puts several, or more than the end of a text after it.
    """
    before, _ = read_before(source, fast_tokenizer(source), eos)
    if len(before) > 1:
        raise ValueError(
            f"its tokenizer puts {len(before)} ids before a text, {before}, and our language "
            "models read one there; save a tokenizer that adds one or none"
        )
    return before[0] if before else None


def generation_settings(source: str) -> JsonObject:
    """Return the settings in generation_config.json that are set; those of config.json for a model
    without this file.

    Raises:
        ValueError: the file is damaged, or a setting of the search is no such number.
    """
    file = file_of(source, "generation_config.json")
    if file is None:
        from transformers import PretrainedConfig

        # as the file has them: the parsed configuration has no settings of a search
        stated = PretrainedConfig.get_config_dict(source, local_files_only=is_local(source))[0]
        check_numbers(stated, "config.json")
        return stated
    try:
        found = parse_json(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its {file.name} is damaged ({error}); fetch it again") from None
    if not isinstance(found, dict):
        raise ValueError(f"its {file.name} is not a JSON object; fetch it again")
    check_numbers(found, file.name)
    return found


def languages_of(source: str) -> JsonObject:
    """Return the languages that the files of a model state, as a run records them."""
    stated = [purpose.languages for purpose in purposes_in_files(source) if purpose.languages]
    return {"languages": list(stated[0])} if len(stated) == 1 else {}
