"""Pretrained sequence-to-sequence models, such as Marian and T5.

Axes: B sources, N rows (N = k * B for k beams per source), S source time, T time, V vocabulary.
"""

import torch
from torch import Tensor

from lslm_lightning.models.backbone import EncoderState, State
from lslm_lightning.pretrained.cache import cache_from_state, state_from_cache
from lslm_lightning.pretrained.network import Pretrained
from lslm_lightning.types import JsonObject


class PretrainedEncoderDecoder(Pretrained):
    """Pretrained sequence-to-sequence model of `transformers`. The decoder state is its keys and
    values, including those of cross-attention.

    In a search, the padding token is never generated; `decode` takes part in a search if its memory
    is precomputed. `pad` of `decode` is ignored.
    """

    has_ragged_state = False

    auto_class = "AutoModelForSeq2SeqLM"
    model_kind = "an encoder and a decoder"
    is_encoder_decoder = True

    def __init__(
        self, path: str, config: JsonObject | None = None, tokenizer_digest: str | None = None
    ) -> None:
        super().__init__(path, config, tokenizer_digest)
        network = self.model.config
        self.n_encoder_layer = getattr(network, "encoder_layers", network.num_hidden_layers)
        self.n_decoder_layer = getattr(network, "decoder_layers", None) or getattr(
            network, "num_decoder_layers", network.num_hidden_layers
        )

    def encode(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        mask = None if pad is None else (~pad).long()
        memory: Tensor = self.model.get_encoder()(
            self.clamp_ids(x), attention_mask=mask
        ).last_hidden_state
        return memory

    def precompute_cross_attention(self, memory: Tensor) -> EncoderState:
        return (memory,)

    def decode(
        self,
        x: Tensor,
        pad: Tensor | None = None,
        memory: EncoderState | None = None,
        memory_pad: Tensor | None = None,
        state: State | None = None,
    ) -> tuple[Tensor, State]:
        from transformers import EncoderDecoderCache
        from transformers.modeling_outputs import BaseModelOutput

        self.check_decode(memory)
        assert memory is not None
        searching = isinstance(memory, tuple)
        memory = memory[0] if searching else memory
        n_beam = len(x) // len(memory)
        if n_beam > 1:
            memory = memory.repeat_interleave(n_beam, 0)
            memory_pad = None if memory_pad is None else memory_pad.repeat_interleave(n_beam, 0)
        self_attention, cross_attention = state or (None, None)
        out = self.model(
            encoder_outputs=BaseModelOutput(memory),
            attention_mask=None if memory_pad is None else (~memory_pad).long(),
            decoder_input_ids=self.clamp_ids(x),
            past_key_values=EncoderDecoderCache(
                cache_from_state(self_attention), cache_from_state(cross_attention)
            ),
            use_cache=True,
        )
        cache = out.past_key_values
        config = self.model.config
        if searching and config.pad_token_id not in (None, config.eos_token_id):
            out.logits[..., config.pad_token_id] = -torch.inf
        return out.logits, (
            state_from_cache(cache.self_attention_cache),
            state_from_cache(cache.cross_attention_cache),
        )
