"""Sentences per second of our beam search against `generate` of transformers, with the same
weights.

Run: python -m tests.benchmarks.beam_speed
"""

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from lslm_lightning.decoding import Beam
from tests.benchmarks.loop import has_fast_bfloat16, mixed_precision
from tests.models.convert import marian_from_transformers
from tests.support.marian_copier import END, PAD, START, learn_to_copy, marian, sentences

N_SENTENCE = 200
BATCH_SIZE = 40
MEAN_LENGTH = 15
N_WORD = 40
N_BEAM = 5
MAX_LENGTH = 50


def our_search(hf_model: torch.nn.Module) -> Callable[[Tensor], list[list[int]]]:
    embedding, backbone, head = marian_from_transformers(hf_model)
    head.bias = None  # zeros; our own models have none

    def step(ids: Tensor, state: tuple | None, shared: tuple) -> tuple[Tensor, tuple]:
        keys, pad = shared
        y, state = backbone.decode(embedding(ids), memory=keys, memory_pad=pad, state=state)
        return head(y[:, -1:], embedding.weight)[:, 0], state

    def search(source: Tensor) -> list[list[int]]:
        pad = source == PAD
        keys = backbone.precompute_cross_attention(backbone.encode(embedding(source), pad))
        found = Beam(N_BEAM)(
            step, torch.full((len(source), 1), START), (keys, pad), END, MAX_LENGTH
        )
        return [ids[:n].tolist() for ids, n in zip(found.ids, found.n_token, strict=True)]

    return search


def their_search(hf_model: torch.nn.Module) -> Callable[[Tensor], list[list[int]]]:
    def search(source: Tensor) -> list[list[int]]:
        mask = (source != PAD).long()
        settings = {
            "num_beams": N_BEAM,
            "length_penalty": 1.0,
            "max_new_tokens": MAX_LENGTH,
            "do_sample": False,
        }
        found = hf_model.generate(input_ids=source, attention_mask=mask, **settings)[:, 1:].tolist()
        return [ids[: ids.index(END) + 1] if END in ids else ids for ids in found]

    return search


def main(n_step: int = 300, n_round: int = 5) -> dict[str, float]:
    """Sentences per second of both, their ratio, and the share of sentences (0 to 1) on which they
    agree.
    """
    hf_model = marian(
        n_layer=3,
        n_head=4,
        vocab_size=6000,
        d_model=256,
        encoder_ffn_dim=512,
        decoder_ffn_dim=512,
        init_std=0.05,
    )
    learn_to_copy(hf_model, n_step, N_WORD, MEAN_LENGTH, batch_size=16, bf16=has_fast_bfloat16())
    source = sentences(N_SENTENCE, MEAN_LENGTH, N_WORD, torch.Generator().manual_seed(1))
    source = source[(source != PAD).sum(1).argsort()]
    batches = [batch[:, : int((batch != PAD).sum(1).max())] for batch in source.split(BATCH_SIZE)]
    searches = {"ours": our_search(hf_model), "transformers": their_search(hf_model)}
    seconds = {name: [] for name in searches}
    found = {}
    with torch.no_grad(), mixed_precision():
        for i in range(n_round + 1):
            for name, search in searches.items():
                begin = time.perf_counter()
                found[name] = [answer for batch in batches for answer in search(batch)]
                if i:  # the first round warms up
                    seconds[name].append(time.perf_counter() - begin)
    speed = {name: N_SENTENCE / median(times) for name, times in seconds.items()}
    agree = sum(a == b for a, b in zip(*found.values(), strict=True)) / N_SENTENCE
    length = sum(map(len, found["ours"])) / N_SENTENCE
    result = {**speed, "ratio": speed["ours"] / speed["transformers"], "agree": agree}
    precision = "bfloat16" if has_fast_bfloat16() else "float32"
    print(
        f"{N_SENTENCE} sentences, {length:.1f} tokens written on average, "
        f"{torch.get_num_threads()} threads, beam {N_BEAM}, {precision}"
    )
    print(*(f"{name:>12}: {value:.3g}" for name, value in result.items()), sep="\n")
    return result


if __name__ == "__main__":
    main()
