"""BLEU in the two ways that are published for Multi30k."""

from collections.abc import Sequence

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.evaluation.scoring import score
from lslm_lightning.metrics.bleu import Bleu

EXAMS = {"test_2016_flickr": "test", "test_2017_flickr": "test_2017_flickr"}
"""Published names of the splits of our corpus."""


def bleus(examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
    """sacreBLEU of raw text, cased and lower-cased, both tokenized by 13a."""
    metrics = {"bleu": Bleu(tokenize="13a"), "bleu_lowercase": Bleu(tokenize="13a", lowercase=True)}
    return {
        name: score(examples, predictions, [metric], n_resample=0)["bleu"].value
        for name, metric in metrics.items()
    }
