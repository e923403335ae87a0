"""Adapters that turn metrics of `torchmetrics.text` into metrics of this project, which add
statistics of examples.

There are three kinds, depending on the states of the torchmetrics object. States that are sums over
examples (CharErrorRate, BLEUScore, CHRFScore, ...) are used directly as statistics. If the score is
the mean of one number per example (ROUGEScore, BERTScore without idf, ...), the statistics are this
number and a count. All other metrics are defined only for the corpus as a whole: they have a score,
but neither a confidence interval nor a paired test.
"""

import hashlib
import inspect
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TypeAlias

import numpy as np
import torch
import torchmetrics
from torch import Tensor, nn
from torchmetrics import text
from torchmetrics.utilities.data import dim_zero_sum

from lslm_lightning.contracts import Example, Metric, Prediction, join_signature

LEARNED = tuple(  # need transformers; means over examples unless they weight words by idf
    getattr(text, name) for name in ("BERTScore", "InfoLM") if name in text.__all__
)
FIRST_REFERENCE = (  # take one reference for each example
    *(text.CharErrorRate, text.EditDistance, text.MatchErrorRate, text.WordErrorRate),
    *(text.WordInfoLost, text.WordInfoPreserved, *LEARNED[1:]),
)
MEANS = (text.ROUGEScore, text.ExtendedEditDistance)  # over examples
WITHOUT_EFFECT = {"batch_size", "device", "num_threads", "return_hash", "verbose"}  # on scores
PROBE = ("a cat sat there", ("a cat sat there",))
ORDERED = [  # pairs of unlike lengths
    ("a", ("a b c d",)),
    ("a b c d", ("a b",)),
    ("a b", ("c",)),
    ("c d a", ("d c a",)),
]
Pairs: TypeAlias = Sequence[tuple[str, tuple[str, ...]]]  # outputs and their references
SquadAnswer: TypeAlias = dict[str, str | dict[str, list[str] | list[int]]]
Numbers: TypeAlias = dict[str, np.ndarray]  # by name; each (1,), or (N,) of N examples
CACHED = 4  # batches whose numbers are kept, for the several numbers of one object


def metrics_of(wrapped: torchmetrics.Metric) -> list[Metric]:
    """Return one metric for each number that `wrapped` computes: three for BERTScore, one for
    CharErrorRate.

    Raises:
        ValueError: the object does not read texts, gives no number, or does not store its
            arguments; the message states the reason.
    """
    kind = type(wrapped).__name__
    if isinstance(wrapped, text.Perplexity):
        raise ValueError(
            "torchmetrics.text.Perplexity reads logits, which predictions do not keep; name "
            "lslm_lightning.metrics.likelihood.Perplexity, which reads their nats"
        )
    if not isinstance(wrapped.higher_is_better, bool):
        raise ValueError(
            f"{kind}.higher_is_better={wrapped.higher_is_better} must be true or false, so that "
            "systems can be ranked: set it on a class of your own that derives from it"
        )
    wrapped.distributed_available_fn = _is_not_distributed  # every process has all predictions
    computed = _Computed(wrapped)
    try:
        _load_once(wrapped)
        numbers = computed.values([PROBE, PROBE])
    except (OSError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{kind} cannot score a text: {error}") from error
    made: type[_Torchmetrics]
    if computed.is_sum:
        made = _Summed
    elif isinstance(wrapped, MEANS) or (isinstance(wrapped, LEARNED) and not wrapped.idf):
        made = _Mean
    elif isinstance(wrapped, LEARNED) and computed.depends_on_order:
        raise ValueError(
            f"{kind} with idf=True scores the same texts otherwise in another order with "
            f"torchmetrics {version('torchmetrics')}, which gives outputs the references of "
            "others; set idf to false"
        )
    else:
        made = _WholeCorpus
    return [made(computed, output) for output in numbers]


def _is_not_distributed() -> bool:
    """Return False, in place of `torch.distributed.is_available`, so that torchmetrics does not
    synchronize states between processes.
    """
    return False


def _load_once(wrapped: torchmetrics.Metric) -> None:
    """Load the model of a BERTScore object; without this, torchmetrics loads it again for every
    pair of texts.
    """
    if isinstance(wrapped, LEARNED[:1]) and wrapped.model is None:
        from transformers import AutoModel

        wrapped.model = AutoModel.from_pretrained(wrapped.model_name_or_path)


class _Computed:
    """Wrapper of a torchmetrics object that computes its numbers for texts."""

    def __init__(self, wrapped: torchmetrics.Metric) -> None:
        self.wrapped = wrapped
        self.settings = settings_of(wrapped)
        self.is_sum = all(reduce is dim_zero_sum for reduce in wrapped._reductions.values())
        self._cache: OrderedDict[tuple[tuple[str, tuple[str, ...]], ...], Numbers] = OrderedDict()

    @property
    def default_states(self) -> dict[str, Tensor]:
        """Initial values, by name, of the states that are tensors."""
        states = self.wrapped._defaults.items()
        return {name: state for name, state in states if isinstance(state, Tensor)}

    def update(self, pairs: Pairs) -> None:
        """Reset the states, and update them with these pairs of an output and its references."""
        self.wrapped.reset()
        outputs = [output for output, _ in pairs]
        if isinstance(self.wrapped, text.SQuAD):
            self.wrapped.update(
                [{"prediction_text": each, "id": str(i)} for i, each in enumerate(outputs)],
                [_squad_answer(str(i), wanted) for i, (_, wanted) in enumerate(pairs)],
            )
        elif self.reads_first_reference:
            self.wrapped.update(outputs, [wanted[0] for _, wanted in pairs])
        else:
            self.wrapped.update(outputs, [list(wanted) for _, wanted in pairs])

    @property
    def reads_first_reference(self) -> bool:
        """True if only the first reference of each example is used."""
        return isinstance(self.wrapped, FIRST_REFERENCE)

    def compute(self) -> Numbers:
        """Return the numbers computed from the states, by name, each of shape (1,) or (N,).

        The name is "" if there is only one number.
        """
        found = type(self.wrapped).compute(self.wrapped)  # not the wrapper, which synchronizes
        if isinstance(found, tuple):
            raise ValueError("return_sentence_level_score must be false: rows have those scores")
        named = found if isinstance(found, Mapping) else {"": found}
        return {
            name: np.atleast_1d(torch.as_tensor(value).double().cpu().numpy())
            for name, value in named.items()
            if not isinstance(value, str)
        }

    def values(self, pairs: Pairs) -> Numbers:
        """Return the numbers for the corpus that consists of these pairs, by name."""
        with torch.no_grad():
            self.update(pairs)
            return self.compute()

    def per_example(self, pairs: Pairs) -> Numbers:
        """Return each number (N,) computed for every single pair, by name; recent results are
        cached.
        """
        key = tuple(pairs)
        if key not in self._cache:
            self._cache[key] = self._per_example(pairs)
            while len(self._cache) > CACHED:
                self._cache.popitem(last=False)
        return self._cache[key]

    def _per_example(self, pairs: Pairs) -> Numbers:
        # one by one: BERTScore of torchmetrics 1.9 gives outputs of unlike length the references of
        # others, and breaks down on one pair, which is given twice
        n_copy = 2 if isinstance(self.wrapped, LEARNED) else 1
        each = [self.values([pair] * n_copy) for pair in pairs]
        found = {name: np.array([own[name].mean() for own in each]) for name in each[0]}
        # 0 of a text without tokens, as bert_score of its authors has it
        return {name: np.nan_to_num(values, nan=0.0) for name, values in found.items()}

    @property
    def depends_on_order(self) -> bool:
        """True if the order of the pairs changes the score."""
        first, second = (self.values(order) for order in (ORDERED, [*ORDERED[1:], *ORDERED[:1]]))
        return any(
            not np.allclose(first[name].mean(), second[name].mean(), rtol=1e-3) for name in first
        )


class _Torchmetrics(Metric):
    """One number of a torchmetrics metric, in torchmetrics' own unit.

    Args:
        output: name of the number; "" if the metric computes only one.
    """

    unit = ""

    def __init__(self, computed: _Computed, output: str) -> None:
        self.computed = computed
        self.output = output
        wrapped = computed.wrapped
        self.name = "_".join(filter(None, (type(wrapped).__name__, output)))
        self.higher_is_better = bool(wrapped.higher_is_better)  # `metrics_of` refuses None

    @property
    def signature(self) -> str:
        kind = type(self.computed.wrapped)
        is_theirs = kind.__module__.startswith("torchmetrics.text")
        module = "torchmetrics.text" if is_theirs else kind.__module__
        parts = [f"{module}.{kind.__name__}"]
        parts += [f"{name}:{value}" for name, value in self.computed.settings.items()]
        parts += ["reference:first"] if self.computed.reads_first_reference else []
        parts += [f"output:{self.output}"] if self.output else []
        return join_signature([*parts, f"torchmetrics:{version('torchmetrics')}"])


def _squad_answer(
    id: str, references: Sequence[str]
) -> dict[str, str | dict[str, list[str] | list[int]]]:
    """Return references in the form in which torchmetrics reads the answers of SQuAD."""
    return {"answers": {"answer_start": [0] * len(references), "text": list(references)}, "id": id}


def _pair(example: Example, prediction: Prediction) -> tuple[str, tuple[str, ...]]:
    return prediction.output or "", tuple(example.references)


class _Summed(_Torchmetrics):
    """Metric whose torchmetrics states are sums over examples; the statistics are the concatenated
    states.
    """

    def statistics(self, example: Example, prediction: Prediction) -> np.ndarray:
        states = self.computed.default_states
        if prediction.output is None:
            return np.full(sum(state.numel() for state in states.values()), np.nan)
        self.computed.update([_pair(example, prediction)])
        values = [getattr(self.computed.wrapped, name) for name in states]
        flat: np.ndarray = torch.cat([v.detach().double().cpu().flatten() for v in values]).numpy()
        return flat

    def score(self, total: np.ndarray) -> float:
        if np.isnan(total).any():
            return float("nan")
        start = 0
        for name, default in self.computed.default_states.items():
            end = start + default.numel()
            value = torch.tensor(total[start:end], dtype=torch.float64).reshape(default.shape)
            setattr(self.computed.wrapped, name, value)
            start = end
        return float(self.computed.compute()[self.output].item())


class _Mean(_Torchmetrics):
    """Metric that is the mean of one number per example; the statistics are this number and a count
    of 1.
    """

    def statistics(self, example: Example, prediction: Prediction) -> np.ndarray:
        row: np.ndarray = self.rows([example], [prediction])[0]
        return row

    def rows(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> np.ndarray:
        has_output = np.array([p.output is not None for p in predictions])
        rows = np.full((len(examples), 2), np.nan)
        pairs = [_pair(e, p) for e, p in zip(examples, predictions, strict=True)]
        if kept := [pair for pair, has_it in zip(pairs, has_output, strict=True) if has_it]:
            rows[has_output] = np.stack(
                [self.computed.per_example(kept)[self.output], np.ones(len(kept))], axis=1
            )
        return rows

    def score(self, total: np.ndarray) -> float:
        value, n_example = total
        return float(value / n_example) if n_example else float("nan")


class _WholeCorpus(_Torchmetrics):
    """Metric that is defined only for the corpus as a whole; its statistics are nan."""

    is_additive = False

    def statistics(self, example: Example, prediction: Prediction) -> np.ndarray:
        return np.full(1, np.nan)

    def score(self, total: np.ndarray) -> float:
        return float("nan")

    def corpus_score(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
        if any(p.output is None for p in predictions):
            return float("nan")
        pairs = [_pair(e, p) for e, p in zip(examples, predictions, strict=True)]
        return float(self.computed.values(pairs)[self.output].mean())


def settings_of(wrapped: torchmetrics.Metric) -> dict[str, str]:
    """Return the constructor arguments of `wrapped` as text, by name, in the order of the
    signature.

    Raises:
        ValueError: the object does not store one of its arguments.
    """
    settings = {}
    for name, parameter in inspect.signature(type(wrapped).__init__).parameters.items():
        is_tunnel = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if name == "self" or name in WITHOUT_EFFECT or is_tunnel:
            continue
        settings[name] = _as_text(_argument(wrapped, name))
    return settings


def _argument(wrapped: torchmetrics.Metric, name: str) -> object:
    """Return the value of a constructor argument, which the metric or its tokenizer stores in an
    attribute.
    """
    if name == "use_stemmer" and "stemmer" in vars(wrapped):
        return wrapped.stemmer is not None
    holders = [wrapped, vars(wrapped).get("tokenizer")]
    for holder in holders:
        for attribute in (name, f"_{name}", f"{name}_fn"):
            if holder is not None and attribute in getattr(holder, "__dict__", {}):
                return vars(holder)[attribute]
    raise ValueError(
        f"{type(wrapped).__name__} does not keep its argument {name}, which its signature must "
        f"have: set self.{name} on a class of your own that derives from it"
    )


def _as_text(value: object) -> str:
    """Return a value as text for a signature; a network is represented by a digest of its
    weights.
    """
    if isinstance(value, nn.Module):
        digest = hashlib.sha256()
        for name, weight in sorted(value.state_dict().items()):
            digest.update(name.encode() + weight.cpu().contiguous().numpy().tobytes())
        return f"{type(value).__name__}-{digest.hexdigest()[:8]}"
    if isinstance(value, Tensor):
        value = value.tolist()
    if callable(value):
        value = getattr(value, "__qualname__", type(value).__name__)
    return str(value).replace("|", "/")
