"""Models of transformers of a few families with a thousand weights, saved in folders as users save
theirs.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tokenizers import Regex, models, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MarianConfig,
    MarianMTModel,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from lslm_lightning.pretrained.decoder import PretrainedDecoder
from lslm_lightning.pretrained.encoder_decoder import PretrainedEncoderDecoder
from lslm_lightning.text.hugging_face import HuggingFaceTokenizer
from lslm_lightning.training.batches import PairBatch, padded
from tasks.language_modeling.task import LanguageModelingTask
from tasks.translation.task import TranslationTask

PAD = 0
EOS = 1
UNKNOWN = 2
WORDS = ["<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz"]
LAYERS = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
ROTARY = {
    **LAYERS,
    "vocab_size": len(WORDS),
    "bos_token_id": EOS,
    "eos_token_id": EOS,
    "max_position_embeddings": 32,
}
SIDES = {
    f"{side}_{what}": n
    for side in ("encoder", "decoder")
    for what, n in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 32))
}
IDS = {
    "vocab_size": len(WORDS),
    "d_model": 16,
    "pad_token_id": PAD,
    "eos_token_id": EOS,
    "decoder_start_token_id": PAD,
}
CAUSAL = {
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(WORDS),
            n_positions=32,
            n_embd=16,
            n_layer=2,
            n_head=2,
            bos_token_id=EOS,
            eos_token_id=EOS,
        )
    ),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**ROTARY)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**ROTARY, sliding_window=4)),
}
PAIRED = {
    "marian": lambda: MarianMTModel(
        MarianConfig(**IDS, **SIDES, max_position_embeddings=32, scale_embedding=True)
    ),
    "bart": lambda: BartForConditionalGeneration(
        BartConfig(**IDS, **SIDES, bos_token_id=EOS, max_position_embeddings=32)
    ),
    "t5": lambda: T5ForConditionalGeneration(
        T5Config(**IDS, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    ),
}


def save(model: torch.nn.Module, folder: Path, ends: bool, words: Sequence[str] = WORDS) -> Path:
    """Save weights, configuration and a tokenizer of words and Chinese characters, which appends
    `</s>` to a text where `ends`.
    """
    backend = Backend(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated")]
    )
    if ends:
        backend.post_processor = processors.TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", EOS)]
        )
    model.save_pretrained(folder)
    names = {"pad_token": "<pad>"} if ends else {}
    PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="</s>", unk_token="<unk>", **names
    ).save_pretrained(folder)
    return folder


def saved(families: dict, tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    torch.manual_seed(3)
    return save(families[name](), tmp_path_factory.mktemp(name), families is PAIRED)


@pytest.fixture(scope="session", params=CAUSAL)
def causal(request, tmp_path_factory) -> Path:
    return saved(CAUSAL, tmp_path_factory, request.param)


@pytest.fixture(scope="session", params=PAIRED)
def paired(request, tmp_path_factory) -> Path:
    return saved(PAIRED, tmp_path_factory, request.param)


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory) -> Path:
    return saved(CAUSAL, tmp_path_factory, "gpt2")


@pytest.fixture(scope="session")
def marian(tmp_path_factory) -> Path:
    return saved(PAIRED, tmp_path_factory, "marian")


def language_task(folder: Path, **settings) -> LanguageModelingTask:
    """Return a task with the weights of the folder, in float64."""
    task = LanguageModelingTask(
        PretrainedDecoder(str(folder)),
        HuggingFaceTokenizer(str(folder)).train(),
        **{"context": 16, **settings},
    )
    task.backbone.load_pretrained_weights()
    return task.double().eval()


def translation_task(folder: Path, **settings) -> TranslationTask:
    task = TranslationTask(
        PretrainedEncoderDecoder(str(folder)),
        HuggingFaceTokenizer(str(folder)).train(),
        **{"max_length": 12, **settings},
    )
    task.backbone.load_pretrained_weights()
    return task.double().eval()


def pairs(sources: list[list[int]], targets: list[list[int]]) -> PairBatch:
    source = padded([[*ids, EOS] for ids in sources], PAD)
    target = padded([[PAD, *ids, EOS] for ids in targets], PAD)
    return PairBatch(
        source,
        source == PAD,
        target,
        sum(map(len, targets)) + len(targets),
        sum(map(len, sources)) + len(sources),
    )
