"""A config.json that claims more than its weights have is refused before anything of that size is
made.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import CONFIG_MAPPING

from lslm_lightning.pretrained.decoder import PretrainedDecoder
from lslm_lightning.pretrained.encoder_decoder import PretrainedEncoderDecoder
from lslm_lightning.safety.limits import SETTING
from lslm_lightning.safety.parameters import Bounds, bounded_parameters, bounds_of_folder
from lslm_lightning.systems.hugging_face import HuggingFaceSystem
from lslm_lightning.text.hugging_face import HuggingFaceTokenizer as Recipe
from lslm_lightning.text.hugging_face import model_config
from lslm_lightning.text.model_sizes import check_sizes

TOGETHER = [
    {"n_embd": 800_000, "hidden_size": 800_000},
    {"vocab_size": 10**7},
    {"n_inner": 10**7, "intermediate_size": 10**7},
]
CLAIMS = [
    ("n_layer", 10**7),
    ("n_layer", 10**30),
    ("num_hidden_layers", 1_200),
    ("hidden_size", 10**9),
    ("n_embd", 10**12),
    ("vocab_size", 10**12),
    ("intermediate_size", 10**30),
    ("d_ff", 10**9),
    ("num_local_experts", 10**9),
    ("max_position_embeddings", 10**12),
    ("num_labels", 10**9),
    ("attention_types", [[["global", "local"], 10**7]]),
    ("depths", [2, 10**7]),
    ("text_config", {"num_hidden_layers": 10**7}),
]


def claiming(folder: Path, copy: Path, **settings) -> str:
    """Copy a folder, and change its config.json by these settings."""
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | settings))
    return str(copy)


@pytest.mark.parametrize(("name", "value"), CLAIMS, ids=str)
def test_a_size_that_the_weights_cannot_have_is_refused_by_all_who_read_it(
    name, value, causal, tmp_path
):
    path = claiming(causal, tmp_path / "copy", **{name: value})
    users = [
        lambda: model_config(path),
        lambda: PretrainedDecoder(path),
        lambda: Recipe(path).train(),
        lambda: HuggingFaceSystem(path).prepare([]),
        lambda: HuggingFaceSystem(path).loaded,
    ]
    for use in users:
        with pytest.raises(
            ValueError,
            match=rf"config.json has [a-z_]+=[\d,^]+, more than the [\d,]+ .*set {SETTING}",
        ):
            use()


@pytest.mark.parametrize(
    ("name", "value"), [claim for claim in CLAIMS if claim[1] != 1_200], ids=str
)
def test_a_config_of_a_run_has_the_bounds_of_any_model(name, value):
    with pytest.raises(ValueError, match=f"nowhere: its config.json has .*set {SETTING}"):
        PretrainedDecoder(
            "nowhere", config={"model_type": "gpt2", name: value}, tokenizer_digest="x"
        )


@pytest.mark.parametrize("settings", TOGETHER, ids=str)
def test_sizes_that_are_too_many_together_are_refused_while_the_model_is_built(
    settings, causal, tmp_path
):
    path = claiming(causal, tmp_path / "copy", **settings)
    for use in (
        lambda: PretrainedDecoder(path, tokenizer_digest="x"),
        lambda: HuggingFaceSystem(path).loaded,
    ):
        with pytest.raises(ValueError, match="does not fit its weights"):
            use()


def test_a_model_of_two_sides_is_bounded_too(paired, tmp_path):
    path = claiming(paired, tmp_path / "copy", encoder_layers=10**7, num_layers=10**7)
    with pytest.raises(ValueError, match="layers=10,000,000, more than the 1,"):
        PretrainedEncoderDecoder(path)


def test_many_small_tensors_are_stopped_by_their_number():
    built = []

    def build():
        with bounded_parameters(Bounds(10**9, 100), "name"):
            built.extend(torch.nn.Linear(1, 1) for _ in range(10**6))

    with pytest.raises(
        ValueError, match=r"^name: a model of more than 100 weights and biases; .*set"
    ):
        build()
    assert len(built) <= 50


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "bert", "num_attention_heads": 0},
        {"model_type": "llama", "num_attention_heads": 0},
        {"model_type": "gpt2", "n_head": -1},
        {"model_type": "bart", "encoder_attention_heads": 0},
        {"model_type": "t5", "d_kv": 0},
    ],
)
def test_a_model_without_heads_or_units_is_refused(config, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    name = list(config)[1]
    with pytest.raises(ValueError, match=f"has {name}={config[name]}, which must be at least 1"):
        model_config(str(tmp_path))


def test_the_user_may_allow_more(causal, tmp_path, monkeypatch):
    path = claiming(causal, tmp_path / "copy", n_layer=1_500, num_hidden_layers=1_500)
    with pytest.raises(ValueError, match="1,500"):
        model_config(path)
    monkeypatch.setenv(SETTING, str(8 << 30))
    model_config(path)
    assert bounds_of_folder(Path(path)).n_parameter == 2 << 30


def test_a_damaged_file_counts_as_nothing(causal, tmp_path):
    path = Path(claiming(causal, tmp_path / "copy"))
    whole = bounds_of_folder(path)
    for file in path.glob("*.safetensors"):
        file.write_bytes(b"\xff" * 100)
    assert bounds_of_folder(path).n_layer == 1_000 < whole.n_layer
    model_config(str(path))


def test_every_kind_of_model_that_transformers_knows_may_have_its_sizes():
    config = {
        "model_type": "llama",
        "rope_theta": 10**10,
        "sliding_window": 2**31 - 1,
        "max_length": 10**18,
        "eos_token_id": [1, 2],
    }
    check_sizes(config, Bounds(10_000_000, 1_000, 1_000))
    check_sizes(
        {"max_position_embeddings": 10_485_760, "vocab_size": 290_943, "num_hidden_layers": 128},
        Bounds(),
    )
    for kind in (
        "llama",
        "gpt2",
        "t5",
        "bart",
        "marian",
        "bert",
        "gpt_neo",
        "mixtral",
        "albert",
        "mamba",
        "bloom",
        "qwen2",
    ):
        check_sizes(CONFIG_MAPPING[kind]().to_dict(), Bounds(10_000_000, 1_000, 1_000))
