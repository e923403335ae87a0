"""Messages between the process that speaks HTTP and the engine process that has the models.

This module imports neither torch nor a web framework, so that either process can use it.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from lslm_lightning.experiments.generation import SearchSettings


class ServingError(ValueError):
    """A request cannot be answered; the message is one line for the client.

    Attributes:
        kind: "invalid" (the request is wrong), "not_found" (there is no such model), "too_long" (a
            text has too many tokens), "unsupported" (the model has no such ability), "timeout",
            "overloaded" (the queue is full), "unavailable" (the engine is being started again) or
            "internal".
        parameter: field of the request that is wrong; None if it is none.
    """

    def __init__(self, message: str, kind: str = "invalid", parameter: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.parameter = parameter


# To the engine


@dataclass(frozen=True)
class EngineSettings:
    """Settings of an engine.

    Args:
        names: name of each run in requests; by default that of its directory or registered model.
        device: cpu, cuda, or auto.
        engine: program that computes the models in place of PyTorch: "ctranslate2" or
            "onnxruntime".
        dtype: type of the weights in that program.
        n_row: most rows of a model's batches: answers, or hypotheses of beam searches.
        trust: allow the configs of the runs to name any class.
        n_thread: threads of torch; None for the cores of the machine.
    """

    names: tuple[str, ...] = ()
    device: str = "auto"
    engine: str | None = None
    dtype: str = "float32"
    n_row: int = 320
    trust: bool = False
    n_thread: int | None = None


@dataclass(frozen=True)
class EngineRequest:
    """Request to the engine.

    Args:
        id: number of the request, unique among those of a server.
        model: name of the model.
        max_seconds: time until the request is ended with what it has; it counts from its arrival
            in the engine.
    """

    id: int
    model: str
    max_seconds: float = 600.0


@dataclass(frozen=True)
class AnswerRequest(EngineRequest):
    """Request for answers to one text: a continuation, translation, summary, answer or transcript.

    Without any setting, the answer is that of `lslm generate` for the same text and seed.

    Args:
        source: text to continue, translate, summarize or answer, as `lslm generate` takes it ("a
            question, a line break, a passage" for question answering); token ids of a prompt; for
            speech, the path of a sound file.
        messages: conversation as (role, text) pairs, for a model with a chat template, in place of
            `source`.
        settings: settings of the decoding search; None keeps those of the run.
        n: number of answers to return.
        best_of: number of answers to search, of which the `n` with the highest log p are returned;
            at least `n`.
        seed: random seed of sampling, as `lslm generate --seed`.
        stop: texts that end an answer, and are not part of it.
        logit_bias: (token id, number added to its logit) pairs.
        presence_penalty: number subtracted from the logit of each token that the answer has.
        frequency_penalty: number subtracted from the logit of a token for each time that the
            answer has it.
        n_top: return the log p of each token, and of this many of the most probable tokens; None
            for no log p of tokens.
        echo: put the prompt before the answer, with the log p of its tokens if `n_top` is given.
            With `settings.max_length` 0, the answer is the prompt alone.
        streams: send a `AnswerPart` for each part of the answers, before the `Answered` at the end.
            Answers of a beam search come in one piece.
        with_attention: return the attention from the tokens of the answer to those of the source.
    """

    source: str | tuple[int, ...] = ""
    messages: tuple[tuple[str, str], ...] | None = None
    settings: SearchSettings = field(default_factory=SearchSettings)
    n: int = 1
    best_of: int = 1
    seed: int = 0
    stop: tuple[str, ...] = ()
    logit_bias: tuple[tuple[int, float], ...] = ()
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    n_top: int | None = None
    echo: bool = False
    streams: bool = False
    with_attention: bool = False


@dataclass(frozen=True)
class ScoreRequest(EngineRequest):
    """Request for the log probabilities of given answers after a source, or of a text.

    Args:
        source: text that the model reads first; None to score each of `answers` as a text of its
            own, which language models do.
        answers: texts to score.
    """

    source: str | None = None
    answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cancel:
    """Notice that nobody waits for the answer to a request any more.

    Args:
        id: number of the request.
    """

    id: int


# From the engine


@dataclass(frozen=True)
class ServedModelInfo:
    """Description of a model that is served.

    Attributes:
        name: name by which requests call it.
        run: directory of the run, or the reference under which it was given.
        task: "language_modeling", "translation", "summarization", "question_answering" or
            "speech_recognition"; None if the task is the user's own.
        abilities: what it can do: "generate" (token by token), "answer" (anything else that gives
            answers), "sample", "beam", "n_best", "log_prob", "chat", "attention", "span", "stream",
            "stop" (`stop`, `logit_bias`, penalties and log p of tokens).
        source_language: code of the language that it reads; None if unknown.
        target_language: code of the language that it writes; None if unknown.
        modality: "text", "audio" or "frames" (ready features, no sound).
        max_length: most new tokens of an answer in the run's own settings; None for no limit.
        max_context: most tokens of a prompt or source; None for no limit.
        vocab_size: number of tokens.
        n_parameter: number of parameters.
        created: time of its weights, in seconds since 1970.
        directory: run directory; "" if it has none.
    """

    name: str
    run: str
    task: str | None
    abilities: frozenset[str]
    source_language: str | None
    target_language: str | None
    modality: str
    max_length: int | None
    max_context: int | None
    vocab_size: int
    n_parameter: int
    created: int
    directory: str = ""


@dataclass(frozen=True)
class TokenInfo:
    """Token of an answer.

    Attributes:
        text: text of the token.
        id: number of the token.
        log_p: natural logarithm of its probability under the model; None for the first token of a
            prompt.
        offset: index of its first character in the answer (in prompt and answer with `echo`).
        top: the most probable tokens in its place, as (text, id, log p), the best first.
    """

    text: str
    id: int
    log_p: float | None
    offset: int
    top: tuple[tuple[str, int, float], ...] = ()


@dataclass(frozen=True)
class AttentionMap:
    """Attention from the tokens of an answer to those of its source: mean over the heads of the
    last decoder layer.

    Attributes:
        source: text of each of S tokens of the source.
        target: text of each of T tokens of the answer.
        weights: T rows of S weights, each of which adds up to 1.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class ServedAnswer:
    """Answer of a model.

    Attributes:
        text: text of the answer.
        finish_reason: "stop" at the end of sequence or a text of `stop`, else "length" or
            "timeout".
        n_token: number of new tokens, the end of sequence and a text of `stop` included.
        log_p: log probability of these tokens; None where the search gives none.
        tokens: tokens of the text with their log p, if asked for.
        span: offsets (first, one past the last) of the answer in the passage, for a model that
            marks it; None otherwise, or without an answer.
        no_answer_score: how much the model prefers to give no answer, as it compares it with its
            threshold; None for other models.
        attention: attention to the source, if asked for.
    """

    text: str
    finish_reason: Literal["stop", "length", "timeout"]
    n_token: int
    log_p: float | None = None
    tokens: tuple[TokenInfo, ...] = ()
    span: tuple[int, int] | None = None
    no_answer_score: float | None = None
    attention: AttentionMap | None = None


@dataclass(frozen=True)
class ScoredAnswer:
    """Log probability of a given answer.

    Attributes:
        log_p: natural logarithm of its probability.
        n_token: number of tokens that were scored.
    """

    log_p: float
    n_token: int


@dataclass(frozen=True)
class AnswerPart:
    """Next part of an answer of a request that streams.

    Attributes:
        id: number of the request.
        index: number of the answer, below `n`.
        text: text of the part, which may be empty; no character is cut in two.
        tokens: its tokens, if their log p was asked for.
        finish_reason: reason for the end, with the last part; else None.
    """

    id: int
    index: int
    text: str
    tokens: tuple[TokenInfo, ...] = ()
    finish_reason: str | None = None


@dataclass(frozen=True)
class AnswerTimes:
    """Times of the answers to one text in the engine, in Unix seconds.

    Attributes:
        begun: it began to read the prompt, or to answer as a whole; None if it did not.
        read: it had read the prompt and found the first token; None if it did not, or if the model
            answers as a whole.
        ended: all answers were found.
        n_row: rows of the model's batches, those of the request included, when it joined them.
    """

    begun: float | None
    read: float | None
    ended: float
    n_row: int


@dataclass(frozen=True)
class Answered:
    """End of an `AnswerRequest`.

    Attributes:
        id: number of the request.
        answers: the `n` answers, the best first; of a request that streams, in the order of
            `AnswerPart.index`.
        n_prompt_token: number of tokens of the prompt or source.
        n_cached_token: number of these that the prompt cache had.
        n_token: number of new tokens of all answers that were searched.
        n_cut_token: number of tokens of the prompt or source that were not read, because it is too
            long; a request is not refused for them where `lslm generate` cuts too.
        times: times in the engine; None where it tells none.
    """

    id: int
    answers: tuple[ServedAnswer, ...]
    n_prompt_token: int
    n_cached_token: int = 0
    n_token: int = 0
    n_cut_token: int = 0
    times: AnswerTimes | None = None


@dataclass(frozen=True)
class ScoredAnswers:
    """End of a `ScoreRequest`.

    Attributes:
        id: number of the request.
        answers: scores, in the order of the request.
    """

    id: int
    answers: tuple[ScoredAnswer, ...]


@dataclass(frozen=True)
class Refusal:
    """End of a request that cannot be answered; the fields are those of `ServingError`."""

    id: int
    message: str
    kind: str = "invalid"
    parameter: str | None = None


@dataclass(frozen=True)
class Models:
    """Notice that these models are ready; sent at the start, and when an alias moved.

    Attributes:
        models: all models, in the order of the command line.
    """

    models: tuple[ServedModelInfo, ...]


@dataclass(frozen=True)
class EngineLoad:
    """Figures of the engine, sent about once a second while it works.

    Attributes:
        n_running: number of requests that are being answered.
        n_waiting: number of requests that wait for room.
        n_row: number of rows of the last batch.
        n_token: number of tokens written since the engine began.
    """

    n_running: int
    n_waiting: int
    n_row: int
    n_token: int


Message: TypeAlias = AnswerRequest | ScoreRequest | Cancel
Event: TypeAlias = AnswerPart | Answered | ScoredAnswers | Refusal | Models | EngineLoad
