"""Extractive question answering: predicts the start and end of the answer in its passage.

Axes: B windows, S tokens, D d_model.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
import torchmetrics
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from lslm_lightning.adapters.low_rank import Adapter
from lslm_lightning.contracts import Alternative, Example, Metric, Mode, Prediction
from lslm_lightning.models.backbone import Backbone
from lslm_lightning.models.dropout import Dropout
from lslm_lightning.models.heads import TiedHead, upcast_to_float32
from lslm_lightning.models.linear import PaddedLinear
from lslm_lightning.optim import Schedule
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.batches import on_device
from lslm_lightning.training.checks import check_encodes_only
from lslm_lightning.training.optimizer_settings import ADAMW, COSINE
from lslm_lightning.training.span_model import MarkedAnswer, ScoredPair, SpanModel
from lslm_lightning.training.task import LABEL_SMOOTHING
from tasks.question_answering.data import Question, as_question
from tasks.question_answering.extractive.answerability import AnswerabilityHead
from tasks.question_answering.extractive.decoding import (
    apply_threshold,
    best_span,
    best_threshold,
    ranked_answers,
    span_scores,
)
from tasks.question_answering.extractive.features import FEATURE_SIZES, unpack_features
from tasks.question_answering.extractive.requirements import SpanRequirements
from tasks.question_answering.extractive.windows import (
    AnswerWindowBatch,
    Passage,
    Window,
    WindowReader,
    WindowSizes,
)
from tasks.question_answering.task import QuestionAnswering, QuestionAnsweringTask

KINDS = 2  # question and passage
# padded positions of windows in one batch, however many windows one question has
MAX_POSITIONS = 2**17


class SpanAnswering(QuestionAnswering):
    """Answers of a `SpanTask`, with a threshold that is calibrated in validation."""

    task: "SpanTask"
    calibrates = True

    def cut_sources(self, examples: Sequence[Example]) -> tuple[int, str]:
        longest = self.task.sizes.max_question_length
        asked = [as_question(example).asked for example in examples]
        n_cut = sum(len(ids) > longest for ids in self.task.tokenizer.encode_batch(asked))
        return n_cut, f"questions were read up to max_question_length={longest} tokens"

    def signature(self, mode: Mode) -> str:
        return f"|source:{self.task.sizes.max_length}-by-{self.task.sizes.stride}"

    def calibrate(
        self, examples: Sequence[Example], predictions: Sequence[Prediction]
    ) -> list[Prediction]:
        task = self.task
        by_id = {prediction.id: prediction for prediction in predictions}
        every = [by_id[example.id] for example in examples]
        answers = [no_answer_last(prediction.alternatives) for prediction in every]
        task.threshold.fill_(best_threshold(examples, answers))
        if math.isfinite(threshold := float(task.threshold)):
            task.log("val/threshold", threshold)
        return [
            task.prediction(example, apply_threshold(found, threshold), prediction.seconds)
            for example, found, prediction in zip(examples, answers, every, strict=True)
        ]


class SpanTask(QuestionAnsweringTask, SpanModel):
    """Extractive question answering: an encoder reads question and passage and scores each token as
    the first and as the last token of the answer. The first token of all, `<s>`, stands for no
    answer. Source: Devlin et al. 2019, sections 4.2 and 4.3.

    With an `answerability_head`, a separate head predicts whether there is an answer, and plausible
    answers of unanswerable questions are trained on, too.

    A backbone without its own vocabulary also reads, for each token, whether it belongs to the
    question or the passage, and its word-overlap features (`features.word_features`). Long passages
    are read in windows, see `WindowSizes`.

    If a passage may have no answer, none is given if its log p exceeds that of the best span by
    more than `threshold`. Every validation in training sets `threshold` to the value that maximizes
    F1. It is saved with the weights.

    Arguments that are not listed are those of `Task`.

    Args:
        backbone: encoder over tokens, without a decoder.
        flow: called with d_model; returns a module that encodes question and passage separately and
            combines them, such as `AttentionFlow`. By default the backbone reads them as one text.
        max_length: largest number of tokens of a window; see `WindowSizes`.
        stride: see `WindowSizes`.
        max_question_length: see `WindowSizes`.
        max_answer_length: largest number of tokens of an answer.
        n_alternative: number of answers that a prediction lists, besides no answer.
        overlap_features: compute word-overlap features; false for a pretrained network, which reads
            ids alone.
        whole_words: restrict answers to begin and end at word boundaries of `text.chinese.segment`.
        answerability_head: called with d_model; returns an `AnswerabilityHead`. By default no
            answer is one of the candidates.
        word_dropout: share of tokens that lose their word embedding in training, so that only their
            features remain.
        scale_embedding: multiply token vectors by sqrt(d_model), to match the scale of the outputs
            of layers.
    """

    changeable = (
        *("max_length", "stride", "max_question_length"),
        *("max_answer_length", "n_alternative", "word_dropout"),
    )
    answering_class = SpanAnswering
    requirements_class = SpanRequirements

    def __init__(
        self,
        backbone: Backbone,
        tokenizer: Tokenizer,
        flow: Callable[[int], nn.Module] | None = None,
        max_length: int = WindowSizes.max_length,
        stride: int = WindowSizes.stride,
        max_question_length: int = WindowSizes.max_question_length,
        max_answer_length: int = 30,
        n_alternative: int = 5,
        overlap_features: bool = True,
        whole_words: bool = True,
        answerability_head: Callable[[int], AnswerabilityHead] | None = None,
        word_dropout: float = 0.0,
        scale_embedding: bool = True,
        optimizer: OptimizerCallable = ADAMW,
        schedule: Schedule = COSINE,
        label_smoothing: float = LABEL_SMOOTHING,
        extra_metrics: list[Metric | torchmetrics.Metric] | None = None,
        adapter: Adapter | None = None,
    ) -> None:
        super().__init__(
            backbone, tokenizer, optimizer, schedule, label_smoothing, extra_metrics, adapter
        )
        check_encodes_only("backbone", backbone, "finds answers")
        for name, value in (
            ("max_answer_length", max_answer_length),
            ("n_alternative", n_alternative),
        ):
            if value < 1:
                raise ValueError(
                    f"{name}={value} must be at least 1; 30 tokens and 5 alternatives are usual"
                )
        needs_features = answerability_head is not None or word_dropout > 0
        check_overlap_features(overlap_features, backbone, needs_features)
        self.max_answer_length = max_answer_length
        self.n_alternative = n_alternative
        self.sizes = WindowSizes(max_length, stride, max_question_length)
        self.reader = WindowReader(tokenizer, self.sizes, overlap_features, whole_words)
        self.sizes.check(self.reader.frame)
        embedding, _ = backbone.embedding_and_head(tokenizer.vocab_size, TiedHead, scale_embedding)
        self.embedding = embedding  # type: ignore[assignment]
        self.marks = backbone.feature_embeddings(
            (KINDS, *(FEATURE_SIZES if overlap_features else ()))
        )
        self.flow = None if flow is None else flow(backbone.d_model)
        self.ends = PaddedLinear(backbone.d_model, 2)
        self.answerability_head = (
            None if answerability_head is None else answerability_head(backbone.d_model)
        )
        self.word_dropout = Dropout(word_dropout)
        self.register_buffer("threshold", torch.tensor(torch.inf))

    def scores(self, batch: AnswerWindowBatch) -> Tensor:
        """Return the log probabilities (B, S, 2) that a token is the first and the last of the
        answer. The first token of all stands for no answer.

        Only the sum of a start and an end is meaningful. With an answerability head, the first
        token has its log p of no answer, and its log p of an answer is added to all other tokens,
        half to the start and half to the end.
        """
        log_probs, log_odds = self.candidate_log_probs(batch)
        if log_odds is None:
            return log_probs
        # (B, 1, 2)
        some, none = (
            F.logsigmoid(odds)[:, None, None].expand(-1, 1, 2) / 2 for odds in (log_odds, -log_odds)
        )
        return torch.cat([none, log_probs[:, 1:] + some], 1)

    def candidate_log_probs(self, batch: AnswerWindowBatch) -> tuple[Tensor, Tensor | None]:
        """Return the log probabilities (B, S, 2) of start and end, and the log-odds (B,) of an
        answer from the answerability head, or None without the head.

        The first token of all stands for no answer; with the head, for an answer in another window.
        """
        scores, log_odds = self.token_scores(batch)
        least = torch.finfo(scores.dtype).min
        return scores.masked_fill(~batch.candidate, least).log_softmax(1), log_odds

    def token_scores(self, batch: AnswerWindowBatch) -> tuple[Tensor, Tensor | None]:
        """Return the scores (B, S, 2) of all tokens as start and as end, and the log-odds (B,) of
        an answer from the answerability head, or None without the head.
        """
        kinds = [
            batch.kind,
            *(unpack_features(batch.features) if self.reader.overlap_features else ()),
        ]
        words = self.embedding(batch.source)
        if self.training and self.word_dropout.p:
            words = words * self.word_dropout(words.new_ones(*words.shape[:2], 1))
        x = self.marks(words, *kinds)
        # (B, S, D)
        y = (
            self.backbone.encode(x, batch.source_pad)
            if self.flow is None
            else self.flow(self.backbone, x, batch)
        )
        head = self.answerability_head
        return upcast_to_float32(self.ends(y)), None if head is None else head(x, batch)

    def loss(self, batch: AnswerWindowBatch, label_smoothing: float = LABEL_SMOOTHING) -> Tensor:
        """Return the nats of start and end, summed over all windows.

        With an answerability head, windows without a known start and end are left out of this sum,
        plausible answers count as known, and the nats of the head are added. Label smoothing does
        not apply to the head.
        """
        log_probs, log_odds = self.candidate_log_probs(batch)
        right = torch.stack([batch.start, batch.end], -1).long()
        if log_odds is None:
            right = right * batch.has_answer[:, None]
        nats = -log_probs.gather(1, right.clamp(min=0)[:, None])[:, 0]  # (B, 2)
        if label_smoothing:
            smooth = -log_probs.masked_fill(~batch.candidate, 0.0).sum(1) / batch.candidate.sum(1)
            nats = (1 - label_smoothing) * nats + label_smoothing * smooth
        if log_odds is None:
            return nats.sum()
        placed = nats.masked_fill(right < 0, 0.0).sum()
        return placed + F.binary_cross_entropy_with_logits(
            log_odds, batch.has_answer.to(log_odds.dtype), reduction="sum"
        )

    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        """Yield the answer to each example, in order."""
        yield from self.answer(examples)

    def answer(self, examples: Sequence[Example]) -> list[Prediction]:
        began = perf_counter()
        questions = [as_question(example) for example in examples]
        found = [
            apply_threshold(answers, self.active_threshold)
            for answers in self.ranked_answers(questions)
        ]
        seconds = (perf_counter() - began) / len(examples)
        return [
            self.prediction(example, answers, seconds)
            for example, answers in zip(examples, found, strict=True)
        ]

    def prediction(
        self, example: Example, answers: Sequence[Alternative], seconds: float
    ) -> Prediction:
        """Return a prediction with the first of `answers` as its output and all of them as
        alternatives.
        """
        best = answers[0]
        n_token = len(self.tokenizer.encode(best.output))
        return Prediction(
            example.id, best.output, best.nats, n_token, seconds, alternatives=tuple(answers)
        )

    @property
    def active_threshold(self) -> float:
        """Threshold in use: 0 while a validation determines the threshold, otherwise
        `threshold`.
        """
        return 0.0 if self.answering.is_calibrating else float(self.threshold)

    @torch.no_grad()
    def ranked_answers(self, questions: Sequence[Question]) -> list[list[Alternative]]:
        """Return the best answers to each question, followed by no answer, as
        `decoding.ranked_answers` does.
        """
        readings = list(self.reader.read(questions))
        rows = self.window_scores([window for _, own in readings for window in own])
        return [
            self.passage_answers(q, passage, own, rows)
            for q, (passage, own) in zip(questions, readings, strict=True)
        ]

    def window_scores(self, windows: Sequence[Window]) -> Iterator[np.ndarray]:
        """Yield the `scores` (at least S, 2) of each window as float64."""
        n = max(1, MAX_POSITIONS // max(len(window.ids) for window in windows))
        for first in range(0, len(windows), n):
            batch = self.reader.batch(windows[first : first + n])
            yield from self.scores(on_device(batch, self.device)).double().cpu().numpy()

    @torch.no_grad()
    def first_windows(self, examples: Sequence[Example]) -> list[ScoredPair]:
        readings = self.reader.read([as_question(example) for example in examples])
        batch = self.reader.batch([windows[0] for _, windows in readings])
        scores, _ = self.token_scores(on_device(batch, self.device))
        return [
            ScoredPair(ids[:n].tolist(), kinds[:n].tolist(), row[:n])
            for ids, kinds, row, n in zip(
                batch.source, batch.kind, scores, (~batch.source_pad).sum(1), strict=True
            )
        ]

    @torch.no_grad()
    def marked_answer(self, example: Example) -> MarkedAnswer:
        question = as_question(example)
        [(passage, windows)] = self.reader.read([question])
        pairs = zip(windows, self.window_scores(windows), strict=True)
        scores, nothing = span_scores(pairs, len(passage.ids), self.max_answer_length)
        text = question.passage
        found = ranked_answers(scores, nothing, text, passage, self.n_alternative)
        best = apply_threshold(found, self.active_threshold)[0]
        span = best_span(scores, text, passage, best.output) if best.output else None
        return MarkedAnswer(best.output, span, best.nats, found[0].nats - found[-1].nats)

    def answer_rules(self) -> list[str]:
        sizes = self.sizes
        rules = [
            f"a passage is read in windows of {sizes.max_length} tokens, each {sizes.stride} after "
            f"the one before, behind at most {sizes.max_question_length} tokens of the question",
            "whitespace in a question becomes single spaces, with none around it",
            "scores are the log-softmax of the logits in a window, over the first token and those "
            "where an answer may begin, or end; of several windows, an answer has its highest "
            "sum, and the first token its lowest",
            f"an answer has at most {self.max_answer_length} tokens",
        ]
        if self.reader.whole_words:
            rules.append("an answer begins and ends at the border of a word")
        if math.isfinite(threshold := float(self.threshold)):
            rules.append(
                "there is no answer where the scores of the first token exceed those of the best "
                f"answer by more than {threshold:.4g}"
            )
        return rules

    def passage_answers(
        self,
        question: Question,
        passage: Passage,
        windows: Sequence[Window],
        rows: Iterator[np.ndarray],
    ) -> list[Alternative]:
        """Return the best answers to one question, followed by no answer.

        Args:
            rows: iterator over the scores of windows; the next ones belong to `windows`.
        """
        pairs = [(window, next(rows)) for window in windows]
        scores, nothing = span_scores(pairs, len(passage.ids), self.max_answer_length)
        return ranked_answers(scores, nothing, question.passage, passage, self.n_alternative)


def check_overlap_features(used: bool, backbone: Backbone, needed: bool) -> None:
    """Raise an error if word-overlap features do not fit the model.

    Args:
        used: the setting `overlap_features`.
        needed: whether another setting of the task needs the features.

    Raises:
        ValueError: the backbone cannot read the features, or they are needed and not used.
    """
    if used and backbone.tokenizer_digest is not None:
        raise ValueError(
            f"overlap_features=true does not fit backbone={type(backbone).__name__}, which reads "
            "ids alone: set it to false"
        )
    if needed and not used:
        raise ValueError(
            "overlap_features=false does not fit answerability_head and word_dropout, which need "
            "the word-overlap features: set it to true, or set neither of them"
        )


def no_answer_last(answers: Sequence[Alternative]) -> list[Alternative]:
    """Return the answers with no answer moved to the end, as in `decoding.ranked_answers`."""
    return sorted(answers, key=lambda answer: answer.output == "")
