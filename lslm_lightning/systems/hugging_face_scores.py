"""Log probabilities of given tokens and of generated tokens under a `transformers` model.

Array shapes: B rows, T time, S source time, V vocabulary.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from lslm_lightning.contracts import Example, Prediction, passages_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from lslm_lightning.systems.hugging_face_model import Loaded, Model

SCORED_TOKENS = 2048  # in a batch: each has a score for every token of the vocabulary
Pair: TypeAlias = tuple[Example, str]
"""An example, and an answer to be scored."""


class ScoredWindow(NamedTuple):
    """Window over a row of ids: the model reads ids[start : end - 1] and is scored on its
    predictions of ids[first:end].
    """

    start: int
    first: int
    end: int


def windows(n: int, context: int, stride: int) -> Iterator[ScoredWindow]:
    """Yield sliding windows over a row of `n` ids; each id except the first is scored once.

    Args:
        context: maximum number of tokens that the model reads in a window.
        stride: number of tokens by which a window advances.
    """
    first = 1
    while first < n:
        end = min(n, first + (context if first == 1 else stride))
        yield ScoredWindow(max(0, end - 1 - context), first, end)
        first = end


def score_text(
    loaded: "Loaded", passages: Sequence[Example], context: int, stride: int
) -> Iterator[Prediction]:
    """Yield the prediction of a causal model for each of the consecutive passages of one text.

    A token belongs to the passage in which it begins.

    Args:
        context: number of tokens per window.
        stride: number of tokens by which a window advances.
    """
    tokenizer = loaded.tokenizer
    began = perf_counter()
    text = "".join(e.references[0] for e in passages)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    last = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    ids = [first_id(tokenizer), *encoded["input_ids"], *last]
    nats, contexts = token_nats(loaded.model, ids, context, stride)
    starts = np.array([start for start, _ in encoded["offset_mapping"]] + [len(text)] * len(last))
    unknown = is_unknown(tokenizer, ids[1:])
    seconds = perf_counter() - began
    yield from passages_of(passages, starts, nats, contexts, unknown, seconds=seconds)


def token_nats(
    model: "Model", ids: Sequence[int], context: int, stride: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the negative log probabilities of all ids but the first, float64, and the number of
    ids from which each was predicted.

    Args:
        context: number of tokens per window.
        stride: number of tokens by which a window advances.
    """
    import torch

    nats = np.zeros(len(ids) - 1)
    contexts = np.zeros(len(ids) - 1, dtype=np.int64)
    for start, first, end in windows(len(ids), context, stride):
        window = torch.tensor([ids[start:end]], device=model.device)
        with torch.inference_mode():
            logits = model(window[:, :-1]).logits[0, first - start - 1 :]
        nats[first - 1 : end - 1] = nats_of(logits, window[0, first - start :])
        contexts[first - 1 : end - 1] = np.arange(first, end) - start
    return nats, contexts


def score_continuations(
    model: "Model",
    tokenizer: "PreTrainedTokenizerBase",
    pairs: Sequence[Pair],
    before: Sequence[Sequence[int]],
    context: int,
    stride: int,
    batch_size: int,
) -> list[Prediction]:
    """Return the predictions of a causal model for answers that continue given ids, in order.

    Args:
        pairs: examples and answers.
        before: for each answer, at least one id that is read but not scored.
        context: number of tokens per window.
        stride: number of tokens by which a window advances.
        batch_size: number of windows that are read together.
    """
    encoded = tokenizer(
        [answer for _, answer in pairs], add_special_tokens=False, return_offsets_mapping=True
    )
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    tokens = [[*ids, *end] for ids in encoded["input_ids"]]
    rows = [[*given, *ids] for given, ids in zip(before, tokens, strict=True)]
    n_given = [len(given) for given in before]
    scored = causal_nats(model, rows, n_given, context, stride, batch_size)
    found = []
    for (example, answer), ids, offsets, (nats, contexts) in zip(
        pairs, tokens, encoded["offset_mapping"], scored, strict=True
    ):
        starts = np.array([*(start for start, _ in offsets), *[len(answer)] * len(end)])
        text = Example(example.id, "", (answer,))
        unknown = is_unknown(tokenizer, ids)
        [prediction] = passages_of([text], starts, nats, contexts, unknown)
        found.append(replace(prediction, output=answer))
    return found


def score_labels(
    model: "Model",
    tokenizer: "PreTrainedTokenizerBase",
    pairs: Sequence[Pair],
    read: Callable[[Sequence[Example]], Mapping[str, "Tensor"]],
    batch_size: int,
) -> list[Prediction]:
    """Return the predictions of a sequence-to-sequence model for answers to sources, in order.

    Args:
        pairs: examples and answers.
        read: returns the padded sources of examples: input_ids (B, S) and attention_mask (B, S).
        batch_size: number of answers, of similar length, that are scored together.

    Raises:
        ValueError: an answer has more tokens than the decoder has positions.
    """
    labels = labels_of(tokenizer, [answer for _, answer in pairs])
    limit = getattr(model.config, "max_position_embeddings", None)
    for (example, _), row in zip(pairs, labels, strict=True):
        if limit is not None and len(row) > limit:
            raise ValueError(
                f"example {example.id!r}: its answer has {len(row):,} tokens, the end included, "
                f"and the model has {limit:,} positions; shorten it"
            )
    found: dict[int, Prediction] = {}
    order = sorted(range(len(pairs)), key=lambda i: (-len(labels[i]), -pairs[i][0].length))
    for part in batches([len(labels[i]) for i in order], batch_size):
        chunk = order[part]
        given = read([pairs[i][0] for i in chunk])
        for i, nats in zip(
            chunk, paired_nats(model, given, [labels[i] for i in chunk]), strict=True
        ):
            example, answer = pairs[i]
            n_unknown = int(is_unknown(tokenizer, labels[i]).sum())
            found[i] = Prediction(
                example.id, answer, math.fsum(nats), n_token=len(nats), unknown=n_unknown
            )
    return [found[i] for i in range(len(pairs))]


def batches(sizes: Sequence[int], batch_size: int) -> Iterator[slice]:
    """Yield slices that divide rows into batches of at most `batch_size` rows and `SCORED_TOKENS`
    tokens.

    A single row may have more tokens.

    Args:
        sizes: numbers of tokens of the rows, in decreasing order; a batch is padded to its longest
            row.
    """
    at = 0
    while at < len(sizes):
        n = max(1, min(batch_size, SCORED_TOKENS // max(1, sizes[at])))
        yield slice(at, at + n)
        at += n


def labels_of(tokenizer: "PreTrainedTokenizerBase", answers: Sequence[str]) -> list[list[int]]:
    """Return the ids that a decoder is trained to generate for each answer, including the end token
    if the tokenizer has one.
    """
    end = tokenizer.eos_token_id
    return [
        [*ids, end] if end is not None and ids[-1:] != [end] else list(ids)
        for ids in tokenizer(text_target=list(answers)).input_ids
    ]


def is_unknown(tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int]) -> np.ndarray:
    """Return a mask (n,) of the ids that are `<unk>`."""
    unknown = tokenizer.unk_token_id
    return np.equal(ids, -1 if unknown in (None, tokenizer.eos_token_id) else unknown)


def first_id(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Return the id that precedes a text without context: bos, eos or pad, the first that the
    tokenizer has.
    """
    ids = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return next(i for i in ids if i is not None)


def causal_nats(
    model: "Model",
    rows: Sequence[Sequence[int]],
    n_given: Sequence[int],
    context: int,
    stride: int,
    batch_size: int,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return, for each row, the negative log probabilities of the ids after the given ones,
    float64, and the number of ids from which each was predicted.

    Args:
        model: a causal model.
        n_given: number of ids, at least 1, at the start of each row that are read but not scored.
        context: number of tokens per window.
        stride: number of tokens by which a window advances.
        batch_size: number of windows that are read together.
    """
    import torch

    found = [
        (np.zeros(len(row) - n), np.zeros(len(row) - n, dtype=np.int64))
        for row, n in zip(rows, n_given, strict=True)
    ]
    jobs = [
        (i, window._replace(first=max(window.first, n)))
        for i, (row, n) in enumerate(zip(rows, n_given, strict=True))
        for window in windows(len(row), context, stride)
        if window.end > n
    ]
    jobs.sort(key=lambda job: job[1].start - job[1].end)
    for part in batches([w.end - w.start for _, w in jobs], batch_size):
        chunk = jobs[part]
        ids = padded([rows[i][w.start : w.end] for i, w in chunk], 0, model.device)
        index = torch.arange(1, ids.size(1), device=model.device)
        width = torch.tensor([w.end - w.start for _, w in chunk], device=model.device)
        first = torch.tensor([w.first - w.start for _, w in chunk], device=model.device)
        real = index < width[:, None]  # (B, T)
        with torch.inference_mode():
            logits = model(ids[:, :-1], attention_mask=real.long()).logits
        counts = real & (index >= first[:, None])
        values = iter(nats_of(logits[counts], ids[:, 1:][counts]))
        for i, w in chunk:
            nats, contexts = found[i]
            part = slice(w.first - n_given[i], w.end - n_given[i])
            nats[part] = [next(values) for _ in range(w.end - w.first)]
            contexts[part] = np.arange(w.first, w.end) - w.start
    return found


def paired_nats(
    model: "Model", given: Mapping[str, "Tensor"], labels: Sequence[Sequence[int]]
) -> list[np.ndarray]:
    """Return, for each row, the negative log probability of each label, float64.

    Args:
        model: a sequence-to-sequence model.
        given: inputs of the encoder: input_ids (B, S) and attention_mask (B, S).
        labels: ids that the decoder should generate for each row, including the end.
    """
    import torch

    target = padded(labels, -100, model.device)
    with torch.inference_mode():
        logits = model(**given, labels=target).logits  # (B, T, V)
    real = target != -100
    values = nats_of(logits[real], target[real])
    return np.split(values, np.cumsum([len(row) for row in labels])[:-1])


def padded(rows: Sequence[Sequence[int]], pad_id: int, device: "torch.device") -> "Tensor":
    """Return the rows as one int64 tensor (B, longest), padded with `pad_id` on the right."""
    import torch

    longest = max(map(len, rows))
    return torch.tensor([[*row, *[pad_id] * (longest - len(row))] for row in rows], device=device)


def nats_of(logits: "Tensor", ids: "Tensor") -> np.ndarray:
    """Return the negative log probability of `ids` (n,) under `logits` (n, V), computed in single
    precision or better.
    """
    import torch

    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    nats = torch.nn.functional.cross_entropy(logits, ids, reduction="none")
    return nats.double().cpu().numpy()


def best_beams(
    model: "Model",
    given: Mapping[str, "Tensor"],
    settings: Mapping[str, object],
    n_best: int,
    n_read: int,
    end_ids: Sequence[int],
) -> list[list[tuple[list[int], float]]]:
    """Return the `n_best` answers of a beam search for each source, best first.

    An answer consists of its ids, including the end token if there is one, and its negative log
    probability.

    Args:
        given: inputs of the model: input_ids and attention_mask.
        settings: arguments of `model.generate`, at least `num_beams`.
        n_read: number of leading tokens in each output row that belong to the input.
        end_ids: ids of the tokens that end an answer.
    """
    import torch

    with torch.inference_mode():
        found = model.generate(
            **given,
            **settings,
            do_sample=False,
            num_return_sequences=n_best,
            return_dict_in_generate=True,
            output_scores=True,
        )
    power = model.generation_config.length_penalty
    power = 1.0 if power is None else power
    answers = []
    for row, score in zip(found.sequences.tolist(), found.sequences_scores.tolist(), strict=True):
        new = row[n_read:]
        end = next((i + 1 for i, token in enumerate(new) if token in end_ids), len(new))
        answers.append((new[:end], -score * end**power))
    return [answers[i : i + n_best] for i in range(0, len(answers), n_best)]
