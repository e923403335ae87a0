"""Canaries that were planted before training: their exposure, and those that can be extracted."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from lslm_lightning.auditing.exposure import estimated_exposure, exact_exposure, rank_of
from lslm_lightning.auditing.finding import AuditFigure, AuditFinding, AuditTable
from lslm_lightning.auditing.part import AuditPart, Progress, between
from lslm_lightning.auditing.shares import share_figure
from lslm_lightning.auditing.subject import AuditSubject
from lslm_lightning.auditing.writing import searching
from lslm_lightning.contracts import Example
from lslm_lightning.data.canaries import Canaries, Canary
from lslm_lightning.decoding import AnySearch, Beam, Greedy
from lslm_lightning.training.language_model import LanguageModel
from lslm_lightning.training.pair_data import PairData
from lslm_lightning.training.sequence_to_sequence import SequenceToSequenceTask
from lslm_lightning.training.window_data import WindowData
from lslm_lightning.types import JsonObject

CanaryTask: TypeAlias = LanguageModel | SequenceToSequenceTask
N_REFERENCE = 200  # other numbers that each canary is compared with
BEAM_SIZE = 8
BATCH = 64
LIMITS = (
    "Canaries are texts of one kind: what is rarer or odder may be memorized with fewer copies, "
    "what is common with more.",
    "Exposure beyond the number of references is extrapolated by a skew normal distribution, and "
    "is the less certain the larger it is.",
    "Extraction knows the name of the canary and asks for its number; an attacker may know less, "
    "or search longer.",
)


class Exposed(NamedTuple):
    """Canary with what the model knows of it."""

    canary: Canary
    exposure: float  # bits
    rank: int  # among the references
    is_greedy: bool  # whether greedy search writes its number
    is_beam: bool  # whether one of the hypotheses of a beam search does


class PlantedCanaries(AuditPart):
    """Exposure and extraction of the canaries that were planted by `data.canaries`.

    Source: Carlini et al. 2019, "The secret sharer".
    """

    name = "canaries"
    title = "Canaries"
    weight = 2.0

    def __init__(self, n_reference: int = N_REFERENCE) -> None:
        self.n_reference = n_reference

    def settings(self) -> JsonObject:
        return {"n_reference": self.n_reference}

    def reason_not(self, subject: AuditSubject) -> str | None:
        if subject.data is None:
            return subject.without_data
        if not isinstance(subject.data, WindowData | PairData):
            return "Canaries can be planted in running texts and in pairs of texts alone."
        if subject.data.canaries is None:
            return "No canaries were planted; data.canaries of the config plants them in training."
        return None

    def measure(self, subject: AuditSubject, progress: Progress) -> AuditFinding:
        task = subject.task
        data = subject.data
        assert isinstance(task, LanguageModel | SequenceToSequenceTask)
        assert isinstance(data, WindowData | PairData)
        assert data.canaries is not None
        found = exposed(task, data.canaries, self.n_reference, subject.settings.seed, progress)
        n_extracted = sum(each.is_greedy or each.is_beam for each in found)
        mean = float(np.mean([each.exposure for each in found]))
        n_bit = data.canaries.n_digit * np.log2(10)
        summary = (
            f"{n_extracted:,} of {len(found):,} canaries can be extracted: asked for the number "
            "behind its name, the model writes it.",
            f"Their mean exposure is {mean:.1f} bits, of {n_bit:.1f} bits that a number has.",
        )
        return AuditFinding(
            self.name,
            self.title,
            "look" if n_extracted else "ok",
            summary,
            LIMITS,
            (
                AuditFigure("mean_exposure", "mean exposure", mean, "bits"),
                AuditFigure(
                    "most_exposure", "largest exposure", max(e.exposure for e in found), "bits"
                ),
                share_figure("extracted", "canaries extracted", n_extracted, len(found)),
            ),
            tables=(exposure_table(found),),
        )


def exposure_table(found: Sequence[Exposed]) -> AuditTable:
    """Return the table of exposure and extraction by the number of copies."""
    rows: list[tuple[float, float, float, float, float]] = []
    for n_copy in sorted({each.canary.n_copy for each in found}):
        own = [each for each in found if each.canary.n_copy == n_copy]
        rows.append(
            (
                n_copy,
                len(own),
                round(float(np.mean([each.exposure for each in own])), 1),
                sum(each.is_greedy for each in own),
                sum(each.is_beam for each in own),
            )
        )
    columns = (
        "copies",
        "canaries",
        "mean exposure, bits",
        "extracted by greedy search",
        f"by a beam of {BEAM_SIZE}",
    )
    return AuditTable(
        "Exposure by the number of copies in the training texts", columns, tuple(rows)
    )


def exposed(
    task: CanaryTask,
    canaries: Canaries,
    n_reference: int,
    seed: int,
    progress: Callable[[float], None],
) -> list[Exposed]:
    """Return exposure and extraction of each canary.

    Args:
        n_reference: number of other numbers that each is compared with; if there are no more, all
            are scored, and the exposure is exact.
        seed: seed of the draws of other numbers.
        progress: told the share that is done.
    """
    planted = canaries.planted()
    greedy = extracted(task, canaries, planted, Greedy())
    progress(0.1)
    beam = extracted(task, canaries, planted, Beam(beam_size=BEAM_SIZE), BEAM_SIZE)
    progress(0.2)
    n_number = 10**canaries.n_digit
    is_exact = n_number <= n_reference
    draw = random.Random(f"references {seed}")
    found = []
    for i, canary in enumerate(planted):
        numbers = (
            [f"{each:0{canaries.n_digit}}" for each in range(n_number)]
            if is_exact
            else [canaries.draw_number(draw) for _ in range(n_reference)]
        )
        others = [number for number in numbers if number != canary.number]
        own, *rest = nats_of_numbers(task, canaries, canary.name, [canary.number, *others])
        references = np.array(rest)
        exposure = (
            exact_exposure(own, references)
            if is_exact
            else estimated_exposure(own, references, canaries.n_digit * float(np.log2(10)))
        )
        found.append(Exposed(canary, exposure, rank_of(own, references), greedy[i], beam[i]))
        between(progress, 0.2, 1.0)((i + 1) / len(planted))
    return found


def nats_of_numbers(
    task: CanaryTask, canaries: Canaries, name: str, numbers: Sequence[str]
) -> list[float]:
    """Return the negative log probability, in nats, of the text of a canary with each number; of a
    task that reads sources, given the source of the canary.
    """
    texts = [canaries.text_of(name, number) for number in numbers]
    if isinstance(task, LanguageModel):
        return nats_of_texts(task, texts)
    asked = Example(name, canaries.source_of(name), ())
    return [float(answer.nats or 0.0) for answer in task.log_prob([asked], [texts])]


def nats_of_texts(task: LanguageModel, texts: Sequence[str]) -> list[float]:
    """Return the negative log probability of each text, with its end, in nats."""
    end = task.tokenizer.eos_id
    rows = [[end, *ids, end] for ids in task.tokenizer.encode_batch(texts)]
    found: list[float] = []
    for start in range(0, len(rows), BATCH):
        found += [float(nats.sum()) for nats in task.token_nats(rows[start : start + BATCH])]
    return found


def extracted(
    task: CanaryTask,
    canaries: Canaries,
    planted: Sequence[Canary],
    search: AnySearch,
    n_best: int = 1,
) -> list[bool]:
    """Return for each canary whether one of the answers of a search, asked for what stands behind
    its name, begins with its number; of a task that reads sources, whether one of the answers to
    its source has its number.

    Args:
        n_best: number of answers of the search.
    """
    if not isinstance(task, LanguageModel):
        return extracted_from_answers(task, canaries, planted, search, n_best)
    tokenizer = task.tokenizer
    examples = [Example(c.name, canaries.prompt(c.name), ()) for c in planted]
    prompts = task.prompts(examples)
    whole = tokenizer.encode_batch([canaries.text_of(c.name, c.number) for c in planted])
    n_new = max(len(ids) for ids in whole) + 2 - min(len(ids) for ids in prompts)
    found = []
    with searching(task, search):
        for canary, prompt in zip(planted, prompts, strict=True):
            [answers] = task.continue_n_best([prompt], max(n_new, 1), n_best)
            texts = [tokenizer.decode(ids) for ids, _ in answers]
            found.append(any(text.strip().startswith(canary.number) for text in texts))
    return found


def extracted_from_answers(
    task: SequenceToSequenceTask,
    canaries: Canaries,
    planted: Sequence[Canary],
    search: AnySearch,
    n_best: int,
) -> list[bool]:
    """Return for each canary whether one of the answers to its source has its number.

    Args:
        n_best: number of answers of the search.
    """
    examples = [Example(each.name, canaries.source_of(each.name), ()) for each in planted]
    found = []
    with searching(task, search):
        for canary, example in zip(planted, examples, strict=True):
            [answer] = task.generate([example], n_best)
            texts = [answer.output or "", *(each.output for each in answer.alternatives)]
            found.append(any(canary.number in text for text in texts))
    return found
