"""Forms of the page: the models that each is for, and the request that it makes."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lslm_lightning.experiments.generation import SearchSettings
from lslm_lightning.serving.protocol import AnswerRequest, ModelInfo, ServingError

Form = Mapping[str, str]  # values of the fields of a form, by name
NewId = Callable[[], int]

MOST_ALTERNATIVES = 4
N_ALTERNATIVE = 2
N_TOP = 5  # of the most probable tokens in the place of each token
HOTTEST = 2.0  # temperature
LARGEST = 2**31 - 1
N_SHOWN = 40  # characters of a wrong value


@dataclass(frozen=True)
class PageFunction:
    """Form of the page.

    Attributes:
        name: name in forms.
        task: task of the models that it is for.
        title: heading, in English.
        requests: function that returns the requests of a filled form to a model, numbered by the
            function that it is given.
    """

    name: str
    task: str
    title: str
    requests: Callable[[Form, ModelInfo, NewId], list[AnswerRequest]]

    def models(self, models: Sequence[ModelInfo]) -> list[ModelInfo]:
        """Return the models that the form can be sent to."""
        return [model for model in self.all_models(models) if model.modality != "frames"]

    def all_models(self, models: Sequence[ModelInfo]) -> list[ModelInfo]:
        """Return the models of the task, with those that read ready features and so take no form
        of the page.
        """
        return [model for model in models if model.task == self.task]


def translate(form: Form, model: ModelInfo, new_id: NewId) -> list[AnswerRequest]:
    """Return the requests for the translations of the lines of a text, with alternatives from a
    beam search.
    """
    n = 1
    if "n_best" in model.abilities:
        n += whole_number(form, "alternatives", 0, MOST_ALTERNATIVES) or 0
    lines = [line.strip() for line in text_of(form, "text").splitlines() if line.strip()]
    return [
        AnswerRequest(
            new_id(),
            model.name,
            source=line,
            settings=SearchSettings(search="beam" if n > 1 else None),
            n=n,
            best_of=n,
            with_attention="attention" in model.abilities and len(lines) == 1,
        )
        for line in lines
    ]


def summarize(form: Form, model: ModelInfo, new_id: NewId) -> list[AnswerRequest]:
    """Return the request for the summary of a text."""
    return [AnswerRequest(new_id(), model.name, source=text_of(form, "text"))]


def ask(form: Form, model: ModelInfo, new_id: NewId) -> list[AnswerRequest]:
    """Return the request for the answer to a question in a passage."""
    question = " ".join(text_of(form, "question").split())  # a line break ends the question
    source = f"{question}\n{text_of(form, 'passage')}"
    return [AnswerRequest(new_id(), model.name, source=source)]


def continue_text(form: Form, model: ModelInfo, new_id: NewId) -> list[AnswerRequest]:
    """Return the request for the continuation of a text, which may be empty."""
    temperature = positive_number(form, "temperature", HOTTEST)
    settings = SearchSettings(
        search=None if temperature is None else "sampling" if temperature else "greedy",
        temperature=temperature or None,
        max_length=whole_number(form, "max_tokens", 1, LARGEST),
    )
    return [
        AnswerRequest(
            new_id(),
            model.name,
            source=lines_of(form, "text"),
            settings=settings,
            seed=whole_number(form, "seed", 0, LARGEST) or 0,
            n_top=N_TOP if "stop" in model.abilities else None,
        )
    ]


def transcribe(form: Form, model: ModelInfo, new_id: NewId) -> list[AnswerRequest]:
    """Return the request for the transcript of the sound file at the path `sound`."""
    if not form.get("sound"):
        raise ServingError("sound is missing; choose a file", parameter="sound")
    return [AnswerRequest(new_id(), model.name, source=form["sound"])]


FUNCTIONS = (
    PageFunction("translate", "translation", "Translate", translate),
    PageFunction("summarize", "summarization", "Summarize", summarize),
    PageFunction("ask", "question_answering", "Ask about a passage", ask),
    PageFunction("continue", "language_modeling", "Continue a text", continue_text),
    PageFunction("transcribe", "speech_recognition", "Transcribe speech", transcribe),
)


def chosen_function(form: Form) -> PageFunction:
    """Return the function that a form names.

    Raises:
        ServingError: there is none of that name.
    """
    name = form.get("function", "")
    for function in FUNCTIONS:
        if function.name == name:
            return function
    names = ", ".join(function.name for function in FUNCTIONS)
    raise ServingError(f"function={name[:N_SHOWN]!r} must be one of {names}", parameter="function")


def chosen_model(form: Form, function: PageFunction, models: Sequence[ModelInfo]) -> ModelInfo:
    """Return the model that a form names; the first one that it can be sent to if it names none.

    Raises:
        ServingError: no such model is served, or it does not take this form.
    """
    able = function.models(models)
    name = form.get("model") or (able[0].name if able else "")
    for model in function.all_models(models):
        if model.name == name and model in able:
            return model
        if model.name == name:
            raise ServingError(
                f"model={name!r} reads frames of features, no sound; choose a model that reads "
                "sound",
                "unsupported",
                "model",
            )
    names = ", ".join(model.name for model in able) or "none"
    raise ServingError(
        f"model={name[:N_SHOWN]!r} cannot do this; the models that can: {names}",
        "unsupported",
        "model",
    )


def lines_of(form: Form, name: str) -> str:
    """Return the text of a field, with the line feeds that browsers send as CR LF."""
    return form.get(name, "").replace("\r\n", "\n")


def text_of(form: Form, name: str) -> str:
    """Return the text of a field.

    Raises:
        ServingError: it is empty.
    """
    text = lines_of(form, name)
    if not text.strip():
        raise ServingError(f"{name} is empty; type a text", parameter=name)
    return text


def whole_number(form: Form, name: str, low: int, high: int) -> int | None:
    """Return the number in a field; None if it is empty.

    Raises:
        ServingError: it is no whole number, or out of range.
    """
    given = form.get(name, "").strip()
    if not given:
        return None
    is_digits = given.isascii() and given.isdigit() and len(given) <= len(str(high))
    if not is_digits or not low <= int(given) <= high:
        raise ServingError(
            f"{name}={given[:N_SHOWN]!r} must be a whole number from {low} to {high}",
            parameter=name,
        )
    return int(given)


def positive_number(form: Form, name: str, high: float) -> float | None:
    """Return the number in a field; None if it is empty.

    Raises:
        ServingError: it is no number, or out of range.
    """
    given = form.get(name, "").strip()
    if not given:
        return None
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not 0 <= value <= high:
        raise ServingError(
            f"{name}={given[:N_SHOWN]!r} must be a number from 0 to {high:g}", parameter=name
        )
    return value
