"""Tiny models of ours and of `transformers` with random weights, in float64."""

from dataclasses import replace

import torch
import transformers
from torch import nn

from lslm_lightning.interchange.layouts import LAYOUTS, Layout
from lslm_lightning.interchange.layouts.bart import sinusoids
from lslm_lightning.interchange.layouts.layout import SpecialIds
from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.runs.loading import build
from lslm_lightning.text.recipes import Characters
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.task import Task
from lslm_lightning.types import JsonObject

TOKENIZER = Characters().train(["the quick brown fox jumps over lazy dogs. 敏捷的棕色狐狸"])
IDS = SpecialIds(TOKENIZER.pad_id, TOKENIZER.bos_id, TOKENIZER.eos_id)
TASKS = {
    "causal": "tasks.language_modeling.task.LanguageModelingTask",
    "sequence-to-sequence": "tasks.translation.task.TranslationTask",
    "span-extraction": "tasks.question_answering.extractive.task.SpanTask",
}
CAUSAL = ModelParts(
    kind="causal",
    vocab_size=TOKENIZER.vocab_size,
    d_model=16,
    d_feedforward=24,
    n_encoder_layer=0,
    n_decoder_layer=2,
    n_head=4,
    n_kv_head=4,
    d_k=4,
    d_v=4,
    position_base=10_000.0,
    approximate="none",
    context=32,
)
GATED = {
    "norm": "RMSNorm",
    "norm_eps": 1e-6,
    "norm_bias": False,
    "feed_forward": "SwiGLU",
    "approximate": "",
}
GEGLU = {"feed_forward": "GEGLU", "approximate": "none"}
LEARNED = {"position": "Learned", "position_base": None, "max_positions": 32}
SINUSOIDAL = {"position": "Sinusoidal"}
PLAIN = {"attention_bias": False, "feed_forward_bias": False}
PAIRS = {"kind": "sequence-to-sequence", "n_encoder_layer": 2, "context": None}
BUCKETS = {"position": "RelativeBuckets", "position_base": None, "n_bucket": 8, "max_distance": 12}
T5 = {**PAIRS, **GATED, **PLAIN, **BUCKETS}
ONE_DECODER = {"n_decoder_layer": 1, "norm_eps": 1e-5}
SPANS = {
    "kind": "span-extraction",
    "n_encoder_layer": 2,
    "n_decoder_layer": 0,
    "norm_first": False,
    "embedding_norm": True,
    "context": None,
}
WIDE = {"n_head": 2, "n_kv_head": 2, "d_k": 16, "d_v": 16}
EXAMPLES: dict[str, list[ModelParts]] = {
    "llama": [
        replace(CAUSAL, **GATED, **PLAIN, n_kv_head=2, d_k=6, d_v=6, head="LinearHead"),
        replace(CAUSAL, **GATED, n_head=8, d_k=2, d_v=2),
        replace(CAUSAL, **GATED | GEGLU, feed_forward_bias=False),
    ],
    "mistral": [replace(CAUSAL, **GATED, **PLAIN, n_kv_head=1, position_base=500.0)],
    "qwen2": [replace(CAUSAL, **GATED, feed_forward_bias=False, n_kv_head=2)],
    "stablelm": [
        replace(CAUSAL, feed_forward="SwiGLU", approximate="", **PLAIN, n_kv_head=2),
        replace(CAUSAL, feed_forward="SwiGLU", approximate="", feed_forward_bias=False),
    ],
    "starcoder2": [
        replace(CAUSAL, n_kv_head=2, approximate="tanh", head="LinearHead"),
        replace(CAUSAL, **PLAIN, feed_forward="ReLU", approximate=""),
    ],
    "gpt_neox": [
        CAUSAL,
        replace(CAUSAL, **PLAIN, head="LinearHead", approximate="tanh"),
        replace(CAUSAL, attention_bias=False, norm_eps=1e-6, dropout=0.25),
    ],
    "gpt2": [
        replace(CAUSAL, **LEARNED),
        replace(CAUSAL, **LEARNED, **PLAIN, head="LinearHead"),
        replace(CAUSAL, **LEARNED, feed_forward="ReLU", approximate="", d_feedforward=64),
    ],
    "pegasus": [
        replace(CAUSAL, **PAIRS, **SINUSOIDAL, scale_embedding=True),
        replace(CAUSAL, **PAIRS, **SINUSOIDAL, **PLAIN, head="LinearHead"),
    ],
    "marian": [
        replace(CAUSAL, **PAIRS, **SINUSOIDAL, norm_first=False, head_bias=True, dropout=0.125),
        replace(CAUSAL, **PAIRS, **SINUSOIDAL, norm_first=False, scale_embedding=True),
    ],
    "bart": [
        replace(CAUSAL, **PAIRS, **LEARNED, norm_first=False, embedding_norm=True),
        replace(
            CAUSAL,
            **{**PAIRS, **LEARNED, **PLAIN, "approximate": ""},
            norm_first=False,
            embedding_norm=True,
            head="LinearHead",
            feed_forward="ReLU",
        ),
    ],
    "mbart": [replace(CAUSAL, **PAIRS, **LEARNED, embedding_norm=True, scale_embedding=True)],
    "t5": [
        replace(CAUSAL, **T5 | {"feed_forward": "ReLU", "approximate": ""}, dropout=0.25),
        replace(CAUSAL, **T5 | GEGLU | ONE_DECODER, head="LinearHead"),
        replace(CAUSAL, **T5 | WIDE, head="LinearHead"),
        replace(CAUSAL, **T5 | GEGLU | {"approximate": "tanh"}),
    ],
    "bert": [
        replace(CAUSAL, **SPANS, **LEARNED, norm_eps=1e-12, dropout=0.125, threshold=2.5),
        replace(CAUSAL, **SPANS, **LEARNED, **PLAIN, approximate="tanh"),
    ],
    "electra": [replace(CAUSAL, **SPANS, **LEARNED)],
    "blenderbot": [replace(CAUSAL, **PAIRS, **LEARNED, head_bias=True)],
}
"""Parts that each layout can express, several for a layout with several variants."""
CASES = [(layout, parts) for layout in LAYOUTS for parts in EXAMPLES[layout.model_type]]
CASE_NAMES = [
    f"{layout.model_type}-{EXAMPLES[layout.model_type].index(parts)}" for layout, parts in CASES
]


def task_spec(parts: ModelParts, **more: object) -> JsonObject:
    """Return the specification of a task, as a config has it below `model`."""
    return {"class_path": TASKS[parts.kind], "init_args": {**parts.model_spec(), **more}}


def build_task(parts: ModelParts, tokenizer: Tokenizer = TOKENIZER, **more: object) -> Task:
    """Return a task with random weights in float64; biases that the parts call zero are zero."""
    torch.manual_seed(0)
    task = build(task_spec(parts, **more), tokenizer)
    return randomize(task)


def randomize(model: nn.Module) -> nn.Module:
    """Make every parameter random, so that none can be forgotten; float64 and eval mode."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter) * 0.3)
    return model.double().eval()


def build_theirs(config: JsonObject) -> nn.Module:
    """Return a model of `transformers` for the content of a config.json, in float64."""
    torch.manual_seed(0)
    parsed = transformers.AutoConfig.for_model(**config)
    model = getattr(transformers, config["architectures"][0])(parsed)
    if not config["tie_word_embeddings"]:  # T5 ties them whatever its config says
        head = model.get_output_embeddings()
        head.weight = nn.Parameter(head.weight.detach().clone())
    model = randomize(model)
    if parsed.is_encoder_decoder and not parsed.tie_word_embeddings:  # ours have one vocabulary
        for stack in (model.model.encoder, model.model.decoder):
            stack.embed_tokens.weight.data.copy_(model.model.shared.weight)
    return exact(model)


def exact(model: nn.Module) -> nn.Module:
    """Let a model of `transformers` compute in float64 what it computes in float32 whatever its
    type: RMSNorm, and the angles of rotary positions, whose frequencies differ from ours by one
    unit in the last place of float32. Tables of sinusoids, of which we round the angles to float32
    and they the sines, are set to ours.
    """
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child).__name__.endswith(("RMSNorm", "T5LayerNorm")):
                norm = nn.RMSNorm(len(child.weight), eps=child.variance_epsilon)
                norm.weight = child.weight
                setattr(module, name, norm)
        if "SinusoidalPositional" in type(module).__name__:
            module.weight.data.copy_(sinusoids(*module.weight.shape))
        if isinstance(getattr(module, "inv_freq", None), torch.Tensor):
            base = module.config.rope_parameters["rope_theta"]
            n = len(module.inv_freq)
            module.inv_freq.copy_(base ** (-torch.arange(0, 2 * n, 2, dtype=torch.float32) / 2 / n))
    return model


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights of a model, each stored once, as a file has them."""
    found = {}
    seen = set()
    for name, weight in model.state_dict().items():
        if weight.data_ptr() not in seen:
            found[name] = weight.clone()
        seen.add(weight.data_ptr())
    return found


def layout_parts(layout: Layout, parts: ModelParts) -> tuple[JsonObject, ModelParts]:
    """Return config.json of a model, with all defaults, and the parts read from it."""
    config = transformers.AutoConfig.for_model(**layout.config(parts, IDS)).to_dict()
    return config, layout.parts(config, {})
