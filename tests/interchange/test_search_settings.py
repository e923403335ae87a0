"""Search of a task for settings of `transformers`."""

import pytest
import torch
import transformers
from transformers.generation.logits_process import TopKLogitsWarper

from lslm_lightning.interchange.layouts import layout_named
from lslm_lightning.interchange.search_settings import (
    LEFT_BEHIND,
    left_behind,
    search_of_task,
    task_search,
)
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


CNN: Settings = {"num_beams": 4, "min_length": 56, "length_penalty": 2.0}
XSUM: Settings = {"num_beams": 6, "min_length": 11, "length_penalty": 1.0}
GERMAN: Settings = {"num_beams": 4, "max_length": 300, "prefix": "to German: "}
FRENCH: Settings = {**GERMAN, "prefix": "to French: "}


@pytest.mark.parametrize(
    ("stated", "task", "prefix", "expected"),
    [
        ({"summarization": CNN, "summarization_xsum": XSUM}, "summarization", "", CNN),
        ({"summarization_cnn": CNN, "summarization_xsum": XSUM}, "summarization", "", None),
        ({"summarization_cnn": CNN, "summarization_xsum": XSUM}, "translation", "", {}),
        ({"translation_de": GERMAN, "translation_fr": FRENCH}, "translation", "", GERMAN),
        ({"translation_de": GERMAN, "translation_x": XSUM}, "translation", "to German: ", GERMAN),
        ({"summarization": {"prefix": "short: "}}, "summarization", "short: ", {}),
        (None, "summarization", "", {}),
    ],
)
def test_the_search_of_a_task_is_taken(
    stated: object, task: str, prefix: str, expected: Settings | None
) -> None:
    given = {"num_beams": 1, "max_new_tokens": 20, "repetition_penalty": 1.1}
    notes: list[str] = []
    config = {"task_specific_params": stated}
    found = search_of_task(given, config, task, prefix, notes.append)
    note = "".join(notes)
    assert found.get("prefix") is None
    if not expected:
        assert found == given
        assert ("xsum" in note) == (expected is None)
        return
    spec = task_search(found, True, None)
    assert spec["search"]["init_args"]["beam_size"] == expected["num_beams"]
    assert spec["max_length"] == expected.get("max_length", 21) - 1
    shortest = expected.get("min_length", 1) - 1
    assert spec["min_length"] == min(shortest, spec["max_length"])
    assert f"num_beams={expected['num_beams']}" in note
    assert left_behind(found) == ["repetition_penalty=1.1"]
