"""Pretrained encoders, such as BERT. Axes: B rows, S time, D d_model."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lslm_lightning.models.backbone import Shared, State
from lslm_lightning.pretrained.network import Pretrained


class Kinds(nn.Module):
    """Stacks token ids and token type ids into one input."""

    def forward(self, ids: Tensor, kinds: Tensor) -> Tensor:
        """Stack ids (B, S) and token type ids (B, S) into (B, S, 2)."""
        return torch.stack([ids, kinds.to(ids.dtype)], -1)


class PretrainedEncoder(Pretrained):
    """Pretrained encoder of `transformers`, from ids (B, S) to vectors (B, S, D), without its
    pooling layer.

    Inputs may be (B, S, 2): ids and token type ids (first or second text), as the tokenizer's
    `frame` numbers them. Networks without token types, such as RoBERTa and DistilBERT, ignore them.
    """

    kind = "AutoModel"
    wants = "an encoder alone"
    parts = {"add_pooling_layer": False}  # noqa: RUF012 (never written to)
    is_encoder_decoder = False
    n_decoder_layer = 0

    def __init__(
        self, path: str, config: dict[str, Any] | None = None, tokenizer_digest: str | None = None
    ) -> None:
        super().__init__(path, config, tokenizer_digest)
        self.n_encoder_layer = self.model.config.get_text_config().num_hidden_layers
        if config is None and self.model.device.type != "meta" and not self.sees_ahead(self.encode):
            raise ValueError(
                f"{path} is not what PretrainedEncoder takes ({self.wants}): it sees nothing of "
                "what comes after a token"
            )

    def marks(self, sizes: Sequence[int]) -> nn.Module:
        if len(sizes) != 1:
            raise ValueError(
                f"{self.path} reads ids and has no place for {len(sizes) - 1} marks besides the "
                "text that each belongs to"
            )
        return Kinds()

    def encode(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        ids, kinds = x.unbind(-1) if x.dim() == 3 else (x, None)
        has_kinds = getattr(self.model.config, "type_vocab_size", 0) > 1
        given = {"token_type_ids": kinds} if has_kinds and kinds is not None else {}
        return self.model(
            self.known(ids), attention_mask=None if pad is None else (~pad).long(), **given
        ).last_hidden_state

    def remember(self, memory: Tensor) -> Shared:
        return ()

    def decode(
        self,
        x: Tensor,
        pad: Tensor | None = None,
        memory: Shared | None = None,
        memory_pad: Tensor | None = None,
        state: State | None = None,
    ) -> tuple[Tensor, State]:
        self.check_decode(memory)
