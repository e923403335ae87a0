"""What a report shows of translations besides scores: where the model looked."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.models.attention import record_attention
from lslm_lightning.reports.blocks import Section, Text
from lslm_lightning.reports.figures import Heatmap
from tasks.translation.data import TranslationData

if TYPE_CHECKING:
    from tasks.translation.task import TranslationTask

N_MAP, LONGEST = 4, 24


def sections(task: "TranslationTask", data: TranslationData, predictions: Sequence[Prediction]) -> list[Section]:
    """Attention maps of a few short sentences."""
    outputs = {p.id: p.output or "" for p in predictions}
    short = [e for e in data.examples("test") if 3 <= len(task.tokenizer.encode(e.source)) <= LONGEST and outputs[e.id]]
    chosen = [short[i * len(short) // N_MAP] for i in range(min(N_MAP, len(short)))]
    maps = [found for e in chosen if (found := attention_map(task, e, outputs[e.id])) is not None]
    if not maps:
        return []
    words = "How much each token of the output looked at each token of the source: the mean over heads of the last decoder layer."
    return [Section("Attention", [Text(words), *maps])]


@torch.no_grad()
def attention_map(task: "TranslationTask", example: Example, output: str) -> Heatmap | None:
    """Cross-attention while the output is read again, token by token; None of a backbone that has none."""
    tokenizer = task.tokenizer
    source = torch.tensor([[*tokenizer.encode(example.source), tokenizer.eos_id]], device=task.device)
    target = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(output)]], device=task.device)
    with record_attention() as record:
        memory = task.backbone.encode(task.embedding(source))
        task.backbone.decode(task.embedding(target), memory=memory)
    if not record.cross:
        return None
    weights = record.cross[-1][0].float().mean(0).cpu().numpy()  # (T, S)
    columns, rows = (pieces(tokenizer, ids[0].tolist()) for ids in (source, target))
    return Heatmap(
        weights,
        [*rows[1:], "</s>"],
        [*columns[:-1], "</s>"],
        caption=output,
        row_language=example.language,
        column_language=example.source_language,
    )


def pieces(tokenizer, ids: Sequence[int]) -> list[str]:
    """Each token as text; one that is a part of a character shows as "·"."""
    return [tokenizer.decode([i]).strip().replace("\ufffd", "·") or "·" for i in ids]
