"""Configs of the runs of the last release, in that release's words, and what is done with each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Settings = Mapping[str, Any]

STEPS = 120
MORE_STEPS = 4  # that a run is trained on
TRAINER = {
    "accelerator": "cpu",
    "devices": 1,
    "precision": "32-true",
    "max_steps": STEPS,
    "val_check_interval": STEPS,
    "log_every_n_steps": STEPS // 2,
    "enable_progress_bar": False,
}
OPTIMIZER = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.02, "weight_decay": 0.01}}


@dataclass(frozen=True)
class Recipe:
    """A run: its task, its config, and a text that is given to the trained model.

    Args:
        options: of `lslm generate`.
        n_interrupting_step: interrupt the training after so many steps; None to let it end.
        is_resumed: train the run on for `MORE_STEPS`.
    """

    task: str
    model: Settings
    data: Settings
    source: str
    job: Settings = field(default_factory=dict)
    trainer: Settings = field(default_factory=dict)
    options: tuple[str, ...] = ()
    n_interrupting_step: int | None = None
    is_resumed: bool = True

    def config(self) -> dict[str, Any]:
        """Return the whole content of the config file."""
        job = {"keep_last": 1, "save_every_minutes": None, **self.job}
        trainer = {**TRAINER, **self.trainer}
        return {"model": self.model, "data": self.data, "trainer": trainer, "job": job}


def spec(class_path: str, **init_args: Any) -> dict[str, Any]:
    """Return the `class_path` and `init_args` of an object."""
    return {"class_path": class_path, **({"init_args": init_args} if init_args else {})}


def transformer(n_encoder_layer: int, n_decoder_layer: int) -> dict[str, Any]:
    """Return a Transformer of width 8."""
    return spec(
        "lslm_lightning.models.transformer.Transformer",
        d_model=8,
        n_head=2,
        d_feedforward=8,
        n_encoder_layer=n_encoder_layer,
        n_decoder_layer=n_decoder_layer,
        dropout=0.1,
    )


def lstm(n_encoder_layer: int, n_decoder_layer: int) -> dict[str, Any]:
    """Return an LSTM of width 8."""
    return spec(
        "lslm_lightning.models.recurrent.LSTM",
        d_model=8,
        n_encoder_layer=n_encoder_layer,
        n_decoder_layer=n_decoder_layer,
        dropout=0.1,
    )


def without_width(backbone: Settings) -> dict[str, Any]:
    """Return the same backbone, its width left to the task."""
    init_args = {name: value for name, value in backbone["init_args"].items() if name != "d_model"}
    return spec(backbone["class_path"], **init_args)


def trained_for(n_step: int) -> dict[str, int]:
    """Return settings of a trainer that validates once, at the end."""
    return {"max_steps": n_step, "val_check_interval": n_step, "log_every_n_steps": n_step // 2}


ASKED = "Where does Emil live?\tCarl lives in Rome. Dora lives in Old Town. Emil lives in Lima."
SHORT = ("--max-length", "40")
CHARACTERS = spec("lslm_lightning.text.recipes.Characters")
WORDS = spec("lslm_lightning.text.recipes.Words")
COSINE = spec("lslm_lightning.optim.Cosine", warmup_steps=4, floor=0.5)
POINTER = spec("lslm_lightning.models.heads.PointerGenerator")
GREEDY = spec("lslm_lightning.decoding.Greedy")
TEXT = spec(
    "tasks.language_modeling.data.LanguageModelingData",
    corpus="corpora/text",
    tokenizer=CHARACTERS,
    context=16,
    batch_size=4,
)
NGRAM_TEXT = spec(
    "tasks.language_modeling.data.LanguageModelingData",
    corpus="corpora/text",
    tokenizer=CHARACTERS,
)
COMMON = {"optimizer": OPTIMIZER, "schedule": COSINE}
WINDOWS = {"max_length": 40, "stride": 8, "max_question_length": 10}
RECIPES = {
    "transformer_lm": Recipe(
        "language_modeling",
        spec(
            "tasks.language_modeling.task.LanguageModelingTask",
            context=16,
            backbone=transformer(0, 1),
            **COMMON,
        ),
        TEXT,
        "red green",
        options=SHORT,
        job={"keep_last": 2, "keep_best": 2},
        trainer={"val_check_interval": 40},
    ),
    "lstm_lm": Recipe(
        "language_modeling",
        spec(
            "tasks.language_modeling.task.LanguageModelingTask",
            context=16,
            backbone=lstm(0, 1),
            optimizer={**OPTIMIZER, "init_args": {"lr": 0.1}},
            schedule=COSINE,
        ),
        TEXT,
        "one cat",
        options=SHORT,
        job={"average": 3, "save_every_steps": 50},
        trainer=trained_for(60) | {"val_check_interval": 10},
    ),
    "interrupted_lm": Recipe(
        "language_modeling",
        spec(
            "tasks.language_modeling.task.LanguageModelingTask",
            context=16,
            backbone=lstm(0, 1),
            **COMMON,
        ),
        {**TEXT, "init_args": {**TEXT["init_args"], "contiguous": True}},
        "two",
        options=SHORT,
        n_interrupting_step=4,
        trainer={"log_every_n_steps": 4, "max_steps": 400, "val_check_interval": 400},
    ),
    "ngram_lm": Recipe(
        "language_modeling",
        spec("tasks.language_modeling.ngram.NgramTask", order=3),
        NGRAM_TEXT,
        "blue dog",
        options=SHORT,
        is_resumed=False,
    ),
    "translation": Recipe(
        "translation",
        spec(
            "tasks.translation.task.TranslationTask",
            max_length=12,
            label_smoothing=0.1,
            backbone=transformer(1, 1),
            search=spec("lslm_lightning.decoding.Beam", beam_size=2),
            **COMMON,
        ),
        spec(
            "tasks.translation.data.TranslationData",
            corpus="corpora/pairs",
            source_language="en",
            target_language="zh",
            tokenizer=CHARACTERS,
            max_tokens=200,
            n_validation_example=4,
        ),
        "red cat sleeps",
        trainer={"accumulate_grad_batches": 2},
    ),
    "summarization": Recipe(
        "summarization",
        spec(
            "tasks.summarization.task.SummarizationTask",
            max_length=10,
            max_source_length=30,
            head=POINTER,
            search=GREEDY,
            backbone=transformer(1, 1),
            **COMMON,
        ),
        spec(
            "tasks.summarization.data.SummarizationData",
            corpus="corpora/documents",
            tokenizer=WORDS,
            max_source_length=30,
            max_target_length=10,
            max_tokens=300,
            n_validation_example=4,
        ),
        "A red cat sleeps on one dog. The green bird has dog sleeps.",
    ),
    "summarization_extractive": Recipe(
        "summarization",
        spec(
            "tasks.summarization.extractive.ExtractiveTask",
            k=1,
            max_source_length=40,
            backbone=transformer(1, 0),
            sentence_backbone=without_width(transformer(1, 0)),
            **COMMON,
        ),
        spec(
            "tasks.summarization.extractive_data.ExtractiveData",
            corpus="corpora/documents",
            k=1,
            tokenizer=WORDS,
            max_source_length=40,
            max_tokens=300,
            n_validation_example=4,
        ),
        "The green bird has dog sleeps. A red cat sleeps on one dog.",
    ),
    "answer_spans": Recipe(
        "question_answering",
        spec(
            "tasks.question_answering.spans.SpanTask",
            backbone=transformer(1, 0),
            judge=spec("tasks.question_answering.judge.Judge", d_inner=8),
            **WINDOWS,
            **COMMON,
        ),
        spec(
            "tasks.question_answering.span_data.SpanData",
            corpus="corpora/questions",
            language="en",
            tokenizer=WORDS,
            max_tokens=300,
            n_validation_example=8,
            **WINDOWS,
        ),
        ASKED,
    ),
    "generated_answers": Recipe(
        "question_answering",
        spec(
            "tasks.question_answering.task.GenerativeTask",
            max_length=10,
            max_source_length=110,
            search=GREEDY,
            backbone=lstm(1, 1),
            **COMMON,
        ),
        spec(
            "tasks.question_answering.data.GenerativeData",
            corpus="corpora/questions",
            language="en",
            tokenizer=CHARACTERS,
            max_source_length=110,
            max_target_length=10,
            max_tokens=600,
            n_validation_example=4,
        ),
        ASKED,
        trainer=trained_for(600),
    ),
    "speech_recognition": Recipe(
        "speech_recognition",
        spec(
            "tasks.speech_recognition.task.SpeechRecognitionTask",
            front_end=spec(
                "lslm_lightning.audio.front_end.Waveforms", sample_rate_hz=8000, n_mel=8
            ),
            subsampling=spec(
                "lslm_lightning.models.subsampling.Subsampling", stride=2, n_channel=2
            ),
            augment=spec("lslm_lightning.audio.spec_augment.SpecAugment", frequency_width=2),
            tempo=0.1,
            backbone=transformer(1, 1),
            search=spec("lslm_lightning.decoding.JointBeam", beam_size=2),
            validation_search=spec("lslm_lightning.decoding.CtcGreedy"),
            ctc_weight=0.5,
            max_length=8,
            **COMMON,
        ),
        spec(
            "tasks.speech_recognition.data.SpeechData",
            corpus="corpora/spoken",
            tokenizer=CHARACTERS,
            max_frames=300,
            n_validation_example=4,
        ),
        "corpora/spoken/test/24.wav",
        trainer=trained_for(1500),
    ),
}

EVALUATED = {  # tasks, and what reads the test split of their runs
    "language_modeling": (
        "tasks.language_modeling.task.LanguageModelingTask",
        spec("tasks.language_modeling.data.LanguageModelingData", corpus="corpora/text"),
    ),
    "translation": (
        "tasks.translation.task.TranslationTask",
        spec(
            "tasks.translation.data.TranslationData",
            corpus="corpora/pairs",
            source_language="en",
            target_language="zh",
        ),
    ),
    "summarization": (
        "tasks.summarization.task.SummarizationTask",
        spec("tasks.summarization.data.SummarizationData", corpus="corpora/documents"),
    ),
    "question_answering": (
        "tasks.question_answering.task.QuestionAnsweringTask",
        spec(
            "tasks.question_answering.data.GenerativeData",
            corpus="corpora/questions",
            language="en",
        ),
    ),
    "speech_recognition": (
        "tasks.speech_recognition.task.SpeechRecognitionTask",
        spec("tasks.speech_recognition.data.SpeechData", corpus="corpora/spoken"),
    ),
}


def evaluation(task: str) -> dict[str, Any]:
    """Return a config of `lslm evaluate` with every tested run of a task."""
    kind, data = EVALUATED[task]
    runs = {
        name: spec("lslm_lightning.systems.checkpoint.Checkpoint", run=f"runs/{task}/{name}")
        for name, recipe in RECIPES.items()
        if recipe.task == task and recipe.n_interrupting_step is None
    }
    return {"task": kind, "data": data, "systems": runs, "n_resample": 50}
