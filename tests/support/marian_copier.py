"""A small Marian of `transformers` trained to copy, so that its hypotheses end, and end at
different lengths.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import MarianConfig, MarianMTModel
from transformers.utils import logging

PAD = 0
START = 1
END = 2
FIRST_WORD = 3


def sentences(n: int, mean_length: float, n_word: int, generator: torch.Generator) -> Tensor:
    """Random words (n, S), each row ended by END and padded on the right; lengths spread by a third
    of their mean.
    """
    length = (
        (mean_length * (1 + torch.randn(n, generator=generator) / 3))
        .round()
        .long()
        .clamp(1, int(2 * mean_length))
    )
    words = torch.randint(
        FIRST_WORD, FIRST_WORD + n_word, (n, int(length.max()) + 1), generator=generator
    )
    place = torch.arange(words.size(1))
    return words.masked_fill(place == length[:, None], END).masked_fill(
        place > length[:, None], PAD
    )


def marian(n_layer: int, n_head: int, **config: float) -> MarianMTModel:
    """Random weights, no dropout, and no </s> forced at the maximum length."""
    logging.set_verbosity_error()
    torch.manual_seed(0)
    return MarianMTModel(
        MarianConfig(
            pad_token_id=PAD,
            eos_token_id=END,
            decoder_start_token_id=START,
            forced_eos_token_id=None,
            activation_function="relu",
            scale_embedding=True,
            dropout=0.0,
            max_position_embeddings=128,
            encoder_layers=n_layer,
            decoder_layers=n_layer,
            encoder_attention_heads=n_head,
            decoder_attention_heads=n_head,
            **config,
        )
    )


def learn_to_copy(
    model: MarianMTModel,
    n_step: int,
    n_word: int,
    mean_length: float,
    batch_size: int = 64,
    bf16: bool = False,
) -> float:
    """Train on copying, among the words that occur only; the last loss."""
    n_known = FIRST_WORD + n_word
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1e-3 if bf16 else 2e-3, total_steps=n_step
    )
    generator = torch.Generator().manual_seed(0)
    for _ in range(n_step):
        source = sentences(batch_size, mean_length, n_word, generator)
        previous = F.pad(source[:, :-1], (1, 0), value=START)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            y = model.model(
                input_ids=source, attention_mask=(source != PAD).long(), decoder_input_ids=previous
            ).last_hidden_state
            logits = F.linear(y[source != PAD], model.model.shared.weight[:n_known])
        loss = F.cross_entropy(logits.float(), source[source != PAD], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()
    return loss.item()
