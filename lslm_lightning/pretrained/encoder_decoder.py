"""Pretrained sequence-to-sequence models, such as Marian and T5. Axes: B sources, N rows (k beams a
source), S and T time, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor

from lslm_lightning.models.backbone import Shared, State
from lslm_lightning.pretrained.cache import cache_of, state_of
from lslm_lightning.pretrained.network import Pretrained


class PretrainedEncoderDecoder(Pretrained):
    """Pretrained sequence-to-sequence model of `transformers`; its state is its keys and values,
    including those of cross-attention.

    In a search (recognized by a precomputed memory) the padding token is never generated. The `pad`
    of `decode` is ignored.
    """

    kind = "AutoModelForSeq2SeqLM"
    wants = "an encoder and a decoder"
    is_encoder_decoder = True

    def __init__(
        self, path: str, config: dict[str, Any] | None = None, tokenizer_digest: str | None = None
    ) -> None:
        super().__init__(path, config, tokenizer_digest)
        config = self.model.config
        self.n_encoder_layer = getattr(config, "encoder_layers", config.num_hidden_layers)
        self.n_decoder_layer = getattr(config, "decoder_layers", None) or getattr(
            config, "num_decoder_layers", config.num_hidden_layers
        )

    def encode(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        return self.model.get_encoder()(
            self.known(x), attention_mask=None if pad is None else (~pad).long()
        ).last_hidden_state

    def remember(self, memory: Tensor) -> Shared:
        return (memory,)

    def decode(
        self,
        x: Tensor,
        pad: Tensor | None = None,
        memory: Shared | None = None,
        memory_pad: Tensor | None = None,
        state: State | None = None,
    ) -> tuple[Tensor, State]:
        from transformers import EncoderDecoderCache
        from transformers.modeling_outputs import BaseModelOutput

        self.check_decode(memory)
        searching = isinstance(memory, tuple)
        [memory] = memory if searching else [memory]
        n_beam = len(x) // len(memory)
        if n_beam > 1:
            memory = memory.repeat_interleave(n_beam, 0)
            memory_pad = None if memory_pad is None else memory_pad.repeat_interleave(n_beam, 0)
        own, of_memory = state or (None, None)
        out = self.model(
            encoder_outputs=BaseModelOutput(memory),
            attention_mask=None if memory_pad is None else (~memory_pad).long(),
            decoder_input_ids=self.known(x),
            past_key_values=EncoderDecoderCache(cache_of(own), cache_of(of_memory)),
            use_cache=True,
        )
        cache = out.past_key_values
        config = self.model.config
        if searching and config.pad_token_id not in (None, config.eos_token_id):
            out.logits[..., config.pad_token_id] = -torch.inf
        return out.logits, (
            state_of(cache.self_attention_cache),
            state_of(cache.cross_attention_cache),
        )
