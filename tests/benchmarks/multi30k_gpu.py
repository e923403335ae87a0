"""Multi30k en-de on a GPU, against the published score."""

from collections.abc import Mapping

from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.job import train
from tests.benchmarks.multi30k import exams

CONFIG = "translation/multi30k_en_de_gpu.yaml"


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Lower-cased BLEU, as the published score of a text-only Transformer is one (Wu et al. 2021:
    41.02 and 33.36).
    """
    first = figures["exams"]["test_2016_flickr"]
    second = figures["exams"]["test_2017_flickr"]
    return [
        Check("BLEU on test_2016_flickr, lower-cased, 13a", first["bleu_lowercase"], ">=", 41.0),
        Check("BLEU on test_2016_flickr, cased", first["bleu"]),
        Check("BLEU on test_2017_flickr, lower-cased", second["bleu_lowercase"]),
        Check("minutes of training", figures["training"]["training_minutes"]),
    ]


BENCHMARK = Benchmark(
    about="Multi30k en-de on a GPU: lower-cased BLEU",
    minutes=30,
    parts={"training": lambda done, smoke: train(CONFIG, smoke=smoke), "exams": exams},
    checks=checks,
    needs=("LSLM_DATA", "GPU"),
)
