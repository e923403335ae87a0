"""Search of a task as `generation_config.json` of `transformers`, and back."""

from collections.abc import Callable, Mapping

from lslm_lightning.decoding import AnySearch, Beam, Greedy, Sampling
from lslm_lightning.interchange.layouts.layout import SpecialIds
from lslm_lightning.training.causal import CausalTask
from lslm_lightning.training.language_model import CONTINUATION_LENGTH
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from lslm_lightning.types import JsonObject, Settings

HOME = "lslm_lightning.decoding"


def generation_config(
    task: CausalTask | SequenceToSequenceTask, ids: SpecialIds, positions: int | None
) -> JsonObject:
    """Return the content of generation_config.json for the search of a task.

    Lengths are those of whole outputs, so that a caller may give either limit of `generate`: a
    language model writes until its context is full, another model at most as much as the task does
    behind the start.

    Args:
        positions: number of positions of the model that is written; None for no limit.

    Raises:
        ValueError: `transformers` has no search like it.
    """
    is_causal = isinstance(task, CausalTask)
    longest = task.context if isinstance(task, CausalTask) else most_new(task, positions) + 1
    config: JsonObject = {
        **settings_of(task.search),
        "max_length": longest,
        "pad_token_id": ids.pad,
        "bos_token_id": ids.bos,
        "eos_token_id": ids.eos,
    }
    if task.min_length:
        config["min_new_tokens"] = min(task.min_length, longest - 1)
    if not is_causal:
        config["decoder_start_token_id"] = ids.bos
    return config


def most_new(task: SequenceToSequenceTask, positions: int | None) -> int:
    """Return the largest number of tokens of an answer: that of the task, where a model with so
    many positions can write it behind the first token.
    """
    return min(task.max_length, positions - 1) if positions else task.max_length


def settings_of(search: AnySearch) -> JsonObject:
    """Return the settings of `transformers` for a search.

    Raises:
        ValueError: `transformers` has no search like it.
    """
    if isinstance(search, Beam):
        settings: JsonObject = {
            "do_sample": False,
            "num_beams": search.beam_size,
            "length_penalty": search.length_penalty,
            "early_stopping": search.early_stopping,
        }
    elif isinstance(search, Sampling):
        settings = {
            "do_sample": True,
            "num_beams": 1,
            "temperature": search.temperature,
            "top_k": search.top_k or 0,
            "top_p": 1.0 if search.top_p is None else search.top_p,
        }
    elif isinstance(search, Greedy):
        settings = {"do_sample": False, "num_beams": 1}
    else:
        raise ValueError(
            f"model.search={type(search).__name__} is no search of transformers; take Greedy, Beam "
            "or Sampling"
        )
    if search.no_repeat_ngram:
        settings["no_repeat_ngram_size"] = search.no_repeat_ngram
    return settings


LEFT_BEHIND: Settings = {
    "forced_bos_token_id": None,
    "repetition_penalty": 1.0,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "bad_words_ids": [],
    "suppress_tokens": [],
    "begin_suppress_tokens": [],
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
    "sequence_bias": {},
    "min_p": 0.0,
    "typical_p": 1.0,
}
"""Settings of generation_config.json that change answers and that no search of ours has, each with
the value that changes nothing.
"""

SEARCH = (
    *("do_sample", "num_beams", "length_penalty", "early_stopping", "no_repeat_ngram_size"),
    *("temperature", "top_k", "top_p", "max_length", "max_new_tokens", "min_length"),
    *("min_new_tokens", *LEFT_BEHIND),
)
"""Settings of `transformers` that are about a search."""

RIVALS = {"max_length": "max_new_tokens", "min_length": "min_new_tokens"}  # which win over them
USUAL_TOP_K = 50  # of transformers, where generation_config.json has none; 0 turns it off
MOST_NEW = 512  # tokens of an answer, for a model that states no limit
IDS = ("eos_token_id", "decoder_start_token_id")
SIZES = ("num_beams", "no_repeat_ngram_size", "top_k", *RIVALS, *RIVALS.values())
SHARES = ("temperature", "top_p", "length_penalty")


def check_numbers(settings: Settings, file: str) -> None:
    """Check that settings of a search are numbers, where a file of a model states them.

    Args:
        file: name of the file.

    Raises:
        ValueError: one is not.
    """
    for name in (*IDS, *SIZES, *SHARES):
        value = settings.get(name)
        for each in value if name in IDS and isinstance(value, list) else [value]:
            is_whole = type(each) is int  # True and False are no numbers
            if each is None or (name in SHARES and (is_whole or isinstance(each, float))):
                continue
            if name in SHARES:
                raise ValueError(
                    f"its {file} has {name}={each!r}, which must be a number; change it"
                )
            if not is_whole or each < 0:
                raise ValueError(
                    f"its {file} has {name}={each!r}, which must be a whole number of at least 0; "
                    "change it"
                )


def task_search(generation: Settings, is_pair: bool, positions: int | None) -> JsonObject:
    """Return the arguments of a task for the search of a model of `transformers`.

    Args:
        generation: settings of generation_config.json.
        is_pair: whether the model reads one text and writes another.
        positions: number of positions of the model; None for no limit.
    """
    n_repeat = generation.get("no_repeat_ngram_size") or 0
    n_beam = generation.get("num_beams") or 1
    if generation.get("do_sample"):
        kind = "Sampling"
        top_k = generation.get("top_k")
        settings: JsonObject = {
            "temperature": float(generation.get("temperature") or 1.0),
            "top_k": (USUAL_TOP_K if top_k is None else top_k) or None,
            "top_p": generation.get("top_p"),
        }
    elif n_beam > 1:
        kind = "Beam"
        penalty = generation.get("length_penalty")
        settings = {
            "beam_size": n_beam,
            "length_penalty": 1.0 if penalty is None else float(penalty),
            "early_stopping": generation.get("early_stopping") is True,
        }
    else:
        kind = "Greedy"
        settings = {}
    settings["no_repeat_ngram"] = n_repeat
    n_before = 1 if is_pair else 0  # the start of the decoder counts as one
    longest = generation.get("max_new_tokens")
    if longest is None and generation.get("max_length") and is_pair:
        longest = generation["max_length"] - n_before
    usual = MOST_NEW if is_pair else CONTINUATION_LENGTH
    longest = min(longest or usual, (positions or MOST_NEW + 1) - 1)
    shortest = generation.get("min_new_tokens")
    if shortest is None:
        shortest = (generation.get("min_length") or 0) - n_before if is_pair else 0
    return {
        "search": {"class_path": f"{HOME}.{kind}", "init_args": settings},
        "max_length": longest,
        "min_length": max(0, min(shortest, longest)),
    }


def left_behind(generation: Settings, *, blocks_padding: bool = False) -> list[str]:
    """Return the settings of generation_config.json that change answers and were not taken over.

    Args:
        generation: settings of generation_config.json.
        blocks_padding: whether `bad_words_ids` was taken over, which forbids padding alone.
    """
    found = {name: generation.get(name) for name in LEFT_BEHIND}
    lost = {
        name: value
        for name, value in found.items()
        if value is not None and value != LEFT_BEHIND[name]
    }
    if blocks_padding:
        lost.pop("bad_words_ids", None)
    n_beam = generation.get("num_beams") or 1
    if n_beam > 1 and generation.get("do_sample"):
        lost["num_beams"] = n_beam  # beams that are sampled
    elif n_beam > 1 and generation.get("early_stopping") == "never":
        lost["early_stopping"] = "never"
    return [f"{name}={value}" for name, value in lost.items()]


def settings_by_name(config: Settings, task: str) -> dict[str, Settings]:
    """Return the settings for a task in `task_specific_params` of a config.json, by their names,
    such as "translation_en_to_de".
    """
    tasks = config.get("task_specific_params")
    return {
        name: settings
        for name, settings in (tasks if isinstance(tasks, Mapping) else {}).items()
        if name.startswith(task) and isinstance(settings, Mapping)
    }


def search_of_task(
    generation: JsonObject, config: Settings, task: str, prefix: str, tell: Callable[[str], None]
) -> JsonObject:
    """Return the settings of generation_config.json, with those for a task in config.json in their
    place.

    Args:
        generation: settings of generation_config.json.
        config: content of config.json.
        task: name of the task that the model becomes.
        prefix: text before each input, which tells languages apart.
        tell: takes a remark on what was chosen.
    """
    known = settings_by_name(config, task)
    for settings in known.values():
        check_numbers(settings, "config.json")
    of_prefix = {name: each for name, each in known.items() if each.get("prefix") == prefix != ""}
    chosen = of_prefix or ({task: known[task]} if task in known else known)
    searches = {
        name: {key: each[key] for key in SEARCH if each.get(key) is not None}
        for name, each in chosen.items()
    }
    found = next(iter(searches.values()), {})
    if any(each != found for each in searches.values()):
        tell(f"no search was chosen among those of its config.json: {', '.join(searches)}")
        return generation
    if not found:
        return generation
    stated = ", ".join(f"{name}={value}" for name, value in found.items())
    tell(f"its search is that of its config.json for {task}: {stated}")
    rivals = {RIVALS[name] for name in RIVALS.keys() & found.keys()}
    return {**{name: value for name, value in generation.items() if name not in rivals}, **found}
