"""Short names of settings: few, stable, and each another one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.tracking.parameters import short_class, short_names, short_parameters

CONFIG = {
    "seed_everything": 0,
    "model": {
        "class_path": "tasks.translation.task.TranslationTask",
        "init_args": {
            "backbone": {
                "class_path": "lslm_lightning.models.transformer.Transformer",
                "init_args": {
                    "d_model": 128,
                    "norm": {"class_path": "torch.nn.LayerNorm", "init_args": {"eps": 1e-5}},
                },
            },
            "optimizer": {"class_path": "mine.Adam", "init_args": {"lr": 0.003}},
            "max_source_length": None,
        },
    },
    "data": {
        "class_path": "tasks.translation.data.TranslationData",
        "init_args": {"max_source_length": 256, "seed": 0},
    },
    "trainer": {
        "max_steps": 100,
        "callbacks": [{"class_path": "torch.Stop", "init_args": {"at": 3}}],
    },
    "job": {"name": "demo", "root": "runs", "minutes": 2.0, "tags": {"who": "me"}, "parent": None},
    "ckpt_path": None,
}
WANTED = {
    "seed_everything": 0,
    "task_class": "TranslationTask",
    "data_class": "TranslationData",
    "backbone": "Transformer",
    "backbone.d_model": 128,
    "backbone.norm": "LayerNorm",
    "backbone.norm.eps": 1e-5,
    "optimizer": "mine.Adam",
    "optimizer.lr": 0.003,
    "max_source_length": None,
    "data.max_source_length": 256,
    "data.seed": 0,
    "max_steps": 100,
    "callbacks.0": "Stop",
    "callbacks.0.at": 3,
    "minutes": 2.0,
}


def test_names_say_the_setting_and_values_the_class() -> None:
    assert short_parameters(CONFIG, CONFIG) == WANTED


def test_a_name_does_not_depend_on_what_else_was_changed() -> None:
    """Columns of runs stand below each other."""
    changed = {
        "data": {"init_args": {"max_source_length": 64}},
        "model": {"class_path": CONFIG["model"]["class_path"]},
    }
    assert short_parameters(CONFIG, changed) == {
        "data.max_source_length": 64,
        "task_class": "TranslationTask",
    }


def test_settings_that_only_the_changed_part_has_are_shown() -> None:
    changed = {"model": {"init_args": {"max_length": 53}}}
    assert short_parameters(CONFIG, changed) == {"max_length": 53}


def test_a_class_of_ones_own_is_told_from_one_of_the_same_name() -> None:
    assert short_class("lslm_lightning.models.transformer.Transformer") == "Transformer"
    assert short_class("my_parts.Transformer") == "my_parts.Transformer"
    assert short_class(None) is None


def test_secrets_are_hidden() -> None:
    config = {
        "system": {
            "class_path": "a.B",
            "init_args": {"headers": {"api_key": "s3cret-of-mine"}, "password": "s3cret-of-mine"},
        }
    }
    assert "s3cret-of-mine" not in str(short_parameters(config, config))


PARTS = st.sampled_from(
    ["model", "data", "trainer", "job", "init_args", "class_path", "seed", "a", "b"]
)


@pytest.mark.slow
@given(st.sets(st.lists(PARTS, min_size=1, max_size=5).map(".".join), max_size=30))
def test_different_settings_have_different_names(names: set[str]) -> None:
    found = short_names(names)
    assert found.keys() == names
    assert len(set(found.values())) == len(names)
    assert short_names(sorted(names, reverse=True)).keys() == names
