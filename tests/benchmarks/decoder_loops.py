"""Plain loops over decoders of one size: the task that trains beside them without a Trainer, and a
decoder as nanoGPT has it.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lslm_lightning.optim import decay_groups
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.batches import Batch, WindowBatch
from lslm_lightning.training.compilation import CompiledLoss
from lslm_lightning.training.task import Task
from tests.benchmarks.loop import Loop, PeerLoop, mixed_precision


class BareLoop(Loop):
    """A copy of the task with its optimizer, schedule and clipping to 1, without a Trainer.

    Args:
        compiled: with the loss that `model.compile` makes, for batches of one size.
    """

    def __init__(self, compiled: bool = False) -> None:
        self.compiled = compiled

    def begin(self, task: Task) -> None:
        trainer = task.trainer
        self.n_step = task.n_step
        task._trainer = None
        self.task = copy.deepcopy(task).train()
        task._trainer = trainer
        self.task.compiled_loss = None
        self.optimizer = self.task.optimizer_of(decay_groups(self.task))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: self.task.schedule(step, self.n_step)
        )

    def step(self, batch: Batch) -> None:
        with mixed_precision(self.precision):
            if self.compiled and self.task.compiled_loss is None:
                self.task.compiled_loss = CompiledLoss()
                self.task.compiled_loss.compiling(self.task, batch, self.task.label_smoothing)
            loss = self.task.training_loss(batch) / batch.n_token
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.task.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        float(loss.detach())


class Block(nn.Module):
    """Pre-norm attention with one projection for queries, keys and values, then GELU."""

    def __init__(self, d_model: int, n_head: int) -> None:
        super().__init__()
        self.n_head = n_head
        self.attention_norm = nn.LayerNorm(d_model, bias=False)
        self.projection = nn.Linear(d_model, 3 * d_model, bias=False)
        self.output = nn.Linear(d_model, d_model, bias=False)
        self.inner_norm = nn.LayerNorm(d_model, bias=False)
        self.inner = nn.Linear(d_model, 4 * d_model, bias=False)
        self.outer = nn.Linear(4 * d_model, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.projection(self.attention_norm(x)).unflatten(-1, (3, self.n_head, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.output(mixed.transpose(1, 2).flatten(2))
        return x + self.outer(F.gelu(self.inner(self.inner_norm(x))))


class Decoder(nn.Module):
    """Learned positions, blocks, and scores by the token vectors."""

    def __init__(
        self, vocab_size: int, context: int, d_model: int, n_layer: int, n_head: int
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.position = nn.Parameter(0.02 * torch.randn(context, d_model))
        self.blocks = nn.Sequential(*(Block(d_model, n_head) for _ in range(n_layer)))
        self.norm = nn.LayerNorm(d_model, bias=False)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, ids: Tensor, target: Tensor) -> Tensor:
        x = self.embedding(ids) + self.position[: ids.size(1)]
        logits = F.linear(self.norm(self.blocks(x)), self.embedding.weight)
        return F.cross_entropy(logits.flatten(0, 1), target.flatten())


class NanoLoop(PeerLoop):
    """`Decoder` with fused AdamW, gradients clipped to 1.

    Args:
        compiled: by `torch.compile`, the loss in the graph.
    """

    def __init__(
        self, context: int, d_model: int, n_layer: int, n_head: int, compiled: bool = False
    ) -> None:
        self.sizes = {
            "context": context,
            "d_model": d_model,
            "n_layer": n_layer,
            "n_head": n_head,
        }
        self.compiled = compiled

    def start(self, tokenizer: Tokenizer) -> None:
        self.model = self.network(tokenizer).train()
        self.loss: Any = torch.compile(self.model) if self.compiled else self.model
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1, fused=True
        )

    def network(self, tokenizer: Tokenizer) -> nn.Module:
        """The model: called with ids and targets it gives the loss per token."""
        return Decoder(tokenizer.vocab_size, **self.sizes)

    def step(self, batch: WindowBatch) -> None:
        with mixed_precision(self.precision):
            loss = self.loss(batch.ids[:, :-1], batch.ids[:, 1:])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        float(loss.detach())


class TransformersDecoder(nn.Module):
    """GPT-2 of `transformers`, without dropout."""

    def __init__(
        self, vocab_size: int, context: int, d_model: int, n_layer: int, n_head: int
    ) -> None:
        super().__init__()
        from transformers import GPT2Config, GPT2LMHeadModel

        no_dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        config = GPT2Config(
            vocab_size=vocab_size,
            n_positions=context,
            n_embd=d_model,
            n_layer=n_layer,
            n_head=n_head,
            bos_token_id=0,
            eos_token_id=0,
            use_cache=False,
            **no_dropout,
        )
        self.model = GPT2LMHeadModel(config)

    def forward(self, ids: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(self.model(ids).logits.flatten(0, 1), target.flatten())


class TransformersLoop(NanoLoop):
    """The same loop over `TransformersDecoder`."""

    def network(self, tokenizer: Tokenizer) -> nn.Module:
        return TransformersDecoder(tokenizer.vocab_size, **self.sizes)
