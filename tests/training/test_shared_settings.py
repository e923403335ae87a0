"""Settings that a model and its data share are stated once, for the model."""

import warnings

import pytest

from lslm_lightning.models.transformer import Transformer
from tasks.question_answering.extractive.data import SpanData
from tasks.question_answering.extractive.task import SpanTask
from tasks.question_answering.extractive.windows import WindowSizes
from tasks.summarization.extractive.data import ExtractiveData
from tasks.summarization.extractive.task import ExtractiveTask
from tests.training.conftest import fit, language_task, translation_task

WINDOWS = {"max_length": 40, "stride": 8, "max_question_length": 10}


def test_a_language_model_gives_its_context_to_the_data(text, text_data):
    data = text_data(context=None)
    assert data.context == 256
    fit(language_task(data), data)
    assert data.context == 16
    assert data.train_stream.plan.context == 16


def test_sources_are_cut_where_the_model_stops_reading(translation_data):
    data = translation_data(truncate=True)
    fit(translation_task(data, max_source_length=4), data)
    assert data.max_source_length == 4
    assert data.encoded("train").lengths[:, 0].max() == 4
    with pytest.raises(
        ValueError, match=r"model\.max_source_length=None.* set max_source_length=256"
    ):
        fit(translation_task(data), translation_data(truncate=True))


def test_limits_of_training_pairs_are_of_the_data_alone(translation_data):
    data = translation_data(max_source_length=10)
    fit(translation_task(data, max_source_length=4), data)
    assert data.max_source_length == 10


def test_windows_and_features_are_those_of_the_model(translation_data):
    settings = {**WINDOWS, "overlap_features": False, "whole_words": False}
    backbone = Transformer(16, 2, n_encoder_layer=1, n_decoder_layer=0)
    task = SpanTask(backbone, translation_data().tokenizer, **settings)
    data = SpanData("a folder")
    data._tokenizer = task.tokenizer
    assert data.reader.overlap_features
    task.requirements.bind(data)
    assert data.reading == WindowSizes(**WINDOWS)
    assert (data.reader.overlap_features, data.reader.whole_words) == (False, False)


def test_documents_are_read_as_far_as_the_model_reads(translation_data):
    backbone = Transformer(16, 2, n_encoder_layer=1, n_decoder_layer=0)
    task = ExtractiveTask(backbone, translation_data().tokenizer, max_source_length=50)
    data = ExtractiveData("a folder")
    task.requirements.bind(data)
    assert data.max_source_length == 50


def test_both_may_state_what_is_equal(text_data):
    data = text_data(context=16)
    with pytest.warns(FutureWarning, match=r"data\.context=16 repeats model\.context"):
        language_task(data).requirements.bind(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        language_task(data).requirements.bind(text_data(context=None))


def test_what_differs_is_refused_by_name(text_data):
    data = text_data(context=32)
    with pytest.raises(ValueError, match=r"model\.context=16 and data\.context=32 must be equal"):
        language_task(data).requirements.bind(data)
    with pytest.raises(ValueError, match=r"must be equal"):
        fit(language_task(data), data)
