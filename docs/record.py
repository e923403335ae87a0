"""`python -m docs.record NAME`: train small models, and record what a figure of the site shows.

A record lies in docs/figures/NAME.json. Axes: B sources, T target positions, S source positions,
K d_k, V d_v.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from docs.generate.trained_figures import FOLDER, FORMAT
from lslm_lightning.corpora.lookup import open_corpus
from lslm_lightning.models.attention import CrossAttention, unfused_attention
from lslm_lightning.models.backbone import Backbone
from lslm_lightning.models.recurrent import LSTM, RNN
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.ngram.training import train
from lslm_lightning.training.batches import padded
from lslm_lightning.types import JsonObject

# Attention: a Transformer of one layer and one head learns to write digits in reverse order

N_DIGIT = 10
START = 10
N_SOURCE = 6
N_STEP = 1500
EXAMPLE = (7, 3, 3, 0, 5, 1)


class Reverser(nn.Module):
    """Transformer with one encoder and one decoder layer, between an embedding and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(N_DIGIT + 1, 32)
        self.backbone = Transformer(
            d_model=32,
            n_head=1,
            d_k=8,
            d_v=6,
            n_encoder_layer=1,
            n_decoder_layer=1,
            d_feedforward=64,
            dropout=0.0,
        )
        self.head = nn.Linear(32, N_DIGIT)

    def forward(self, source: Tensor) -> Tensor:
        """Return scores (B, T, N_DIGIT) of each digit after the right digits before it."""
        target = F.pad(source.flip(1)[:, :-1], (1, 0), value=START)
        memory = self.backbone.encode(self.embedding(source))
        y, _ = self.backbone.decode(self.embedding(target), memory=memory)
        scores: Tensor = self.head(y)
        return scores


def attention() -> JsonObject:
    """Train on reversal; return scores, weights, values and outputs of the cross-attention."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Reverser()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=N_STEP)
    example = torch.tensor([EXAMPLE])
    untrained = attention_of(model, example)
    for _ in range(N_STEP):
        source = torch.randint(N_DIGIT, (64, N_SOURCE))
        loss = F.cross_entropy(model(source).flatten(0, 1), source.flip(1).flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # so it is in torch
        optimizer.step()
        schedule.step()
    source = torch.randint(N_DIGIT, (1000, N_SOURCE))
    with torch.no_grad():
        right = (model(source).argmax(-1) == source.flip(1)).double().mean()
    return {
        "source": list(EXAMPLE),
        "target": list(EXAMPLE[::-1]),
        "accuracy": round(100 * float(right), 2),
        "steps": N_STEP,
        "untrained": untrained["weights"],
        **attention_of(model, example),
    }


@torch.no_grad()
def attention_of(model: Reverser, source: Tensor) -> JsonObject:
    """Return scores (T, S), weights (T, S), values (S, V) and outputs (T, V) of the only head."""
    [cross] = [module for module in model.modules() if isinstance(module, CrossAttention)]
    inputs: list[tuple[Tensor, Tensor]] = []
    hook = cross.register_forward_pre_hook(lambda _, given: inputs.append(given[:2]))
    model(source)
    hook.remove()
    [(x, memory)] = inputs
    key, value = cross.precompute_cross_attention(memory)
    query = cross.query(x)[:, None]  # (1, 1, T, K)
    output, weights = unfused_attention(query, key, value, None, causal=False)
    scores = query @ key.mT / cross.d_k**0.5
    found = {"scores": scores, "weights": weights, "values": value, "outputs": output}
    return {name: rounded(tensor[0, 0]) for name, tensor in found.items()}


def rounded(tensor: Tensor) -> list[list[float]]:
    """Return the rows of a matrix with four decimals."""
    return [[round(x, 4) for x in row] for row in tensor.tolist()]


# Learning curves: four families on the Chinese phrases of the CLDR, character by character

PAD, BEGIN, END = 0, 1, 2
N_UPDATE = 200
N_BETWEEN = 20  # steps from one validation to the next
N_ROW = 32  # phrases of a batch
NETWORKS: dict[str, Callable[[], Backbone]] = {  # about 0.1 million parameters each
    "rnn": partial(RNN, 96, 0, 2, 0.0),
    "lstm": partial(LSTM, 64, 0, 2, 0.0),
    "transformer": partial(
        Transformer, 64, n_encoder_layer=0, n_decoder_layer=2, d_feedforward=128, dropout=0.0
    ),
}


class CharacterModel(nn.Module):
    """Language model of characters: a backbone between an embedding and a head."""

    def __init__(self, backbone: Backbone, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, backbone.d_model)
        self.backbone = backbone
        self.head = nn.Linear(backbone.d_model, vocab_size)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the mean loss in bits per character, of which the end of a phrase is one."""
        y, _ = self.backbone.decode(self.embedding(ids[:, :-1]))
        nats = F.cross_entropy(self.head(y).flatten(0, 1), ids[:, 1:].flatten(), ignore_index=PAD)
        return nats / math.log(2)


def curves() -> JsonObject:
    """Train four families; return the validation losses in bits per character by step."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows = {
        name: open_corpus("cldr", languages=["en", "zh"]).rows(name) for name in ("train", "val")
    }
    phrases = {name: [str(row["zh"]) for row in found] for name, found in rows.items()}
    letters = sorted(set("".join(phrases["train"])))
    numbers = {letter: number for number, letter in enumerate(letters, 3)}
    encoded = {
        name: [
            [BEGIN, *(numbers[letter] for letter in phrase if letter in numbers), END]
            for phrase in found
        ]
        for name, found in phrases.items()
    }
    vocab_size = len(letters) + 3
    validation = padded(encoded["val"][:200], PAD)
    found, sizes = {}, {}
    ngrams = train([np.concatenate(encoded["train"])], 3, vocab_size, BEGIN)
    costs = [ngrams.log_probs(np.array(row))[1:] for row in encoded["val"][:200]]
    found["3-gram"] = [(N_UPDATE, round(-float(np.concatenate(costs).mean()) / math.log(2), 4))]
    sizes["3-gram"] = sum(len(table.keys) for table in ngrams.tables)
    for name, network in NETWORKS.items():
        model = CharacterModel(network(), vocab_size)
        found[name] = curve_of(model, encoded["train"], validation)
        sizes[name] = sum(parameter.numel() for parameter in model.parameters())
    return {"steps": N_UPDATE, "curves": found, "parameters": sizes}


def curve_of(
    model: CharacterModel, rows: Sequence[Sequence[int]], validation: Tensor
) -> list[tuple[int, float]]:
    """Train a model; return (step, validation loss) of each validation."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=N_UPDATE)
    found = []
    for step in range(N_UPDATE + 1):
        if step % N_BETWEEN == 0:
            with torch.no_grad():
                found.append((step, round(float(model(validation)), 4)))
        if step < N_UPDATE:
            chosen = torch.randint(len(rows), (N_ROW,)).tolist()
            loss = model(padded([rows[i] for i in chosen], PAD))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return found


RECORDED: dict[str, Callable[[], JsonObject]] = {"attention": attention, "curves": curves}


def main(name: str) -> None:
    """Write the record of one figure."""
    began = time.monotonic()
    made = RECORDED[name]()
    about: JsonObject = {
        "format": FORMAT,
        "command": f"python -m docs.record {name}",
        "date": time.strftime("%Y-%m-%d"),
        "torch": torch.__version__,
        "seconds": round(time.monotonic() - began),
    }
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(about | made, ensure_ascii=False) + "\n", "utf-8")
    print(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m docs.record", description=__doc__)
    parser.add_argument("name", choices=RECORDED, help="name of the figure")
    main(parser.parse_args().name)
