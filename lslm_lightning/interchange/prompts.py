"""Prefixes and chat templates of models of `transformers`, in both directions."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lslm_lightning.contracts import Example
from lslm_lightning.interchange.fitting import FittedModel
from lslm_lightning.interchange.search_settings import settings_by_name
from lslm_lightning.interchange.verification import SCRIPTS, AnyTask
from lslm_lightning.systems.hugging_face_model import Loaded
from lslm_lightning.text.hugging_face import fast_tokenizer, prompt_of
from lslm_lightning.text.prompts import NO_PROMPT, Prompt
from lslm_lightning.types import JsonObject, Settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MOST_LISTED = 8  # codes or prefixes in a remark


def imported_prompt(
    source: str, model: FittedModel, config: Settings, task: str, prefix: str | None
) -> Prompt:
    """Return the prompt of an imported model, and note what was left behind.

    Args:
        source: a folder, or a hub id.
        config: content of config.json.
        task: name of the task that the model becomes.
        prefix: prefix that the user gave; None for that of the model.

    Raises:
        ValueError: the prefix begins with the code of a language that the model does not have, or
            the task has none.
    """
    is_causal = model.parts.kind == "causal"
    if model.parts.kind == "span-extraction":
        if prefix:
            raise ValueError(
                f"prefix={prefix!r} has no place in question_answering, which reads question and "
                "passage as they are; leave it out"
            )
        return NO_PROMPT
    codes = model.tokenizer.language_codes
    if prefix is None:
        prefix = stated_prefix(model, config, task, codes)
    elif codes and not prefix.startswith(tuple(codes)):
        raise ValueError(
            f"prefix={prefix!r} must begin with the code of a language of the model: "
            f"{listed(codes)}"
        )
    if prefix:
        model.tell(prefix_note(prefix, is_causal))
    if not is_causal:
        return Prompt(prefix)
    fast = fast_tokenizer(source)
    try:
        prompt = prompt_of(fast, prefix)
    except ValueError as error:
        model.tell(f"its chat template was left behind: {error}")
        return Prompt(prefix)
    if not prompt.chat_template:
        return prompt
    used = {name: text for name, text in prompt.special_tokens.items() if text_of(prompt, name)}
    prompt = Prompt(prefix, prompt.chat_template, used)
    if reason := why_not(prompt, fast, model):
        model.tell(f"its chat template was left behind: {reason}")
        return Prompt(prefix)
    model.tell("questions are put into its chat template")
    return prompt


def text_of(prompt: Prompt, name: str) -> bool:
    """Return whether the template of a prompt mentions a special token by name."""
    return name in prompt.chat_template


def stated_prefix(model: FittedModel, config: Settings, task: str, codes: Sequence[str]) -> str:
    """Return the prefix that the files of a model state for a task, "" for none or several, which
    are noted.

    Args:
        config: content of config.json.
        codes: codes of target languages that the tokenizer has.
    """
    if codes:
        model.tell(f"no target language was named; give the code of one as prefix: {listed(codes)}")
        return ""
    own = config.get("prefix")
    if isinstance(own, str):
        return own
    known = {
        settings["prefix"]: None
        for settings in settings_by_name(config, task).values()
        if isinstance(settings.get("prefix"), str)
    }
    if len(known) > 1:
        model.tell(f"no prefix was chosen among those of its config.json: {listed(list(known))}")
    return next(iter(known)) if len(known) == 1 else ""


def listed(texts: Sequence[str]) -> str:
    """Return the first texts of a list, for people."""
    more = len(texts) - MOST_LISTED
    shown = ", ".join(map(repr, texts[:MOST_LISTED]))
    return f"{shown} and {more} more" if more > 0 else shown


def why_not(prompt: Prompt, fast: "PreTrainedTokenizerFast", model: FittedModel) -> str:
    """Return why a chat template cannot be used for an imported model; "" if it can.

    Args:
        fast: tokenizer of the model.
    """
    eos = model.tokenizer.eos_id
    try:
        ours = prompt.ids(model.tokenizer, SCRIPTS)
        texts = [prompt.text(text) for text in SCRIPTS]
        theirs = fast(texts, add_special_tokens=False).input_ids
    except ValueError as error:
        return str(error)
    if ours != theirs:
        return "its ids differ from those of transformers"
    if not all(ours):
        return "it writes nothing"
    if model.start != eos and any(eos in row for row in ours):
        return f"it writes id {eos}, the end of a text, which stands for the start in the run"
    return ""


def prompt_spec(prompt: Prompt) -> JsonObject:
    """Return the argument of a task for a prompt; empty for none."""
    given = {name: value for name, value in vars(prompt).items() if value}
    return {"prompt": given} if given else {}


def exported_template(prompt: Prompt, names: Mapping[str, str]) -> str:
    """Return the chat template that is written beside a tokenizer: that of the prompt, which sets
    those special tokens itself that the tokenizer calls something else.

    Args:
        names: special tokens of the tokenizer that is written.
    """
    own = {name: text for name, text in prompt.special_tokens.items() if names.get(name) != text}
    lines = [f"{{%- set {name} = {json.dumps(text)} -%}}" for name, text in own.items()]
    return "".join([*lines, prompt.chat_template])


def compare_prompts(task: AnyTask, loaded: Loaded, texts: Sequence[str]) -> None:
    """Check that a model that was written reads questions in its chat template as the run does.

    Raises:
        ValueError: it reads other ids.
    """
    prompt: Prompt = task.prompt
    if not prompt.chat_template:
        return
    for text in texts:
        [ours] = prompt.ids(task.tokenizer, [text])
        written = loaded.prompt(Example("0", text, ()), prompt.prefix)
        theirs = loaded.tokenizer(written, **loaded.tokenizer_options).input_ids
        if ours != theirs:
            raise ValueError(
                f"the question {text[:40]!r} has other ids in the chat template: {theirs[:8]} "
                f"instead of {ours[:8]}"
            )


def prefix_note(prefix: str, is_causal: bool) -> str:
    """Return a remark on a prefix."""
    if is_causal:
        return f"each question is read behind {prefix!r}"
    return f"each source is read behind {prefix!r}"


def prompt_notes(prompt: Prompt, is_causal: bool, has_template: bool = True) -> list[str]:
    """Return remarks on what a user of a model must put around its inputs.

    Args:
        has_template: whether its tokenizer comes with the chat template.
    """
    if prompt == NO_PROMPT:
        return []
    notes = [prefix_note(prompt.prefix, is_causal)] if prompt.prefix else []
    if prompt.chat_template:
        notes.append(
            "questions are put into its chat template"
            if has_template
            else "the run puts questions into its chat template, for which the folder has no place"
        )
    return notes
