"""Forms of the page: the models that each is for, and the requests that it makes."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from lslm_lightning.reports.words import words
from lslm_lightning.serving.errors import ApiError, shown
from lslm_lightning.serving.fields import SearchFields
from lslm_lightning.serving.page.problems import OWN
from lslm_lightning.serving.protocol import AnswerRequest, ServedModelInfo, ServingError
from lslm_lightning.serving.service import AnswerService
from lslm_lightning.serving.task_requests import TranscriptionFields
from lslm_lightning.serving.task_routes import task_request, transcriber

Form = Mapping[str, str]  # values of the fields of a form, by name

NO_FILE = "“{field}” is empty; choose a file."
NO_TEXT = "“{field}” is empty; type a text."
NO_NUMBER = "“{field}” must be a number from 0 to {high}, not {given}."
NO_WHOLE_NUMBER = "“{field}” must be a whole number from {low} to {high}, not {given}."
MOST_ALTERNATIVES = 4
N_ALTERNATIVE = 2
N_TOP = 5  # of the most probable tokens in the place of each token
HOTTEST = 2.0  # temperature
LARGEST = 2**31 - 1


@dataclass(frozen=True)
class PageFunction:
    """Form of the page.

    Attributes:
        name: name in forms.
        task: task of the models that it is for.
        title: heading, in English.
        purpose: what its models do, for messages.
        labels: label of each field, in English, by its name.
        requests: function that returns the requests of a filled form to a model.
    """

    name: str
    task: str
    title: str
    purpose: str
    labels: Mapping[str, str]
    requests: Callable[[AnswerService, Form, ServedModelInfo], list[AnswerRequest]]

    def models(self, models: Sequence[ServedModelInfo]) -> list[ServedModelInfo]:
        """Return the models that the form can be sent to."""
        return [model for model in self.all_models(models) if model.modality != "frames"]

    def all_models(self, models: Sequence[ServedModelInfo]) -> list[ServedModelInfo]:
        """Return the models of the task, with those that read ready features and so take no form
        of the page.
        """
        return [model for model in models if model.task == self.task]


def translate(service: AnswerService, form: Form, model: ServedModelInfo) -> list[AnswerRequest]:
    """Return the requests for the translations of the lines of a text, with alternatives from a
    beam search.
    """
    n = 1
    if "n_best" in model.abilities:
        n += whole_number(form, "alternatives", 0, MOST_ALTERNATIVES) or 0
    fields = SearchFields.model_validate({"search": "beam"} if n > 1 else {})
    lines = [line.strip() for line in text_of(form, "text").splitlines() if line.strip()]
    service.check_texts("text", [*map(len, lines)], n)
    has_attention = "attention" in model.abilities and len(lines) == 1
    return [
        replace(
            task_request(service, model, fields, line),
            n=n,
            best_of=n,
            with_attention=has_attention,
        )
        for line in lines
    ]


def summarize(service: AnswerService, form: Form, model: ServedModelInfo) -> list[AnswerRequest]:
    """Return the request for the summary of a text."""
    text = text_of(form, "text")
    service.check_texts("text", [len(text)])
    return [task_request(service, model, SearchFields.model_validate({}), text)]


def ask(service: AnswerService, form: Form, model: ServedModelInfo) -> list[AnswerRequest]:
    """Return the request for the answer to a question in a passage."""
    question = " ".join(text_of(form, "question").split())  # a line break ends the question
    source = f"{question}\n{text_of(form, 'passage')}"
    service.check_texts("passage", [len(source)])
    return [task_request(service, model, SearchFields.model_validate({}), source)]


def continue_text(
    service: AnswerService, form: Form, model: ServedModelInfo
) -> list[AnswerRequest]:
    """Return the request for the continuation of a text, which may be empty."""
    given = {
        "temperature": positive_number(form, "temperature", HOTTEST),
        "max_tokens": whole_number(form, "max_tokens", 1, LARGEST),
        "seed": whole_number(form, "seed", 0, LARGEST),
    }
    fields = SearchFields.model_validate(given)
    text = lines_of(form, "text")
    service.check_texts("text", [len(text)])
    n_top = N_TOP if "stop" in model.abilities else None
    return [replace(task_request(service, model, fields, text), n_top=n_top)]


def transcribe(service: AnswerService, form: Form, model: ServedModelInfo) -> list[AnswerRequest]:
    """Return the request for the transcript of the sound file at the path `sound`."""
    if not form.get("sound"):
        raise wrong_field(form, "sound", NO_FILE)
    return [task_request(service, model, SearchFields.model_validate({}), form["sound"])]


MODEL = "Model"
FUNCTIONS = (
    PageFunction(
        "translate",
        "translation",
        "Translate",
        "translates",
        {"model": MODEL, "text": "Text to translate", "alternatives": "Alternatives"},
        translate,
    ),
    PageFunction(
        "summarize",
        "summarization",
        "Summarize",
        "summarizes",
        {"model": MODEL, "text": "Text to summarize"},
        summarize,
    ),
    PageFunction(
        "ask",
        "question_answering",
        "Ask about a passage",
        "answers questions",
        {"model": MODEL, "question": "Question", "passage": "Passage that has the answer"},
        ask,
    ),
    PageFunction(
        "continue",
        "language_modeling",
        "Continue a text",
        "continues texts",
        {
            "model": MODEL,
            "text": "Beginning of the text",
            "temperature": "Temperature",
            "max_tokens": "Most tokens",
            "seed": "Seed",
        },
        continue_text,
    ),
    PageFunction(
        "transcribe",
        "speech_recognition",
        "Transcribe speech",
        "transcribes speech",
        {"model": MODEL, "sound": "Sound file"},
        transcribe,
    ),
)
FIELD_OF = {  # field of a form, by the parameter that an error of the engine or of a route names
    "q": "text",
    "prompt": "text",
    "source": "text",
    "answers": "text",
    "context": "passage",
    "file": "sound",
}


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
    raise ServingError(f"function={shown(name)} must be one of {names}", parameter="function")


def chosen_model(service: AnswerService, form: Form, function: PageFunction) -> ServedModelInfo:
    """Return the model that a form names; the first of its task if it names none.

    Raises:
        ApiError: no such model is served, it has another task, or it reads no sound.
    """
    name = form.get("model") or None
    if function.task == "speech_recognition":
        return transcriber(service, TranscriptionFields.model_validate({"model": name}))
    return service.model(name, lambda each: each.task == function.task, function.purpose)


def label_of(form: Form, parameter: str | None) -> str:
    """Return the label, in English, of the field that an error names; "" if the form has none."""
    labels = next((each.labels for each in FUNCTIONS if each.name == form.get("function")), {})
    return labels.get(FIELD_OF.get(parameter or "", parameter or ""), "")


def wrong_field(form: Form, name: str, rule: str, **values: object) -> ApiError:
    """Return the error for a field of a form, in the language of the interface.

    Args:
        rule: sentence in English, with {field} for the label and further fields for `values`.
    """
    label = words(label_of(form, name))
    return ApiError(400, words(rule).format(field=label, **values), name, OWN)


def lines_of(form: Form, name: str) -> str:
    """Return the text of a field, with the line feeds that browsers send as CR LF."""
    return form.get(name, "").replace("\r\n", "\n")


def text_of(form: Form, name: str) -> str:
    """Return the text of a field.

    Raises:
        ApiError: it is empty.
    """
    text = lines_of(form, name)
    if not text.strip():
        raise wrong_field(form, name, NO_TEXT)
    return text


def whole_number(form: Form, name: str, low: int, high: int) -> int | None:
    """Return the number in a field; None if it is empty.

    Raises:
        ApiError: it is no whole number, or out of range.
    """
    given = form.get(name, "").strip()
    if not given:
        return None
    is_digits = given.isascii() and given.isdigit() and len(given) <= len(str(high))
    if not is_digits or not low <= int(given) <= high:
        raise wrong_field(form, name, NO_WHOLE_NUMBER, given=shown(given), low=low, high=high)
    return int(given)


def positive_number(form: Form, name: str, high: float) -> float | None:
    """Return the number in a field; None if it is empty.

    Raises:
        ApiError: it is no number, or out of range.
    """
    given = form.get(name, "").strip()
    if not given:
        return None
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not 0 <= value <= high:
        raise wrong_field(form, name, NO_NUMBER, given=shown(given), high=f"{high:g}")
    return value
