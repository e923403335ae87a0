"""Upper limits of numeric settings. A number that is too large is reported with the name of its
setting before it fills memory or disk.
"""

import math
import os
from collections.abc import Iterator, Mapping

from lslm_lightning.types import Json

N_PROCESS = max(64, 4 * (os.cpu_count() or 1))  # more processes would only wait for each other
COPIES = 10_000
SIZE = 1_000_000
LENGTH = 10_000_000
WORK = 100_000_000
LARGEST = {  # limits by the last part of a setting's name, in classes of other packages too
    **dict.fromkeys(("devices", "num_workers", "workers"), N_PROCESS),
    **dict.fromkeys(("num_nodes", "nodes"), 100_000),
    **dict.fromkeys(("keep_last", "keep_best", "average", "seeds", "kills"), COPIES),
    **dict.fromkeys(("n_lane", "beam_size", "n_beam", "n_alternative", "n_shot", "order"), COPIES),
    **dict.fromkeys(("n_head", "n_kv_head", "n_encoder_layer", "n_decoder_layer"), COPIES),
    **dict.fromkeys(("n_coefficient", "n_delta", "n_frequency_mask", "n_time_mask"), COPIES),
    **dict.fromkeys(("word_order", "char_order", "max_retries", "tensor_parallel_size"), COPIES),
    **dict.fromkeys(("d_model", "d_k", "d_v", "d_inner", "n_mel", "n_channel"), SIZE),
    **dict.fromkeys(("accumulate_grad_batches", "n_resample", "concurrency"), SIZE),
    **dict.fromkeys(("no_repeat_ngram", "top_k", "sample_rate_hz"), LENGTH),
    **dict.fromkeys(("vocab_size", "d_feedforward", "context", "stride", "n_character"), LENGTH),
    **dict.fromkeys(("max_length", "min_length", "max_new_tokens", "max_positions"), LENGTH),
    **dict.fromkeys(("max_source_length", "max_target_length"), LENGTH),
    **dict.fromkeys(("max_question_length", "max_answer_length"), LENGTH),
    **dict.fromkeys(("max_tokens", "eval_batch_tokens"), WORK),
    **dict.fromkeys(("batch_size", "max_frames", "buffer"), WORK),
    **dict.fromkeys(("minutes", "save_every_minutes"), WORK),
}
WIDEST = 2**63  # limit of integers that libraries hold in 64 bits


def check_magnitudes(settings: Json) -> None:
    """Check that no number of a configuration is nan or above the limit for its setting.

    Raises:
        ValueError: a number is not allowed; the message names the setting, the number and the
            limit.
    """
    for name, value in numbers(settings):
        most = LARGEST.get(setting_of(name))
        if isinstance(value, float) and math.isnan(value):
            raise ValueError(f"{name}=nan is no number; set one, or leave it out")
        if most is not None and value > most:
            raise ValueError(f"{name}={shortened(value)} must be at most {most:,}")
        if isinstance(value, int) and abs(value) >= WIDEST:
            raise ValueError(f"{name}={shortened(value)} must be less than {WIDEST:,}")


def numbers(settings: Json, name: str = "") -> Iterator[tuple[str, int | float]]:
    """Yield (dotted name, number) for every number in nested mappings and lists. `init_args` is
    left out of the names.

    A text of digits, such as `devices: "4"`, counts as a number if `LARGEST` has a limit for the
    setting.
    """
    if isinstance(settings, bool) or settings is None:
        return
    if isinstance(settings, int | float):
        yield name, settings
    elif isinstance(settings, str):
        if setting_of(name) in LARGEST and settings.isdecimal() and len(settings) < 4000:
            yield name, int(settings)
    elif isinstance(settings, list | tuple):
        for i, inner in enumerate(settings):
            yield from numbers(inner, f"{name}.{i}")
    elif isinstance(settings, Mapping) or hasattr(settings, "as_dict"):  # jsonargparse.Namespace
        inside = settings if isinstance(settings, Mapping) else vars(settings)
        for key, inner in inside.items():
            yield from numbers(inner, name if key == "init_args" else f"{name}.{key}".lstrip("."))


def setting_of(name: str) -> str:
    """Return the last part of a dotted name that is not a list index."""
    return next((part for part in reversed(name.split(".")) if not part.isdecimal()), name)


def shortened(value: int | float) -> str:
    """Return a number as text; a very large integer as a power of ten."""
    if isinstance(value, float) or abs(value) < 10**24:
        return str(value)
    return f"{'-' if value < 0 else ''}10^{int(math.log10(abs(value)))}"
