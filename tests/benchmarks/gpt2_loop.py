"""A plain PyTorch loop over the GPT-2 of `transformers` with the sizes of nanoGPT's CPU recipe."""

import math

import torch
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.batches import WindowBatch
from tests.benchmarks.loop import Loop

CONTEXT = 64
N_STEP = 2000
WARMUP_STEPS = 100
PEAK = 1e-3


class Gpt2Loop(Loop):
    """4 layers, 4 heads, 128 wide, windows of 64; float32, fused AdamW, gradients clipped to 1,
    cosine with warm-up, no dropout.
    """

    def start(self, tokenizer: Tokenizer) -> None:
        no_dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        config = GPT2Config(
            vocab_size=tokenizer.vocab_size,
            n_positions=CONTEXT,
            n_embd=128,
            n_layer=4,
            n_head=4,
            bos_token_id=tokenizer.bos_id,
            eos_token_id=tokenizer.eos_id,
            use_cache=False,
            **no_dropout,
        )
        self.model = GPT2LMHeadModel(config).train()
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=PEAK, betas=(0.9, 0.99), weight_decay=0.1, fused=True
        )
        self.n_step = 0

    def step(self, batch: WindowBatch) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = (
                PEAK
                * min(1.0, (self.n_step + 1) / WARMUP_STEPS)
                * 0.5
                * (1 + math.cos(math.pi * self.n_step / N_STEP))
            )
        logits = self.model(batch.ids[:, :-1]).logits
        loss = F.cross_entropy(logits.flatten(0, 1), batch.ids[:, 1:].flatten())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.n_step += 1
