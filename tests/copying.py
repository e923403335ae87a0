"""A small Marian of `transformers` trained to copy, so that its hypotheses end, and end at different lengths."""

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import MarianConfig, MarianMTModel
from transformers.utils import logging

PAD, START, END, FIRST_WORD = 0, 1, 2, 3


def sentences(n: int, mean_length: float, n_word: int, generator: torch.Generator) -> Tensor:
    """Random words (n, S), each row ended by END and padded on the right; lengths spread by a third of their mean."""
    length = (mean_length * (1 + torch.randn(n, generator=generator) / 3)).round().long().clamp(1, int(2 * mean_length))
    words = torch.randint(FIRST_WORD, FIRST_WORD + n_word, (n, int(length.max()) + 1), generator=generator)
    place = torch.arange(words.size(1))
    return words.masked_fill(place == length[:, None], END).masked_fill(place > length[:, None], PAD)


def copying_marian(n_step: int, n_word: int, mean_length: float, **config: int) -> MarianMTModel:
    """Trained for `n_step` batches of 64 sentences; deterministic on one machine."""
    logging.set_verbosity_error()
    torch.manual_seed(0)
    model = MarianMTModel(
        MarianConfig(
            pad_token_id=PAD,
            eos_token_id=END,
            decoder_start_token_id=START,
            forced_eos_token_id=None,
            activation_function="relu",
            scale_embedding=True,
            dropout=0.0,
            init_std=0.1,
            max_position_embeddings=128,
            **config,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=n_step)
    generator = torch.Generator().manual_seed(0)
    for _ in range(n_step):
        source = sentences(64, mean_length, n_word, generator)
        previous = F.pad(source[:, :-1], (1, 0), value=START)
        logits = model(input_ids=source, attention_mask=(source != PAD).long(), decoder_input_ids=previous).logits
        loss = F.cross_entropy(logits.flatten(0, 1), source.flatten(), ignore_index=PAD, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    copying_marian.loss = loss.item()
    return model.eval()
