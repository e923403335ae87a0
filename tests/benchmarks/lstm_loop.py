"""A plain PyTorch loop over `torch.nn.LSTM`, as PyTorch's example of a word language model has
it.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.batches import WindowBatch
from tests.benchmarks.loop import PeerLoop, device_type, mixed_precision


class WordLanguageModel(nn.Module):
    """Token vectors, one module for all layers, and scores by the same vectors; dropout before,
    between and after the layers.
    """

    def __init__(self, vocab_size: int, d_model: int, n_layer: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.layers = nn.LSTM(d_model, d_model, n_layer, batch_first=True, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(d_model, vocab_size, bias=False)
        self.output.weight = self.embedding.weight
        nn.init.normal_(self.embedding.weight, std=d_model**-0.5)

    def forward(
        self, ids: Tensor, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        y, state = self.layers(self.dropout(self.embedding(ids)), state)
        return self.output(self.dropout(y)), state


class LstmLoop(PeerLoop):
    """The state goes on from batch to batch, detached; fused AdamW, gradients clipped to 1."""

    def __init__(self, d_model: int, n_layer: int, dropout: float) -> None:
        self.sizes = (d_model, n_layer, dropout)

    def start(self, tokenizer: Tokenizer) -> None:
        self.model = WordLanguageModel(tokenizer.vocab_size, *self.sizes).to(device_type()).train()
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=1e-3, weight_decay=0.01, fused=True
        )
        self.state: tuple[Tensor, Tensor] | None = None

    def step(self, batch: WindowBatch) -> None:
        before = tuple(part.detach() for part in self.state) if batch.follows else None
        with mixed_precision(self.precision):
            logits, self.state = self.model(batch.ids[:, :-1], before)
            loss = F.cross_entropy(logits.flatten(0, 1), batch.ids[:, 1:].flatten())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
