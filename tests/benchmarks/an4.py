"""an4 in half an hour, alone and with an n-gram model of its training transcripts, whose weight is
chosen on the validation split.
"""

from collections.abc import Mapping
from itertools import product

from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.job import train
from tests.benchmarks.reported import beside, minutes, one_run

# per token, a letter
WEIGHTS = (0.3, 0.6, 1.0)
BONUSES = (0.0, 0.7, 1.4, 2.1, 2.8)
N_TRIED = 8  # beams while the weight is chosen
N_BEAM = 20


def fusion(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """WER on the test by prefix beam search alone and with the language model."""
    from lslm_lightning.decoding import CtcPrefixBeam
    from lslm_lightning.systems.fusion import ShallowFusion
    from tests.benchmarks.finished import Finished

    run = Finished(done["training"]["run"])
    chosen_on, test = (
        run.data.examples(split)[: 4 if smoke else None] for split in ("val", "test")
    )

    def wer(examples: list, beam_size: int, weight: float = 0.0, bonus: float = 0.0) -> float:
        model = (
            ShallowFusion(done["ngram"]["run"], weight, bonus).over(run.task.tokenizer, "cpu")
            if weight
            else None
        )
        run.task.search = CtcPrefixBeam(beam_size)
        run.task.fusion = model
        metric = run.task.metrics(examples[0].language)[0]
        by_id = {p.id: p for p in run.answers(examples)}
        return metric.score(sum(metric.statistics(e, by_id[e.id]) for e in examples))

    tried = {
        (weight, bonus): wer(chosen_on, N_TRIED, weight, bonus)
        for weight, bonus in product(WEIGHTS, BONUSES)
    }
    weight, bonus = min(tried, key=lambda settings: (tried[settings], settings))
    return {
        "tried": {f"weight {w}, bonus {b}": value for (w, b), value in tried.items()},
        "weight": weight,
        "bonus": bonus,
        "alone": wer(test, N_BEAM),
        "fused": wer(test, N_BEAM, weight, bonus),
    }


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Word error rates, by the best path, by beam search, and with the language model."""
    found = figures["fusion"]
    return [
        Check("WER, greedy", figures["training"]["scores"]["wer"], "<=", 35.0),
        Check("CER, greedy", figures["training"]["scores"]["cer"]),
        *beside(figures, "wer"),
        minutes(figures, 60),
        Check("WER, prefix beam", found["alone"]),
        Check(
            "WER, prefix beam with 8-grams of the training transcripts",
            found["fused"],
            "<",
            found["alone"],
        ),
        Check("weight of the 8-grams", found["weight"]),
        Check("bonus for a letter", found["bonus"]),
    ]


BENCHMARK = Benchmark(
    about=(
        "an4 in at most 60 minutes: word error rate alone, and in fusion with an n-gram model "
        "of its training transcripts"
    ),
    minutes=45,
    parts={
        **one_run("speech_recognition/an4_cpu.yaml", {"wer": "units:words"}),
        "ngram": lambda done, smoke: train("speech_recognition/an4_ngram.yaml", smoke=smoke),
        "fusion": fusion,
    },
    checks=checks,
    needs=("LSLM_DATA",),
)
