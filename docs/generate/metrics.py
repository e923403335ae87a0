"""Metrics by name, with their signatures."""

from collections.abc import Iterator, Sequence
from functools import cache

from docs.generate.language import localized
from docs.generate.markdown import code, plain, table
from lslm_lightning.contracts import Metric, metric_label
from lslm_lightning.metrics.likelihood import (
    BitsPerByte,
    NatsPerToken,
    Perplexity,
    WordPerplexity,
)
from lslm_lightning.metrics.names import metrics_by_name

LANGUAGES = ("en", "zh", "ja", "th", "bo", "de")
ABOUT = {  # of metrics whose class has several
    "chrf++": "chrF++: chrF with word 1- and 2-grams counted as well.",
    "rouge1": "ROUGE-1: F1 of shared words, mean over examples, from 0 to 100.",
    "rouge2": "ROUGE-2: F1 of shared pairs of adjacent words, mean over examples, from 0 to 100.",
    "rougeL": "ROUGE-L: F1 of the longest common subsequence, mean over examples, from 0 to 100.",
    "rougeLsum": "ROUGE-Lsum: ROUGE-L of summaries, sentence by sentence, from 0 to 100.",
}
LIKELIHOODS = (BitsPerByte, NatsPerToken, Perplexity)
KEYS = {  # of signatures: what each key says
    "asian": "whether East Asian characters are divided",
    "best": "which of several references counts: `max`, the one with the highest score",
    "case": "`mixed`: case counts; `lc`: lower case",
    "context": "number of tokens in a window of a language model",
    "eff": "effective order: n-gram orders without a match are left out",
    "jiwer": "version of jiwer, which aligns the words",
    "match": "what agrees: `words` in any order, or the `longest-run` of them",
    "nc": "highest order of character n-grams",
    "norm": "what is normalized before the comparison",
    "nrefs": "number of references of each example; `var` if it varies",
    "nw": "highest order of word n-grams",
    "punct": "whether punctuation counts",
    "reasoning": "what was done with the reasoning in an answer",
    "reference": "which of several references is compared",
    "rouge-score": "version of rouge-score",
    "rules": "benchmark whose normalization is followed",
    "sentences": "how a text is divided into sentences",
    "smooth": "how counts of zero are smoothed",
    "source": "number of tokens of a source that are read: `400`, its first; `384-by-128`, all, in "
    "windows of 384 that start 128 apart",
    "space": "whether spaces are characters",
    "spelling": "how unknown tokens are spelled out",
    "stem": "how words are reduced to stems",
    "stride": "number of tokens between windows of a language model",
    "tok": "how texts are divided into the units that are compared",
    "tokens": "tokenizer whose tokens a system counts",
    "units": "what stands in the place of words",
    "version": "version of sacreBLEU",
    "words": "what counts as a word",
}


def metrics() -> str:
    """Return a table of the metrics that have names."""
    return table(
        ("name", "written", "unit", "better", "what"),
        (row(name, metric) for name, metric in named("en")),
    )


@cache
def named(language: str) -> tuple[tuple[str, Metric], ...]:
    """Return all metrics with their names, for answers in a language."""
    likelihoods = ((kind.name, kind()) for kind in LIKELIHOODS)
    words = (WordPerplexity.name, WordPerplexity(language))
    made = ((name, make(language)) for name, make in metrics_by_name().items())
    return (*made, *likelihoods, words)


def row(name: str, metric: Metric) -> Sequence[str]:
    """Return the cells of one metric."""
    first = (type(metric).__doc__ or "").partition("\n\n")[0]
    about = ABOUT.get(name, " ".join(first.split()))
    return (
        code(name),
        localized(metric_label(metric.name)),
        localized(metric.unit),
        localized("higher" if metric.higher_is_better else "lower"),
        plain(localized(about)),
    )


def signatures() -> str:
    """Return a table of the signatures of all metrics in English and Chinese."""
    rows = [
        (code(name), code(english.signature), code(chinese.signature))
        for (name, english), (_, chinese) in zip(named("en"), named("zh"), strict=True)
    ]
    return table(("name", "English", "Chinese"), rows)


def signature_keys() -> str:
    """Return the table of the keys of signatures, with the values that occur."""
    found: dict[str, set[str]] = {key: set() for key in KEYS} | occurring()
    rows = [
        (
            code(key),
            localized(KEYS.get(key, "")),
            ", ".join(code(value) for value in sorted(values)),
        )
        for key, values in sorted(found.items())
    ]
    return table(("key", "what it says", "values that occur"), rows)


@cache
def occurring() -> dict[str, set[str]]:
    """Return the values of each key of a signature, for some languages."""
    found: dict[str, set[str]] = {}
    for _, metric in all_metrics():
        for part in metric.signature.split("|"):
            key, _, value = part.partition(":")
            found.setdefault(key, set()).add(value)
    return found


def all_metrics() -> Iterator[tuple[str, Metric]]:
    """Yield the metrics with their names, for each of some languages."""
    for language in LANGUAGES:
        yield from named(language)
