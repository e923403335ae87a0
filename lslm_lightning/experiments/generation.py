"""Text generation with a trained model."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import islice
from os import PathLike, fspath
from typing import TYPE_CHECKING, Literal, Protocol, cast, runtime_checkable

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.devices import usable_device
from lslm_lightning.safety.magnitudes import check_magnitudes

if TYPE_CHECKING:
    from lslm_lightning.decoding import AnySearch, Fusion
    from lslm_lightning.experiments.run import Run
    from lslm_lightning.runs import FoundRun
    from lslm_lightning.training.task import Task

# also the names of a search's settings
OPTIONS = ("no_repeat_ngram", "beam_size", "length_penalty", "temperature", "top_k", "top_p")
FUSION = ("fusion", "fusion_weight", "length_bonus")


@dataclass(frozen=True)
class SearchSettings:
    """Settings of a decoding search; None keeps the run's own setting.

    Args:
        search: kind of search: greedy, beam or sampling. If it differs from the run's kind, the
            other settings start from the defaults of the new kind.
        no_repeat_ngram: never generate the same n-gram of this length twice.
        beam_size: number of hypotheses in beam search.
        length_penalty: length penalty of beam search; above 1 favours long answers.
        temperature: temperature of sampling; lower values prefer probable tokens.
        top_k: sample only from this many of the most probable tokens.
        top_p: sample only from the most probable tokens whose probabilities add up to this share.
        max_length: maximum number of new tokens.
        min_length: minimum number of new tokens.
        fusion: run of a language model for shallow fusion; it must have the same tokenizer.
        fusion_weight: weight of the log probabilities of the fused language model.
        length_bonus: score added for each token, used with `fusion`.
    """

    search: Literal["greedy", "beam", "sampling"] | None = None
    no_repeat_ngram: int | None = None
    beam_size: int | None = None
    length_penalty: float | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    max_length: int | None = None
    min_length: int | None = None
    fusion: str | None = None
    fusion_weight: float | None = None
    length_bonus: float | None = None


AS_THE_RUN_HAS_IT = SearchSettings()


def generate(
    run: "str | PathLike[str] | Run",
    texts: Sequence[str],
    settings: SearchSettings = AS_THE_RUN_HAS_IT,
    *,
    n_best: int = 1,
    seed: int = 0,
    batch_size: int = 32,
    device: str = "auto",
    trust: bool = False,
    engine: str | None = None,
    dtype: str = "float32",
) -> list[Prediction]:
    """Generate answers to texts with a trained model, as `lslm generate` does; return one
    prediction per text.

    Args:
        run: a run directory, a checkpoint in one, an MLflow run id, `models:/NAME@best`, a
            pattern (stands for the newest run that matches), or the result of `train`.
        texts: texts to continue, translate, summarize or answer; for speech, audio files to
            transcribe.
        settings: settings of the decoding search.
        n_best: number of answers per text, returned as `Prediction.alternatives`.
        seed: random seed of sampling.
        batch_size: number of texts per batch.
        device: cpu, cuda, or auto.
        trust: allow the run's config to name any class.
        engine: program that computes the model in place of PyTorch: "ctranslate2" or
            "onnxruntime".
        dtype: type of the weights in the engine; "int8" is fast.

    Raises:
        ValueError: the run does not exist, the engine cannot compute its model, or a setting is out
            of range or does not apply to the search.
    """
    from lslm_lightning.experiments.library import library_call

    if isinstance(texts, str):
        raise ValueError(f"texts must be a list of texts, but is {texts!r}")
    if batch_size < 1 or n_best < 1:
        raise ValueError(f"batch_size={batch_size} and n_best={n_best} must be at least 1")
    reference = fspath(run)
    with library_call(["generate", reference]):
        writer = Writer(reference, seed, batch_size, device, trust)
        writer.search_by(settings, n_best)
        if engine is not None:
            writer.task.answering.use_engine(engine, dtype)
        return list(writer.answers(texts))


class Writer:
    """Trained model that generates answers to texts, batch by batch.

    Args:
        run: a run that was found, or a reference as in `find_run`.
        seed: random seed of sampling.
        batch_size: number of texts per batch.
        device: cpu, cuda, or auto.
        trust: allow the run's config to name any class.

    Raises:
        ValueError: the run does not exist or cannot be used.

    Attributes:
        task: task with the loaded model.
        n_answer: number of texts answered so far.
        n_cut: number of answers so far that were cut off at the maximum number of tokens.
    """

    def __init__(
        self,
        run: "str | FoundRun",
        seed: int = 0,
        batch_size: int = 32,
        device: str = "auto",
        trust: bool = False,
    ) -> None:
        import torch

        from lslm_lightning.runs import load_run
        from lslm_lightning.systems.purpose import languages_of_answers
        from lslm_lightning.training.language_model import LanguageModel

        loaded = load_run(run, trust=trust)
        self.task = cast("Task", loaded.task)
        self.languages = languages_of_answers(loaded.directory, loaded.config)
        self.is_language_model = isinstance(self.task, LanguageModel)
        self.n_best = 1
        self.n_answer = 0
        self.n_cut = 0
        self.batch_size = batch_size
        self.device = usable_device(device)
        self.trust = trust
        self.task.to(self.device)
        torch.manual_seed(seed)

    def search_by(self, settings: SearchSettings, n_best: int = 1) -> None:
        """Set the decoding search of the model.

        Args:
            n_best: number of answers per text.

        Raises:
            ValueError: a setting is out of range, or does not apply to this task or its search.
        """
        check_magnitudes(vars(settings))
        apply_settings(self.task, settings, n_best)
        if (fusion := fusion_of(self.task, settings, self.device, self.trust)) is not None:
            self.task.answering.use_search(None, fusion)
        self.n_best = n_best

    def example(self, id: str, text: str) -> Example:
        """Return the example of a text, in the languages of the run's own test. If these are
        unknown, the language is told from the letters of the text.
        """
        example = self.task.answering.example(id, text)
        if self.languages is None:
            return example
        source, target = self.languages
        return replace(example, source_language=source, language=target)

    def answers(self, texts: Iterable[str]) -> Iterator[Prediction]:
        """Yield one prediction per text, in the order of `texts`."""
        source = iter(texts)
        writer = cast("WritingTask", self.task)
        while chunk := list(islice(source, self.batch_size)):
            first = self.n_answer
            examples = [self.example(str(first + i), text) for i, text in enumerate(chunk)]
            more = {} if self.n_best == 1 else {"n_best": self.n_best}  # which few tasks take
            found = {p.id: p for p in writer.generate(examples, **more)}
            self.n_answer += len(examples)
            self.n_cut += sum(p.finish_reason == "length" for p in found.values())
            yield from (found[example.id] for example in examples)


def apply_settings(task: "Task", settings: SearchSettings, n_best: int = 1) -> None:
    """Set the decoding search and length limits of a task.

    Args:
        n_best: number of answers per text.

    Raises:
        ValueError: a setting is out of range, or does not apply to this task or its search.
    """
    from lslm_lightning.decoding import CtcSearch
    from lslm_lightning.training.checks import check_lengths

    kind = type(task).__name__
    if n_best != 1 and not task.finds_n_best:
        raise ValueError(
            f"--n-best={n_best} does not apply to {kind}, which finds one answer; leave it out"
        )
    if task.search is None:
        names = ("search", "max_length", "min_length", *OPTIONS, *FUSION)
        if given := [option(name) for name in names if getattr(settings, name) is not None]:
            raise ValueError(
                f"{', '.join(given)} does not apply to {kind}, which writes nothing token by "
                "token; leave it out"
            )
        return
    search = chosen_search(task.search, settings, task.searches)
    task.search = search
    if n_best != 1 and isinstance(search, ManyAnswers):
        search.check_n_best(n_best)
    for name in ("max_length", "min_length"):
        if (value := getattr(settings, name)) is not None:
            if isinstance(search, CtcSearch):
                raise ValueError(
                    f"{option(name)} does not apply to {type(search).__name__}, which writes what "
                    "the frames say; leave it out"
                )
            setattr(task, name, value)
    writer = cast("WritingTask", task)
    check_lengths(writer.min_length, writer.max_length)


class WritingTask(Protocol):
    """Protocol of a task whose model generates answers to texts."""

    min_length: int
    max_length: int | None

    def generate(self, examples: Sequence[Example], n_best: int = 1) -> Iterable[Prediction]:
        """Yield one prediction per example.

        Args:
            n_best: number of answers per example.
        """


@runtime_checkable
class ManyAnswers(Protocol):
    """Protocol of a search that can return several answers per example."""

    def check_n_best(self, n_best: int) -> None:
        """Raise an error if the search cannot return `n_best` answers."""


def option(name: str) -> str:
    """Return the command-line option of a setting: "beam_size" becomes "--beam-size"."""
    return f"--{name.replace('_', '-')}"


def fusion_of(task: "Task", settings: SearchSettings, device: str, trust: bool) -> "Fusion | None":
    """Build the shallow fusion with the language model that `settings.fusion` names; None if it
    names none.

    Args:
        trust: allow the config of the language model's run to name any class.

    Raises:
        ValueError: the run does not exist or has another tokenizer, or `fusion_weight` or
            `length_bonus` is set without `fusion`.
    """
    from lslm_lightning.systems.fusion import ShallowFusion

    weights = {"weight": settings.fusion_weight, "length_bonus": settings.length_bonus}
    given = {name: value for name, value in weights.items() if value is not None}
    if settings.fusion is None:
        if given:
            raise ValueError(
                "--fusion-weight and --length-bonus are settings of a language model; name its "
                "run with --fusion"
            )
        return None
    return ShallowFusion(settings.fusion, **given, trust=trust).over(task.tokenizer, device)


def chosen_search(
    own: "AnySearch", settings: SearchSettings, searches: Sequence[type]
) -> "AnySearch":
    """Return the decoding search that results from applying settings to a run's own search.

    If `settings.search` names another kind, the defaults of that kind are used instead of the
    run's. A sampling search loses its fixed seed, so that random numbers continue from batch to
    batch.

    Args:
        own: search of the run.
        searches: kinds of search that the task supports, the preferred one first.

    Raises:
        ValueError: a setting does not apply to the search, or is out of range.
    """
    from lslm_lightning.decoding import Beam, CtcGreedy, CtcPrefixBeam, Greedy, JointBeam, Sampling

    called: dict[str, tuple[type, ...]] = {
        "greedy": (Greedy, CtcGreedy),
        "beam": (Beam, CtcPrefixBeam, JointBeam),
        "sampling": (Sampling,),
    }
    named = called[settings.search] if settings.search else (type(own),)
    kinds = [kind for family in searches for kind in named if issubclass(kind, family)]
    if not kinds and settings.search:
        raise ValueError(
            f"--search {settings.search} does not apply to this run, whose search is "
            f"{type(own).__name__}; leave it out"
        )
    is_kept = not kinds or isinstance(own, tuple(kinds))
    search = own if is_kept else cast("AnySearch", kinds[0]())
    known: set[str] = {field.name for field in fields(search)} if is_dataclass(search) else set()
    given = {name: value for name in OPTIONS if (value := getattr(settings, name)) is not None}
    if wrong := [option(name) for name in given if name not in known]:
        whose = (
            f"--search {settings.search}"
            if settings.search
            else f"this run's search, {type(search).__name__}"
        )
        raise ValueError(
            f"{', '.join(wrong)} does not apply to {whose}; leave it out, or choose another "
            "--search"
        )
    changes = given | ({"seed": None} if "seed" in known else {})
    if not changes or not is_dataclass(search):
        return search
    return replace(search, **changes)
