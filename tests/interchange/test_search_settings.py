"""Search of a task for settings of `transformers`."""

import pytest
import torch
import transformers
from transformers.generation.logits_process import TopKLogitsWarper

from lslm_lightning.interchange.layouts import layout_named
from lslm_lightning.interchange.search_settings import LEFT_BEHIND, left_behind, task_search
from lslm_lightning.types import JsonObject, Settings
from tests.interchange.models import EXAMPLES, IDS, build_theirs


def settings_of(generation: Settings) -> JsonObject:
    """Return the settings of our search for a language model."""
    return task_search(generation, False, 64)["search"]["init_args"]


@pytest.mark.parametrize("settings", [{}, {"top_k": None}, {"top_k": 0}, {"top_k": 7}])
def test_as_many_tokens_may_be_drawn_as_in_transformers(settings: JsonObject) -> None:
    generation = {"do_sample": True, **settings}
    model = build_theirs(layout_named("gpt2").config(EXAMPLES["gpt2"][0], IDS))
    prepared, _ = model._prepare_generation_config(transformers.GenerationConfig(**generation))
    warpers = model._get_logits_processor(
        prepared, input_ids_seq_length=1, encoder_input_ids=torch.zeros(1, 1, dtype=torch.long)
    )
    [theirs] = [each.top_k for each in warpers if isinstance(each, TopKLogitsWarper)] or [None]
    assert settings_of(generation)["top_k"] == theirs


def test_settings_that_change_nothing_are_not_noted() -> None:
    usual = transformers.GenerationConfig._get_default_generation_params()
    assert left_behind(usual) == left_behind(LEFT_BEHIND) == left_behind({}) == []
    assert left_behind({"repetition_penalty": 1.5}) == ["repetition_penalty=1.5"]


@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        ({"num_beams": 4, "do_sample": True}, ["num_beams=4"]),
        ({"num_beams": 4, "early_stopping": "never"}, ["early_stopping=never"]),
        ({"num_beams": 4, "early_stopping": True}, []),
        ({"do_sample": True}, []),
        ({"early_stopping": "never"}, []),
    ],
)
def test_searches_that_ours_lack_are_noted(generation: JsonObject, expected: list[str]) -> None:
    assert left_behind(generation) == expected


def test_words_that_are_forbidden_are_noted_unless_they_are_padding() -> None:
    generation = {"bad_words_ids": [[7]]}
    assert left_behind(generation) == ["bad_words_ids=[[7]]"]
    assert left_behind(generation, blocks_padding=True) == []
