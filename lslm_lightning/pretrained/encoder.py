"""Pretrained encoders: BERT and those after it. B rows, S time, D d_model."""

from typing import Any

from torch import Tensor

from lslm_lightning.models.backbone import Shared, State
from lslm_lightning.pretrained.network import Pretrained


class PretrainedEncoder(Pretrained):
    """An encoder of `transformers`: its inputs are ids (B, S), its outputs vectors (B, S, D). What pools them to one is left out."""

    kind, wants = "AutoModel", "an encoder alone"
    parts = {"add_pooling_layer": False}  # noqa: RUF012 (never written to)
    is_encoder_decoder = False
    n_decoder_layer = 0

    def __init__(self, path: str, config: dict[str, Any] | None = None, tokenizer_digest: str | None = None) -> None:
        super().__init__(path, config, tokenizer_digest)
        self.n_encoder_layer = self.model.config.get_text_config().num_hidden_layers
        if config is None and self.model.device.type != "meta" and not self.sees_ahead(self.encode):
            raise ValueError(f"{path} is not what PretrainedEncoder takes ({self.wants}): it sees nothing of what comes after a token")

    def encode(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        return self.model(self.known(x), attention_mask=None if pad is None else (~pad).long()).last_hidden_state

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
