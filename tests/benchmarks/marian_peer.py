"""The peer in translation: a plain PyTorch loop over a Marian of `transformers` on Multi30k en-de,
as good as we can write it.
"""

import copy
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import MarianConfig, MarianMTModel
from transformers.utils import logging

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.data.batching import TokenBudget
from lslm_lightning.evaluation.predictions import write_predictions
from lslm_lightning.text.recipes import BytePair
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.batches import PairBatch, padded
from tasks.translation.data import TranslationData
from tests.benchmarks.benchmark import Figures
from tests.benchmarks.bleus import EXAMS, bleus
from tests.benchmarks.loop import PeerLoop, device_type, mixed_precision

PEAK = 1e-3
WARMUP_STEPS = 800
VALIDATE_AT = (0.8, 0.9, 1.0)  # shares of the time; the last one is free of charge


class MarianLoop(PeerLoop):
    """3+3 layers, 256 wide, 512 inner, 4 heads, dropout 0.15, label smoothing 0.1; bf16 where the
    machine has it, fused AdamW, clip 1.0.
    """

    def start(self, tokenizer: Tokenizer) -> None:
        logging.set_verbosity_error()
        config = MarianConfig(
            vocab_size=tokenizer.vocab_size,
            d_model=256,
            encoder_layers=3,
            decoder_layers=3,
            encoder_ffn_dim=512,
            decoder_ffn_dim=512,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            dropout=0.15,
            scale_embedding=True,
            max_position_embeddings=512,
            pad_token_id=tokenizer.pad_id,
            eos_token_id=tokenizer.eos_id,
            decoder_start_token_id=tokenizer.bos_id,
            forced_eos_token_id=None,
        )
        self.model = MarianMTModel(config).to(device_type()).train()
        self.tokenizer = tokenizer
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=PEAK, betas=(0.9, 0.98), weight_decay=0.01, fused=True
        )
        self.n_step = 0

    def step(self, batch: PairBatch, share: float = 0.0) -> None:
        """`share` of the time that is over (0..1) sets the learning rate."""
        rate = (
            PEAK
            * min(1.0, (self.n_step + 1) / WARMUP_STEPS)
            * 0.5
            * (1 + math.cos(math.pi * share))
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with mixed_precision(self.precision):
            logits = self.model(
                input_ids=batch.source,
                attention_mask=(~batch.source_pad).long(),
                decoder_input_ids=batch.target[:, :-1],
                use_cache=False,
            ).logits
            labels = batch.target[:, 1:].flatten()
            loss = F.cross_entropy(
                logits.flatten(0, 1),
                labels,
                ignore_index=self.tokenizer.pad_id,
                label_smoothing=0.1,
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.n_step += 1

    @torch.no_grad()
    def translate(
        self, data: TranslationData, examples: Sequence[Example], n_beam: int
    ) -> Iterator[Prediction]:
        """By `generate`, in batches of like length."""
        self.model.eval()
        for batch in data.evaluation_batches(examples):
            rows = [
                [*ids, self.tokenizer.eos_id]
                for ids in self.tokenizer.encode_batch([e.source for e in batch])
            ]
            source = padded(rows, self.tokenizer.pad_id)
            for example, ids in zip(batch, self._generate(source, n_beam).tolist(), strict=True):
                yield Prediction(example.id, self.tokenizer.decode(ids))
        self.model.train()

    def _generate(self, source: Tensor, n_beam: int) -> Tensor:
        seen = (source != self.tokenizer.pad_id).long()
        return self.model.generate(
            source,
            attention_mask=seen,
            num_beams=n_beam,
            do_sample=False,
            max_new_tokens=2 * source.size(1) + 50,
        )


def endless(data: TranslationData) -> Iterator[PairBatch]:
    """Batches of at most `max_tokens` padded positions, of like length, in a new order every
    epoch.
    """
    pairs = data.encoded("train")
    plan = TokenBudget(np.stack([pairs.source.lengths, pairs.target.lengths], 1), data.max_tokens)
    epoch = 0
    while True:
        yield from (pairs[indices] for indices in plan(epoch))
        epoch += 1


def fit(
    loop: MarianLoop, data: TranslationData, minutes: float, exam: Sequence[Example]
) -> Figures:
    """Train that long by the clock, and keep the weights with the best greedy BLEU in `exam`."""
    validations = []
    best = None
    marks = list(VALIDATE_AT)
    n_token = 0
    validating = 0.0
    said = 0.0
    began = time.monotonic()
    for batch in endless(data):
        share = min(1.0, (time.monotonic() - began) / (60 * minutes))
        loop.step(batch, share)
        n_token += batch.n_token + batch.n_source_token
        if share - said > 0.02:
            said = share
            print(
                f"    Marian, step {loop.n_step}, {100 * share:.0f} % of {minutes:g} minutes",
                flush=True,
            )
        if share >= marks[0]:
            paused = time.monotonic()
            _ = marks.pop(0)
            validations.append(bleus(exam, list(loop.translate(data, exam, n_beam=1)))["bleu"])
            print(
                f"    Marian, step {loop.n_step}, greedy BLEU on val {validations[-1]:.2f}",
                flush=True,
            )
            if validations[-1] == max(validations):
                best = copy.deepcopy(loop.model.state_dict())
            validating += time.monotonic() - paused
        if not marks:
            break
    speed = n_token / (time.monotonic() - began - validating)
    loop.model.load_state_dict(best)
    return {"steps": loop.n_step, "tokens_per_second": speed, "validations": validations}


def run(
    minutes: float, smoke: bool, seed: int = 0, folder: Path = Path("runs/benchmarks/marian_peer")
) -> Figures:
    """Train, then beam 5 on both test splits; the translations are kept in `folder`."""
    if smoke:
        minutes = 0.05
    torch.manual_seed(seed)
    data = TranslationData(
        "multi30k", BytePair(6000), source_language="en", target_language="de", max_tokens=2048
    )
    loop = MarianLoop()
    loop.start(data.tokenizer)
    figures = fit(loop, data, minutes, data.examples("val")[: 4 if smoke else None])
    scores = {}
    for name, split in EXAMS.items():
        exam = data.examples(split)[: 4 if smoke else None]
        predictions = list(loop.translate(data, exam, n_beam=5))
        write_predictions(folder / f"{name}.jsonl", predictions)
        scores[name] = bleus(exam, predictions)
    return {**figures, "scores": scores}
