"""A repository or a run that describes a model may bring no code."""

import ast
import json
import sys
from pathlib import Path

import pytest

from lslm_lightning.pretrained.decoder import PretrainedDecoder
from lslm_lightning.text.hugging_face import check_runs_no_code, model_config

ROOT = Path(__file__).parents[2]
GPT2 = {"model_type": "gpt2", "vocab_size": 29, "n_embd": 8, "n_layer": 1, "n_head": 1}
AUTO_MAP = {
    "auto_map": {
        name: f"evil_model.{name}" for name in ("AutoConfig", "AutoModel", "AutoModelForCausalLM")
    }
}


def folder_of(path: Path, config: dict) -> str:
    (path / "evil_model.py").write_text("raise AssertionError('imported')\n")
    (path / "config.json").write_text(json.dumps(config))
    return str(path)


KERNELS = [
    {"_attn_implementation": "evil/kernel"},
    {"attn_implementation": "evil/kernel@main:function"},
    {"attn_implementation": {"": "sdpa", "vision_config": "evil/kernel"}},
    {"_attn_implementation_internal": "paged|evil/kernel"},
    {"attn_implementation": "flash_attention_2"},  # for want of its package, from a repository
    {"text_config": {"_attn_implementation": "evil/kernel"}},
    {"use_kernels": True},
    {"kernel_config": {"RMSNorm": "evil/kernel:RMSNorm"}},
]


@pytest.mark.parametrize("settings", KERNELS, ids=str)
def test_kernels_are_refused_in_a_folder_and_in_a_run(settings: dict, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="code of others"):
        model_config(folder_of(tmp_path, GPT2 | settings))
    with pytest.raises(ValueError, match="code of others"):
        PretrainedDecoder(str(tmp_path), config=GPT2 | settings, tokenizer_digest="x")


@pytest.mark.parametrize(
    "settings",
    [{}, {"attn_implementation": None}, {"_attn_implementation": "sdpa"}, {"use_kernels": False}],
)
def test_what_transformers_has_itself_passes(settings: dict, tmp_path: Path) -> None:
    check_runs_no_code(GPT2 | settings)
    assert model_config(folder_of(tmp_path, GPT2 | settings)).model_type == "gpt2"


def test_code_of_a_folder_is_passed_over_where_transformers_knows_the_model(tmp_path: Path) -> None:
    """Many well-known models of the hub have code from before `transformers` knew them."""
    assert model_config(folder_of(tmp_path, GPT2 | AUTO_MAP)).model_type == "gpt2"
    assert not [name for name in sys.modules if "evil_model" in name]


def test_code_of_a_folder_is_refused_where_it_does_not(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no model that can be used"):
        model_config(folder_of(tmp_path, {"model_type": "evil"} | AUTO_MAP))
    assert not [name for name in sys.modules if "evil_model" in name]


@pytest.mark.parametrize(
    "settings", [AUTO_MAP, {"sub": AUTO_MAP}, {"custom_generate": "evil/repository"}]
)
def test_code_is_refused_in_a_run(settings: dict) -> None:
    with pytest.raises(ValueError, match=r"names Python code|code of others"):
        PretrainedDecoder("x", config=GPT2 | settings, tokenizer_digest="x")


@pytest.mark.slow
def test_no_call_of_transformers_lets_code_in() -> None:
    """Every call by which `transformers` could load a class forbids code."""
    loading = {"from_pretrained", "from_config"}
    for path in (
        "lslm_lightning/text/hugging_face.py",
        "lslm_lightning/systems/hugging_face_model.py",
        "lslm_lightning/pretrained/network.py",
    ):
        source = (ROOT / path).read_text()
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        named = [
            c
            for c in calls
            if {n.attr for a in [c.func, *c.args] for n in [a] if isinstance(n, ast.Attribute)}
            & loading
        ]
        assert named, path
        for call in named:
            given = {ast.unparse(k.value) for k in call.keywords if k.arg is None}
            assert given & {"NO_CODE", "options"}, f"{path}, line {call.lineno}"
        assert "**NO_CODE" in source
