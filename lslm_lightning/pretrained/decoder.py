"""Pretrained causal language models, such as GPT-2. Axes: N rows, T time, V vocabulary."""

import torch
from torch import Tensor

from lslm_lightning.models.backbone import EncoderState, State
from lslm_lightning.pretrained.cache import cache_from_state, state_from_cache
from lslm_lightning.pretrained.network import Pretrained
from lslm_lightning.types import JsonObject


class PretrainedDecoder(Pretrained):
    """Pretrained causal language model of `transformers`, given by its folder or hub id.

    The decoder state is the keys and values of all positions, padding included: `pad` is ignored.
    """

    has_ragged_state = False

    auto_class = "AutoModelForCausalLM"
    model_kind = "a causal language model"
    is_encoder_decoder = False
    n_encoder_layer = 0

    def __init__(
        self, path: str, config: JsonObject | None = None, tokenizer_digest: str | None = None
    ) -> None:
        super().__init__(path, config, tokenizer_digest)
        self.n_decoder_layer = self.model.config.get_text_config().num_hidden_layers
        if config is not None or self.device.type == "meta":
            return
        # transformers loads some encoders as decoders
        if self.attends_ahead(lambda ids: self.model(ids, use_cache=False).logits):
            raise ValueError(
                f"{path} is not what PretrainedDecoder takes ({self.model_kind}): it attends to "
                "the tokens that it is to predict"
            )
        with torch.no_grad():
            self.decode(torch.tensor([[0]]))  # raises an error for networks without keys and values

    def encode(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        self.check_encode()
        raise AssertionError("a decoder has no encoder layers")

    def precompute_cross_attention(self, memory: Tensor) -> EncoderState:
        self.check_encode()
        raise AssertionError("a decoder has no encoder layers")

    def decode(
        self,
        x: Tensor,
        pad: Tensor | None = None,
        memory: EncoderState | None = None,
        memory_pad: Tensor | None = None,
        state: State | None = None,
    ) -> tuple[Tensor, State]:
        self.check_decode(memory)
        out = self.model(self.clamp_ids(x), past_key_values=cache_from_state(state), use_cache=True)
        return out.logits, state_from_cache(getattr(out, "past_key_values", None))
