"""Comparison of a model of another library with the task that it was made from.

Axes: B texts, S source time, T time, V vocabulary.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from lslm_lightning.contracts import Example
from lslm_lightning.decoding import Decoded, Greedy
from lslm_lightning.models.heads import BLOCKED, Projection, Source
from lslm_lightning.training.batches import padded
from lslm_lightning.training.causal import CausalTask
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from lslm_lightning.training.task import Task

N_TEXT = 20
MOST_TOKENS = 256  # of a text that is read
PROMPT = 8  # tokens of a text that a language model continues
NEW_TOKENS = 32  # of a generated text
MOST_IN_FLOAT64 = 300_000_000  # weights of a model that is compared in float64
TOLERANCE = 1e-3  # of the largest logit: angles of positions are computed in float32

AnyTask: TypeAlias = CausalTask | SequenceToSequenceTask
TaskT = TypeVar("TaskT", bound=Task)
Read: TypeAlias = Callable[[Sequence[str]], list[list[int]]]
Logits: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Function (source (B, S), target (B, T)) -> logits (B, T, V)."""


@dataclass(frozen=True)
class Texts:
    """Texts to compare two models on.

    Args:
        sources: texts that the models read.
        targets: texts that a sequence-to-sequence model writes, for its logits.
        origin: where they come from, the name of a split, or "built in".
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    origin: str


SCRIPTS = (
    "Monday, 3 May 2021: three men are at work.",
    "Two dogs play in the snow, and a child looks on.",
    "Ein Mann in einer blauen Jacke steht auf einer Leiter.",
    "Une femme lit un livre dans un café à Paris.",
    "El perro marrón corre por la playa.",
    "Быстрая коричневая лиса прыгает через ленивую собаку.",
    "一只棕色的狗在雪地里奔跑。",
    "日本語の文を読んで、書きます。",
    "한국어 문장을 읽고 씁니다.",
    "الرجل يقرأ كتابا في الحديقة.",
    "अंग्रेज़ी और हिन्दी के वाक्य।",
    "def forward(self, x): return x + 1",
)
BUILT_IN = Texts(SCRIPTS, SCRIPTS, "built in")
"""Texts in several scripts, for a run whose corpus is not on this machine."""


@dataclass(frozen=True)
class Verification:
    """Result of a comparison of two models that agree.

    Args:
        worst: largest difference between two logits.
        largest: largest absolute logit.
        n_text: number of texts.
        n_equal: number of texts whose greedy continuation or answer is the same, token by token.
        n_tie: number of the others, which differ first where two tokens have equal logits within
            the tolerance.
        origin: where the texts come from.
    """

    worst: float
    largest: float
    n_text: int
    n_equal: int
    n_tie: int
    origin: str

    def __str__(self) -> str:
        return agreement_line(self)


def agreement_line(found: Verification) -> str:
    """Return the result of a comparison as one line of text."""
    ties = f", {found.n_tie} after a tie" if found.n_tie else ""
    return (
        f"texts compared ({found.origin}): {found.n_text}; logits differ by at most "
        f"{found.worst:.2g}; equal greedy texts: {found.n_equal}{ties}"
    )


@dataclass(frozen=True)
class OtherModel:
    """Model of another library, as functions on ids.

    Args:
        read: returns the ids of texts as the model reads them.
        logits: returns the logits for sources and targets; a language model reads the target alone.
        generate: returns the greedy answers to sources, or continuations of them, without special
            tokens.
        most_target: largest number of tokens of a target whose logits are compared; None for
            `MOST_TOKENS`.
    """

    read: Read
    logits: Logits
    generate: Callable[[Tensor, int], list[list[int]]]
    most_target: int | None = None


def texts_of(
    examples: Sequence[Example], kind: type[nn.Module], origin: str, most: int = N_TEXT
) -> Texts:
    """Return the texts of examples that a task of a kind reads and writes, at most `most`."""
    chosen = examples[:most]
    if issubclass(kind, CausalTask):
        texts = [
            example.references[0] if example.references else example.source for example in chosen
        ]
        return Texts(tuple(texts), tuple(texts), origin)
    targets = [
        example.references[0] if example.references else example.source for example in chosen
    ]
    return Texts(tuple(example.source for example in chosen), tuple(targets), origin)


def writing(task: nn.Module) -> AnyTask:
    """Return a task that writes text, for an engine.

    Raises:
        ValueError: it writes none.
    """
    if not isinstance(task, AnyTask):
        raise ValueError(
            f"model={type(task).__name__} writes no text token by token, which an engine does; "
            "leave engine out"
        )
    return task


def precision_of(task: nn.Module) -> torch.dtype:
    """Return the type in which a task is compared."""
    return precision_for(sum(weight.numel() for weight in task.parameters()))


def precision_for(n_weight: int) -> torch.dtype:
    """Return the type in which a model with `n_weight` weights is compared: float64, or float32 if
    it is large.
    """
    return torch.float64 if n_weight <= MOST_IN_FLOAT64 else torch.float32


def copy_to_compare(task: TaskT, dtype: torch.dtype) -> TaskT:
    """Return a copy of a task that computes in the type of `precision_of`, with its weights rounded
    to another type, and whose answers may have any length. Weights that are of these types already
    are shared.
    """
    shared = {id(each): nn.Parameter(each.detach()) for each in task.parameters()}
    made = copy.deepcopy(task, shared)
    if isinstance(made, AnyTask):
        made.min_length = 0
    for module in made.modules():
        if isinstance(module, nn.RMSNorm) and module.eps is None:
            module.eps = torch.finfo(torch.float32).eps
    return made.to(dtype).to(precision_of(task)).eval()


class Inputs(NamedTuple):
    """Inputs that two models are compared on."""

    sources: list[list[int]]  # ids of each text
    targets: list[list[int]]  # ids of each target; of a language model, the texts again
    prompts: Tensor  # (B, S) sources with padding, or beginnings of texts of one length
    n_new: int  # most new tokens of an answer


@torch.no_grad()
def compare(
    task: AnyTask,
    other: OtherModel,
    texts: Texts,
    tolerance: float = TOLERANCE,
    is_exact: bool = True,
) -> Verification:
    """Compare the ids, logits and greedy answers of two models.

    Args:
        task: our model, as `copy_to_compare` returns it.
        other: the other model, in the same type.
        texts: texts to compare them on.
        tolerance: largest difference of logits, as a share of the largest logit.
        is_exact: whether logits and answers must be equal; if not, their differences are counted.

    Raises:
        ValueError: the models differ; the message says in what.
    """
    ours = our_model(task)
    read = ours.read(texts.sources)
    is_causal = isinstance(task, CausalTask)
    given = texts.sources if is_causal else [task.prompt.text(text) for text in texts.sources]
    compare_ids(texts, read, other.read(given))
    if isinstance(task, CausalTask):
        inputs = inputs_of_texts(task, read)
    else:
        inputs = inputs_of_pairs(task, read, texts.targets)
    if other.most_target is not None:
        inputs = inputs._replace(targets=[row[: other.most_target] for row in inputs.targets])
    worst, largest = difference_of_logits(ours, other, inputs, written_tokens(task))
    limit = tolerance * max(1.0, largest)
    if is_exact and not worst <= limit:
        raise ValueError(
            f"its logits differ from those of the run by {worst:.3g}, more than {limit:.3g}"
        )
    own, written = (model.generate(inputs.prompts, inputs.n_new) for model in (ours, other))
    n_tie = n_other = 0
    for prompt, mine, theirs in zip(inputs.prompts, own, written, strict=True):
        if mine == theirs:
            continue
        n_other += 1
        if is_tie(ours.logits, prompt, mine, theirs, limit, task):
            n_tie += 1
        elif is_exact:
            raise ValueError(
                f"it writes {task.tokenizer.decode(theirs)[:60]!r} where the run writes "
                f"{task.tokenizer.decode(mine)[:60]!r}"
            )
    n_text = len(read)
    return Verification(worst, largest, n_text, n_text - n_other, n_tie, texts.origin)


def compare_ids(texts: Texts, ours: list[list[int]], theirs: list[list[int]]) -> None:
    """Check that two models read texts as the same ids.

    Raises:
        ValueError: a text has other ids.
    """
    for text, mine, other in zip(texts.sources, ours, theirs, strict=True):
        if mine != other:
            raise ValueError(
                f"the text {text[:40]!r} has other ids than in the run: {other[:8]} instead of "
                f"{mine[:8]}"
            )


def inputs_of_texts(task: CausalTask, read: list[list[int]]) -> Inputs:
    """Return the inputs of a language model."""
    longest = min(MOST_TOKENS, task.context)
    rows = [row[:longest] for row in read]
    n_prompt = min(PROMPT, -(-longest // 2), *map(len, rows))
    prompts = torch.tensor([row[:n_prompt] for row in rows])
    return Inputs(rows, rows, prompts, min(NEW_TOKENS, task.context - n_prompt))


def inputs_of_pairs(
    task: SequenceToSequenceTask, read: list[list[int]], targets: Sequence[str]
) -> Inputs:
    """Return the inputs of a model that reads one text and writes another."""
    longest = min(MOST_TOKENS, task.backbone.max_positions or MOST_TOKENS)
    rows = [row[:longest] for row in read]
    found = task.tokenizer.encode_targets(list(targets))
    begun = [[task.tokenizer.bos_id, *ids][:longest] for ids in found]
    n_new = min(NEW_TOKENS, longest - 1, task.max_length)
    return Inputs(rows, begun, padded(rows, task.tokenizer.pad_id), n_new)


def difference_of_logits(
    ours: OtherModel, other: OtherModel, inputs: Inputs, tokens: Tensor
) -> tuple[float, float]:
    """Return the largest difference between two logits, and the largest absolute logit.

    Args:
        tokens: ids of the tokens whose logits are compared.

    Raises:
        ValueError: a logit is infinite or no number.
    """
    worst = largest = 0.0
    for source, target in zip(inputs.sources, inputs.targets, strict=True):
        ids = (torch.tensor([source]), torch.tensor([target]))
        mine = ours.logits(*ids)[..., tokens]
        theirs = other.logits(*ids)[..., tokens]
        check_finite(mine, theirs)
        largest = max(largest, float(mine.abs().max()))
        worst = max(worst, float((mine - theirs).abs().max()))
    return worst, largest


def check_finite(ours: Tensor, theirs: Tensor) -> None:
    """Check that all logits of two models are numbers; `max` would drop NaN.

    Raises:
        ValueError: a logit is infinite or no number.
    """
    if not torch.isfinite(ours).all():
        raise ValueError(
            "logits of the run are infinite or NaN; its weights are damaged: take an earlier "
            "checkpoint"
        )
    if not torch.isfinite(theirs).all():
        raise ValueError(
            "its logits are infinite or NaN; its weights are damaged: fetch its files again"
        )


def written_tokens(task: AnyTask) -> Tensor:
    """Return the ids of the tokens that a task may write: those that its head does not block."""
    offsets = task.head.offsets if isinstance(task.head, Projection) else None
    if offsets is None:
        return torch.arange(task.tokenizer.vocab_size)
    return (offsets > BLOCKED / 2).nonzero()[:, 0]


def our_model(task: AnyTask) -> OtherModel:
    """Return our model as functions on ids."""
    if isinstance(task, CausalTask):
        return OtherModel(
            partial(causal_ids, task),
            lambda source, target: task.logits(target),
            partial(continue_greedily, task),
        )
    return OtherModel(
        lambda texts: task.read([Example(str(i), text, ()) for i, text in enumerate(texts)]),
        partial(logits_of_pairs, task),
        partial(answer_greedily, task),
    )


def causal_ids(task: CausalTask, texts: Sequence[str]) -> list[list[int]]:
    """Return the ids of texts as a language model reads them, `</s>` first."""
    return [[task.tokenizer.eos_id, *ids] for ids in task.tokenizer.encode_batch(list(texts))]


def continue_greedily(task: CausalTask, prompts: Tensor, most: int) -> list[list[int]]:
    """Return the greedy continuations of prompts (B, T) of one length."""
    return rows_of(Greedy()(task.step, prompts, (), task.tokenizer.eos_id, most))


def logits_of_pairs(task: SequenceToSequenceTask, source: Tensor, target: Tensor) -> Tensor:
    """Return the logits (B, T, V) after each of `target` (B, T), given sources (B, S)."""
    pad = source == task.tokenizer.pad_id
    memory = task.backbone.encode(task.embedding(source), pad)
    y, _ = task.backbone.decode(task.embedding(target), memory=memory, memory_pad=pad)
    logits: Tensor = task.head(y, task.embedding.weight, Source(memory, source, pad))
    return logits


def answer_greedily(task: SequenceToSequenceTask, source: Tensor, most: int) -> list[list[int]]:
    """Return the greedy answers to padded sources (B, S)."""
    return rows_of(task.decode(source, Greedy(), most))


def rows_of(found: Decoded) -> list[list[int]]:
    """Return the ids of each answer of a search."""
    return [ids[:n] for ids, n in zip(found.ids.tolist(), found.n_token.tolist(), strict=True)]


def is_tie(
    logits: Logits,
    prompt: Tensor,
    own: list[int],
    written: list[int],
    limit: float,
    task: AnyTask,
) -> bool:
    """Return whether two answers differ first where their tokens have equal logits.

    Args:
        prompt: source, or prompt of a language model (S,).
        own: ids of our answer.
        written: ids of the other answer.
        limit: largest difference between equal logits.
    """
    n = next((i for i, (a, b) in enumerate(zip(own, written, strict=False)) if a != b), None)
    if n is None:  # one ends earlier, without a token that says so
        return False
    start = prompt.tolist() if isinstance(task, CausalTask) else [task.tokenizer.bos_id]
    source = prompt[prompt != task.tokenizer.pad_id][None]
    scores = logits(source, torch.tensor([[*start, *own[:n]]]))[0, -1]
    return bool((scores[own[n]] - scores[written[n]]).abs() <= 2 * limit)
