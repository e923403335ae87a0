"""Peak memory of a training step with a large vocabulary: our loss, and scores of all tokens at
once.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping

from tests.benchmarks.benchmark import Benchmark, Check, Figures

N_WORD = 50_000
D_MODEL = 256
N_ROW, LENGTH = 16, 512
OURS = "this project's loss"
NAIVE = "all scores at once"


def step(kind: str, length: int) -> dict[str, float]:
    """One step, forward and backward, of a small decoder: its loss in nats per token and the peak
    memory of this process in megabytes, with and without the step.
    """
    import resource

    import torch
    from torch.nn import functional as F

    from lslm_lightning.models.embedding import TokenEmbedding
    from lslm_lightning.models.heads import TiedHead
    from lslm_lightning.models.transformer import Transformer

    torch.manual_seed(0)
    backbone = Transformer(D_MODEL, 4, 0, 4, dropout=0.0)
    embedding = TokenEmbedding(N_WORD, D_MODEL)
    head = TiedHead(N_WORD, D_MODEL)
    ids = torch.randint(0, N_WORD, (N_ROW, length + 1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    y, _ = backbone.decode(embedding(ids[:, :-1]))
    target = ids[:, 1:]
    if kind == OURS:
        loss = head.nats(y, embedding.weight, target, pad_id=-1)
    else:
        scores = F.linear(y, embedding.weight).flatten(0, 1)
        loss = F.cross_entropy(scores, target.flatten(), reduction="sum")
    loss.backward()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "nats": float(loss.detach()) / target.numel(),
        "megabytes": after / 1024,
        "megabytes_before": before / 1024,
    }


def of(kind: str) -> Callable[[Mapping[str, Figures], bool], Figures]:
    """The step in a process of its own."""

    def measured(done: Mapping[str, Figures], smoke: bool) -> Figures:
        command = [sys.executable, "-m", __name__, kind, str(8 if smoke else LENGTH)]
        found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        return json.loads(found)

    return measured


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """The ratio of both peaks; both losses are the same."""
    ours, naive = (figures[kind] for kind in (OURS, NAIVE))
    return [
        Check(f"{OURS}, MB", ours["megabytes"]),
        Check(f"{NAIVE}, MB", naive["megabytes"]),
        Check("ratio of the peaks", naive["megabytes"] / ours["megabytes"], ">=", 2.0),
        Check("difference of the losses, nats", abs(ours["nats"] - naive["nats"]), "<=", 1e-4),
    ]


BENCHMARK = Benchmark(
    about="peak memory of a training step over 16 x 512 tokens and a vocabulary of 50,000",
    minutes=1,
    parts={kind: of(kind) for kind in (OURS, NAIVE)},
    checks=checks,
)

if __name__ == "__main__":
    print(json.dumps(step(sys.argv[1], int(sys.argv[2]))))
