"""Search of a task as `generation_config.json` of `transformers`, and back."""

from lslm_lightning.decoding import AnySearch, Beam, Greedy, Sampling
from lslm_lightning.interchange.layouts.layout import SpecialIds
from lslm_lightning.training.causal import CausalTask
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from lslm_lightning.types import JsonObject


def generation_config(task: CausalTask | SequenceToSequenceTask, ids: SpecialIds) -> JsonObject:
    """Return the content of generation_config.json for the search of a task.

    Raises:
        ValueError: `transformers` has no search like it.
    """
    config: JsonObject = {
        **settings_of(task.search),
        "max_new_tokens": task.max_length,
        "pad_token_id": ids.pad,
        "bos_token_id": ids.bos,
        "eos_token_id": ids.eos,
    }
    if task.min_length:
        config["min_new_tokens"] = task.min_length
    if isinstance(task, SequenceToSequenceTask):
        config["decoder_start_token_id"] = ids.bos
    return config


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
