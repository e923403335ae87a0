"""Speech recognition: an encoder over audio frames with a CTC head, an attention decoder, or both.

Axes: B recordings, T frames, F features, T' encoder output vectors, D d_model, V vocabulary, L
tokens.
"""

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
import torchmetrics
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from lslm_lightning.adapters.low_rank import Adapter
from lslm_lightning.audio.front_end import FrontEnd, Waveforms
from lslm_lightning.audio.spec_augment import SpecAugment
from lslm_lightning.audio.tempo import retimed
from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.decoding import AnySearch, CtcGreedy, CtcSearch, JointSearch, Search
from lslm_lightning.decoding.search import Nested
from lslm_lightning.metrics.error_rate import CharacterErrorRate, WordErrorRate
from lslm_lightning.models.backbone import Backbone
from lslm_lightning.models.heads import Head, TiedHead, upcast_to_float32
from lslm_lightning.models.linear import PaddedLinear
from lslm_lightning.models.subsampling import FrameReduction, Subsampling
from lslm_lightning.optim import Schedule
from lslm_lightning.text.languages import writes_spaces
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.checks import LONGEST, MIN_LENGTH, check_lengths
from lslm_lightning.training.optimizer_settings import ADAMW, COSINE
from lslm_lightning.training.task import LABEL_SMOOTHING, SEARCH_SETTINGS, Task
from tasks.speech_recognition.data import MODALITY, SpeechBatch, Utterance, stacked
from tasks.speech_recognition.evaluation import SpeechAnswering, SpeechReport
from tasks.speech_recognition.requirements import SpeechRequirements

# log of 0 that keeps the gradient of torch's ctc_loss finite, unlike minus infinity
LOG_ZERO = -1e4


class EncoderOutput(NamedTuple):
    """Encoder output for a batch of recordings."""

    memory: Tensor  # (B, T', D)
    pad: Tensor  # (B, T') bool, True where padded
    lengths: Tensor  # (B,) int64, vectors


class SpeechRecognitionTask(Task):
    """Speech recognition by CTC, an attention decoder, or both. Frames are subsampled and read by
    an encoder. The loss is `ctc_weight` * CTC loss + (1 - `ctc_weight`) * decoder loss.

    The id of the CTC blank follows the ids of the tokenizer. WER and CER are jiwer's; the best
    checkpoint has the lowest WER.

    Source: Graves et al. 2006, "Connectionist temporal classification"; Chan et al. 2016, "Listen,
    attend and spell"; Watanabe et al. 2017, "Hybrid CTC/attention architecture for end-to-end
    speech recognition", section II.B.

    Arguments that are not listed are those of `Task`.

    Args:
        backbone: an encoder; with a decoder, unless `ctc_weight` is 1.
        front_end: computes features of audio files: `Waveforms`, or `Frames` if the files have
            features.
        subsampling: called with the number of features and d_model: `Subsampling`, or `Stacking`
            for cepstra.
        augment: masking of features in training; called without arguments. The default widths suit
            80 features and a large model; with fewer, or a small one, set narrower ones.
        tempo: largest random change of the speed of recordings in training, as a share: 0.1 for 10
            %.
        ctc_weight: weight of CTC in the loss, from 1 (CTC alone) to 0 (decoder alone); 0.3 is usual
            for both.
        head: output layer of the decoder; called with (vocab_size, d_model).
        search: search for transcripts: `CtcGreedy` or `CtcPrefixBeam` with CTC, `Greedy` or `Beam`
            with the decoder, `JointBeam` with both, or with the decoder and a language model.
        validation_search: search in validation, usually a cheaper one; by default `search`.
        max_length: largest number of tokens that the decoder writes; None for 1.5 times the length
            of the longest training transcript.
        min_length: smallest number of tokens that the decoder writes.
    """

    backbone: Backbone
    search: AnySearch
    validation_search: AnySearch
    max_length: int
    min_length: int
    changeable = (*SEARCH_SETTINGS, "augment", "tempo", "ctc_weight")
    answering_class = SpeechAnswering
    requirements_class = SpeechRequirements
    report_class = SpeechReport

    monitor = "val/wer"
    higher_is_better = False
    headline = "wer"
    modality = MODALITY

    def __init__(
        self,
        backbone: Backbone,
        tokenizer: Tokenizer,
        front_end: FrontEnd = Waveforms(),  # noqa: B008 (frozen)
        subsampling: Callable[[int, int], FrameReduction] = Subsampling,
        augment: Callable[[], SpecAugment] = SpecAugment,
        tempo: float = 0.0,
        ctc_weight: float = 1.0,
        head: Callable[[int, int], Head] = TiedHead,
        search: AnySearch = CtcGreedy(),  # noqa: B008 (frozen)
        validation_search: AnySearch | None = None,
        max_length: int | None = None,
        min_length: int = MIN_LENGTH,
        optimizer: OptimizerCallable = ADAMW,
        schedule: Schedule = COSINE,
        label_smoothing: float = LABEL_SMOOTHING,
        extra_metrics: list[Metric | torchmetrics.Metric] | None = None,
        adapter: Adapter | None = None,
    ) -> None:
        if backbone.tokenizer_digest is not None:
            raise ValueError(
                f"backbone={type(backbone).__name__} reads token ids, not sound: choose a "
                "Transformer or an LSTM"
            )
        super().__init__(
            backbone, tokenizer, optimizer, schedule, label_smoothing, extra_metrics, adapter
        )
        check_network(backbone, ctc_weight, tempo)
        check_lengths(min_length, max_length)
        self.front_end = front_end
        self.tempo = tempo
        self.ctc_weight = ctc_weight
        self.max_length = LONGEST if max_length is None else max_length
        self.has_open_length = max_length is None and ctc_weight < 1
        self.min_length = min_length
        self.subsampling = subsampling(front_end.n_feature, backbone.d_model)
        self.augment = augment()
        self.ctc = PaddedLinear(backbone.d_model, tokenizer.vocab_size + 1) if ctc_weight else None
        self.embedding = None
        self.head = None
        if backbone.n_decoder_layer:
            self.embedding, self.head = backbone.embedding_and_head(
                tokenizer.vocab_size, head, scale_embedding=True
            )
        self.search = search
        self.validation_search = validation_search or search
        check_searches(self)

    @property
    def blank(self) -> int:
        """Id of the CTC blank."""
        return self.tokenizer.vocab_size

    @property
    def searches(self) -> tuple[type, ...]:  # type: ignore[override]  # depends on the heads
        """Base classes of the searches that fit the heads of this model."""
        by_ctc = self.ctc_weight > 0
        by_decoder = self.ctc_weight < 1
        return tuple(
            kind
            for kind, can in ((CtcSearch, by_ctc), (Search, by_decoder), (JointSearch, by_decoder))
            if can
        )

    # Loss

    def encode(self, features: Tensor, lengths: Tensor) -> EncoderOutput:
        """Return the encoder output for padded features (B, T, F) with `lengths` (B,) in frames."""
        x, lengths = self.subsampling(features, lengths)
        pad = torch.arange(x.size(1), device=x.device) >= lengths[:, None]
        # the residual stream keeps its precision under autocast
        return EncoderOutput(self.backbone.encode(x.to(features.dtype), pad), pad, lengths)

    def log_probs(self, encoded: EncoderOutput) -> Tensor:
        """Return the CTC log probabilities (B, T', V + 1) of all tokens and the blank at each
        encoder output, in float32 or higher. Special tokens have probability 0.
        """
        special = torch.tensor(
            [self.tokenizer.pad_id, self.tokenizer.bos_id, self.tokenizer.eos_id],
            device=encoded.memory.device,
        )
        assert self.ctc is not None
        return (
            upcast_to_float32(self.ctc(encoded.memory))
            .index_fill(-1, special, LOG_ZERO)
            .log_softmax(-1)
        )

    def loss(self, batch: SpeechBatch, label_smoothing: float = LABEL_SMOOTHING) -> Tensor:
        features = batch.features
        lengths = batch.lengths
        if self.training:
            features, lengths = self.perturb(features, lengths, batch.target)
        encoded = self.encode(features, lengths)
        nats = features.new_zeros(())
        if self.ctc_weight:
            nats = nats + self.ctc_weight * self.ctc_nats(encoded, batch.target)
        if self.ctc_weight < 1:
            assert self.embedding is not None
            assert self.head is not None
            y, _ = self.backbone.decode(
                self.embedding(batch.target[:, :-1]), memory=encoded.memory, memory_pad=encoded.pad
            )
            own = self.head.nats(
                y,
                cast("Tensor", self.embedding.weight),
                batch.target[:, 1:],
                self.tokenizer.pad_id,
                label_smoothing,
            )
            nats = nats + (1 - self.ctc_weight) * own
        return nats

    def ctc_nats(self, encoded: EncoderOutput, target: Tensor) -> Tensor:
        """Return the CTC loss, summed over the transcripts `target` (B, L), which run from `<s>` to
        `</s>`.
        """
        n_label = (target != self.tokenizer.pad_id).sum(1) - 2
        log_probs = self.log_probs(encoded).transpose(0, 1)  # (T', B, V + 1)
        return F.ctc_loss(
            log_probs, target[:, 1:], encoded.lengths, n_label, self.blank, reduction="sum"
        )

    def perturb(self, features: Tensor, lengths: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and lengths after a random change of tempo and random masking. A
        recording keeps its tempo if it would become too short for its transcript.
        """
        if self.tempo:
            factor = 1 + self.tempo * (2 * torch.rand(len(lengths), device=lengths.device) - 1)
            wanted = (lengths / factor).round().long().clamp(min=1)
            enough = self.subsampling.out_length(wanted) >= n_needed(target, self.tokenizer.pad_id)
            wanted = torch.where(enough, wanted, lengths)
            features = retimed(features, lengths, wanted)
            lengths = wanted
        return self.augment(features, lengths), lengths

    # Generation

    @torch.no_grad()
    def decode(
        self, encoded: EncoderOutput, search: AnySearch, max_length: int | None = None
    ) -> list[list[int]]:
        """Return the token ids of the best transcript of each recording that `search` finds.

        Args:
            max_length: largest number of tokens; by default `max_length` of the task.
        """
        if isinstance(search, CtcSearch):
            return [
                list(found[0].ids)
                for found in search(
                    self.log_probs(encoded), encoded.lengths, self.blank, self.fusion
                )
            ]

        def step(ids: Tensor, state: Nested, shared: Nested) -> tuple[Tensor, Nested]:
            assert self.embedding is not None
            assert self.head is not None
            cross_attention, pad = shared
            y, state = self.backbone.decode(
                self.embedding(ids), memory=cross_attention, memory_pad=pad, state=state
            )
            return self.head(y[:, -1:], self.embedding.weight)[:, -1], state

        start = torch.full(
            (len(encoded.memory), 1), self.tokenizer.bos_id, device=encoded.memory.device
        )
        shared = (self.backbone.precompute_cross_attention(encoded.memory), encoded.pad)
        longest = max_length or self.max_length
        limits = (self.tokenizer.eos_id, longest, min(self.min_length, longest))
        agree = self.answering.all_ranks_done
        if isinstance(search, JointSearch):
            by_ctc = self.ctc_weight > 0
            decoded = search(
                step,
                start,
                shared,
                *limits,
                log_probs=self.log_probs(encoded) if by_ctc else None,
                lengths=encoded.lengths if by_ctc else None,
                blank=self.blank if by_ctc else 0,
                fusion=self.fusion,
                all_ranks_done=agree,
            )
        else:
            decoded = search(step, start, shared, *limits, all_ranks_done=agree)
        return [
            ids[:n] for ids, n in zip(decoded.ids.tolist(), decoded.n_token.tolist(), strict=True)
        ]

    @torch.no_grad()
    def encode_examples(self, examples: Sequence[Example]) -> EncoderOutput:
        """Read recordings and return their encoder output.

        Raises:
            ValueError: a recording cannot be read.
        """
        features, lengths = stacked(
            [
                self.front_end(example.read(), example.source)
                for example in cast(Sequence[Utterance], examples)
            ]
        )
        on_device = features.to(self.device, self.dtype)  # type: ignore[arg-type]  # no text here
        return self.encode(on_device, lengths.to(self.device))

    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        """Yield the transcript of each recording, in order."""
        yield from self.answer(examples)

    def answer(self, examples: Sequence[Example]) -> list[Prediction]:
        began = perf_counter()
        validating = self._trainer is not None and self.trainer.validating
        search = self.validation_search if validating else self.search
        rows = self.decode(self.encode_examples(examples), search)
        seconds = (perf_counter() - began) / len(examples)
        by_ctc = isinstance(search, CtcSearch)  # has no limit on the length of the output
        return [
            Prediction(
                example.id,
                self.tokenizer.decode(ids),
                n_token=len(ids),
                seconds=seconds,
                finish_reason="stop" if by_ctc or ids[-1:] == [self.tokenizer.eos_id] else "length",
            )
            for example, ids in zip(examples, rows, strict=True)
        ]

    # Evaluation

    @classmethod
    def metrics(cls, language: str) -> list[Metric]:
        """Return WER and CER. CER comes first for languages written without spaces."""
        both: list[Metric] = [WordErrorRate(language), CharacterErrorRate()]
        return both if writes_spaces(language) else both[::-1]


def n_needed(target: Tensor, pad_id: int) -> Tensor:
    """Return the number (B,) of encoder vectors that CTC needs to emit the transcripts `target` (B,
    L), which run from `<s>` to `</s>`; compare `frames_needed`.
    """
    repeated = (target[:, 1:] == target[:, :-1]) & (target[:, 1:] != pad_id)
    return (target != pad_id).sum(1) - 2 + repeated.sum(1)


def check_network(backbone: Backbone, ctc_weight: float, tempo: float) -> None:
    """Check that the backbone has the layers that CTC and the decoder need.

    Raises:
        ValueError: the layers do not fit `ctc_weight`, or `ctc_weight` or `tempo` is out of range.
    """
    if not 0.0 <= ctc_weight <= 1.0:
        raise ValueError(
            f"ctc_weight={ctc_weight} must be from 0 (the decoder alone) to 1 (CTC alone); "
            "0.3 is usual for both"
        )
    if not 0.0 <= tempo < 1.0:
        raise ValueError(f"tempo={tempo} must be at least 0 and below 1; 0.1 is usual")
    if not backbone.n_encoder_layer:
        raise ValueError("n_encoder_layer=0 must be at least 1: the encoder reads the recordings")
    if (ctc_weight == 1.0) != (backbone.n_decoder_layer == 0):
        way_out = (
            "lower ctc_weight to 0.3"
            if backbone.n_decoder_layer
            else "add decoder layers, or set ctc_weight=1"
        )
        raise ValueError(
            f"ctc_weight={ctc_weight} does not fit n_decoder_layer={backbone.n_decoder_layer}: "
            f"only ctc_weight=1, CTC alone, has no decoder; {way_out}"
        )


def check_searches(task: SpeechRecognitionTask) -> None:
    """Check that the searches, and the settings of the decoder, fit the heads of the task.

    Raises:
        ValueError: a search does not fit, or a setting has no effect.
    """
    for name, chosen in (
        ("search", task.search),
        ("validation_search", task.validation_search),
    ):
        if not isinstance(chosen, task.searches):
            kinds = ", ".join(kind.__name__ for kind in task.searches)
            raise ValueError(
                f"{name}={type(chosen).__name__} does not fit ctc_weight={task.ctc_weight}; "
                f"choose a {kinds}"
            )
        if isinstance(chosen, JointSearch) and chosen.uses_ctc and not task.ctc_weight:
            raise ValueError(
                f"{name}={chosen} uses CTC scores, and model.ctc_weight=0 has no CTC head; set "
                "ctc_weight of the search to 0 too"
            )
    if task.label_smoothing and task.ctc_weight == 1.0:
        raise ValueError(
            f"label_smoothing={task.label_smoothing} applies to the decoder, and ctc_weight=1 "
            "has none; set it to 0"
        )
    if task.min_length and isinstance(task.search, CtcSearch):
        raise ValueError(
            f"min_length={task.min_length} applies to the decoder, and search={task.search} uses "
            "CTC alone; set it to 0"
        )
