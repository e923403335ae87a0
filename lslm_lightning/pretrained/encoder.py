"""Pretrained encoders, such as BERT. Axes: B rows, S time, D d_model."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lslm_lightning.models.backbone import EncoderState, State
from lslm_lightning.pretrained.network import Pretrained
from lslm_lightning.types import JsonObject


class TokenTypes(nn.Module):
    """Module that stacks token ids and token type ids into one input."""

    def forward(self, ids: Tensor, types: Tensor) -> Tensor:
        """Stack ids (B, S) and token type ids (B, S) into (B, S, 2)."""
        return torch.stack([ids, types.to(ids.dtype)], -1)


class PretrainedEncoder(Pretrained):
    """Pretrained encoder of `transformers`, from ids (B, S) to vectors (B, S, D), without its
    pooling layer.

    Inputs may be (B, S, 2): token ids, and token type ids that tell the first text from the second,
    as numbered by `frame` of the tokenizer. Networks without token types, such as RoBERTa and
    DistilBERT, ignore the types.
    """

    auto_class = "AutoModel"
    model_kind = "an encoder alone"
    optional_parts = {"add_pooling_layer": False}  # noqa: RUF012 (never written to)
    is_encoder_decoder = False
    n_decoder_layer = 0

    def __init__(
        self, path: str, config: JsonObject | None = None, tokenizer_digest: str | None = None
    ) -> None:
        super().__init__(path, config, tokenizer_digest)
        self.n_encoder_layer = self.model.config.get_text_config().num_hidden_layers
        if (
            config is None
            and self.model.device.type != "meta"
            and not self.attends_ahead(self.encode)
        ):
            raise ValueError(
                f"{path} is not what PretrainedEncoder takes ({self.model_kind}): a token does not "
                "attend to those after it"
            )

    def feature_embeddings(self, sizes: Sequence[int]) -> nn.Module:
        if len(sizes) != 1:
            raise ValueError(
                f"{self.path} takes ids and token types, but no embeddings of {len(sizes) - 1} "
                "further features"
            )
        return TokenTypes()

    def encode(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        ids, types = x.unbind(-1) if x.dim() == 3 else (x, None)
        has_types = getattr(self.model.config, "type_vocab_size", 0) > 1
        given = {"token_type_ids": types} if has_types and types is not None else {}
        mask = None if pad is None else (~pad).long()
        memory: Tensor = self.model(
            self.clamp_ids(ids), attention_mask=mask, **given
        ).last_hidden_state
        return memory

    def precompute_cross_attention(self, memory: Tensor) -> EncoderState:
        return ()

    def decode(
        self,
        x: Tensor,
        pad: Tensor | None = None,
        memory: EncoderState | None = None,
        memory_pad: Tensor | None = None,
        state: State | None = None,
    ) -> tuple[Tensor, State]:
        self.check_decode(memory)
        raise AssertionError("an encoder has no decoder layers")
