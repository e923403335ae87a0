"""What a data module of one's own may change: nothing that was cached for another is taken."""

from dataclasses import replace

import pytest

from lslm_lightning.text.recipes import Characters
from lslm_lightning.training.data import TaskData
from tasks.language_modeling.data import LanguageModelingData
from tasks.translation.data import TranslationData
from tests.training.conftest import fit, language_task


class Backwards(TranslationData):
    """The same rows, other texts."""

    def to_pairs(self, row):
        return [(source.upper(), target) for source, target in super().to_pairs(row)]


class Shouted(LanguageModelingData):
    def texts(self, split):
        return (text.upper() for text in super().texts(split))


def test_the_tokenizer_of_a_class_of_ones_own_is_made_from_its_texts(pairs):
    def made(kind):
        return kind(str(pairs), Characters(), source_language="en", target_language="de").tokenizer

    plain = made(TranslationData)
    own = made(Backwards)
    assert plain.unk_id in plain.encode("RED")
    assert own.unk_id not in own.encode("RED")


def test_packed_ids_are_those_of_the_class(text):
    plain, own = (
        kind(str(text), Characters(), context=16, batch_size=4)
        for kind in (LanguageModelingData, Shouted)
    )
    for data in (plain, own):
        data._tokenizer = Shouted(str(text), Characters(), context=16, batch_size=4).tokenizer
    assert not (plain.packed("train").ids == own.packed("train").ids).all()
    assert own.tokenizer.decode(own.packed("train").ids[1:4].tolist()).isupper()


def test_a_row_without_references_counts_as_empty(translation_data, monkeypatch):
    data = translation_data()
    monkeypatch.setattr(
        data,
        "to_example",
        lambda row: replace(TranslationData.to_example(data, row), references=()),
    )
    assert data.to_pairs(data.rows("train")[0])[0][1] == ""
    data._tokenizer = translation_data().tokenizer
    assert len(data.encoded("train")) == 0
    assert data.counts["train_empty_left_out"] == 60


def test_a_batch_of_an_exam_counts_what_is_read(translation_data):
    """Sources that will be cut share a batch with others as if they were cut."""
    cut, whole = (
        translation_data(eval_batch_tokens=40, max_source_length=4, truncate=cut)
        for cut in (True, False)
    )
    for data in (cut, whole):
        batches = data.evaluation_batches(data.examples("test"))
        assert sorted(e.id for batch in batches for e in batch) == sorted(
            e.id for e in data.examples("test")
        )
        assert (len(batches) == 1) == (data is cut)


@pytest.mark.slow
@pytest.mark.parametrize("unknown", [False, True])
def test_validation_gives_no_bits_per_byte_where_characters_are_unknown(text, text_data, unknown):
    (text / "val.txt").write_text(("red cat 红 " if unknown else "red cat ") * 20)
    data = text_data()
    trainer = fit(language_task(data), data, limit_val_batches=1.0, val_check_interval=2)
    assert ("val/bits_per_byte" in trainer.callback_metrics) == (not unknown)
    assert data.counts["val_unknown_tokens"] == (20 if unknown else 0)


def test_own_code_is_that_of_classes_outside_of_the_project(translation_data):
    assert translation_data().own_code() == ""
    assert "upper()" in TaskData.own_code(Backwards.__new__(Backwards))


@pytest.mark.parametrize("name", ["seed", "n_validation_example", "num_workers"])
def test_a_negative_number_is_refused_when_the_data_are_set_up(name, translation_data):
    with pytest.raises(ValueError, match=f"^{name}=-1 must be at least 0$"):
        translation_data(**{name: -1})


def test_the_texts_of_a_split_are_encoded_once(translation_data):
    data = translation_data()
    assert data.encoded("val") is data.encoded("val")
