"""Speech recognition: what can be learned from, losses that agree with torch's, and answers that
padding does not change.
"""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F

from lslm_lightning.audio.encoding import FLAC, encoded
from lslm_lightning.audio.front_end import Frames, Waveforms
from lslm_lightning.audio.spec_augment import SpecAugment
from lslm_lightning.contracts import CannotError, Prediction
from lslm_lightning.decoding import Beam, CtcGreedy, CtcPrefixBeam, Greedy, JointBeam
from lslm_lightning.evaluation.harness import collect_predictions
from lslm_lightning.models.positions import Learned
from lslm_lightning.models.recurrent import LSTM
from lslm_lightning.models.subsampling import Subsampling
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.optim import Constant
from lslm_lightning.reports.blocks import Report
from lslm_lightning.reports.page import MAX_BYTES, render_html, render_markdown, write_report
from lslm_lightning.reports.recordings import Sound
from lslm_lightning.systems.baselines import CopySource
from lslm_lightning.systems.batches import by_length
from lslm_lightning.text.recipes import Characters
from lslm_lightning.training.footprint import footprint
from tasks.speech_recognition.data import SpeechBatch, SpeechData, Utterance
from tasks.speech_recognition.evaluation import SpeechAnswering
from tasks.speech_recognition.report import chosen, picture, recordings, sections, token_marks
from tasks.speech_recognition.task import SpeechRecognitionTask, n_needed
from tasks.translation.data import TranslationData
from tests.support.tone_corpus import RATE_HZ, tones, wav, write_spoken
from tests.training.conftest import assert_resumes_exactly, fit

FRONT_END = Waveforms(RATE_HZ, n_mel=20)
FAMILIES = {
    "transformer": lambda n: Transformer(32, 2, n_encoder_layer=1, n_decoder_layer=n, dropout=0.0),
    "lstm": lambda n: LSTM(32, n_encoder_layer=1, n_decoder_layer=n, dropout=0.0),
}
HEADS = {"ctc": 1.0, "both": 0.3, "decoder": 0.0}
SEARCHES = {"ctc": CtcPrefixBeam(4), "both": JointBeam(3), "decoder": Beam(3)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSLM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., SpeechData]:
    def make(n_train: int = 24, **settings) -> SpeechData:
        folder = tmp_path / "spoken"
        if not folder.exists():
            write_spoken(folder, n_train)
        return SpeechData(
            str(folder),
            **{"tokenizer": Characters(), "max_frames": 400, "n_validation_example": 4} | settings,
        )

    return make


def task_of(
    data: SpeechData,
    family: str = "transformer",
    heads: str = "ctc",
    dropout: float = 0.0,
    **settings,
) -> SpeechRecognitionTask:
    torch.manual_seed(0)
    backbone = FAMILIES[family](0 if heads == "ctc" else 1)
    plain = {
        "augment": partial(SpecAugment, 0, 0, 0, 0),
        "search": SEARCHES[heads],
        "max_length": 20,
    }
    options = plain | {
        "front_end": FRONT_END,
        "subsampling": partial(Subsampling, stride=2, n_channel=8),
        "ctc_weight": HEADS[heads],
    }
    task = SpeechRecognitionTask(backbone, data.tokenizer, **options | settings)
    task.requirements.bind(data)
    return task


def doubled(batch: SpeechBatch) -> SpeechBatch:
    return batch._replace(features=batch.features.double())


# What is learned from


def test_rows_become_utterances(made):
    data = made()
    example = data.examples("test")[0]
    assert isinstance(example, Utterance)
    assert (example.source, example.modality, example.text, example.speaker) == (
        "test/0.wav",
        "sound",
        "",
        "otto",
    )
    assert example.read()[:4] == b"RIFF"
    # a few words, and nobody says of which language
    assert (data.language, example.language) == ("und-Latn", "und-Latn")


def test_a_transcript_needs_a_vector_each_and_one_between_equals(made, tmp_path, capsys):
    """Four letters, two of them equal neighbours: five vectors of two frames each, of a hop of 80
    samples.
    """
    data = made()
    rows = [json.loads(line) for line in (tmp_path / "spoken/train.jsonl").read_text().splitlines()]
    # 1 + n // hop frames: 8 and 9, which are 4 and 5 vectors
    lengths = {"short": 7 * 80, "enough": 8 * 80}
    for name, n in lengths.items():
        (tmp_path / f"spoken/{name}.wav").write_bytes(wav(tones("abcd")[:n]))
        rows.append({"audio": f"{name}.wav", "text": "abbc", "speaker": "otto"})
    (tmp_path / "spoken/train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = made()
    task = task_of(data)
    encoded = data.encoded("train")
    assert data.counts["train_too_short_left_out"] == 1
    assert len(encoded) == len(rows) - 1
    said = [line for line in capsys.readouterr().out.splitlines() if line]
    assert len(said) == 1
    assert "1 of 26 recordings of train have transcripts longer than" in said[0]
    assert said[0].endswith("short.wav")
    assert n_needed(encoded[[len(rows) - 2]].target, data.tokenizer.pad_id).tolist() == [5]
    assert torch.isfinite(task.loss(encoded[[len(rows) - 2]]))
    decoder = task_of(made(), heads="decoder")
    other = made()
    decoder.requirements.bind(other)
    assert len(other.encoded("train")) == len(rows), (
        "a decoder can write more than there are vectors"
    )


BAD = {
    "empty": (b"", "is empty, not audio"),
    "no sound": (b"these are words", "cannot be read as audio"),
    "cut off": (wav(tones("abc"))[:1500], "is cut off|cannot be read"),
    "silent": (wav(np.zeros(0)), "has no samples"),
}


@pytest.mark.slow
@pytest.mark.parametrize("harm", BAD)
def test_what_cannot_be_read_is_refused_by_name_or_left_out(harm, made, tmp_path, capsys):
    made()
    data, words = BAD[harm]
    (tmp_path / "spoken/train/3.wav").write_bytes(data)
    refused = made()
    task_of(refused)
    with pytest.raises(ValueError, match=rf"train/3.wav .*({words})") as caught:
        refused.encoded("train")
    assert "\n" not in str(caught.value)
    assert "data.on_unreadable=skip" in str(caught.value)
    left = made(on_unreadable="skip")
    task_of(left)
    assert len(left.encoded("train")) == 23
    assert left.counts["train_unreadable_left_out"] == 1
    assert (
        "1 of 24 recordings of train cannot be read and are left out: train/3.wav"
        in capsys.readouterr().out
    )
    for split in ("val", "test"):
        (tmp_path / f"spoken/{split}/1.wav").write_bytes(data)
        with pytest.raises(ValueError, match=rf"{split}/1.wav .*out of the corpus"):
            task_of(made(on_unreadable="skip")).requirements.check(made_and_lent(made))
        (tmp_path / f"spoken/{split}/1.wav").write_bytes(wav(tones("a")))


def made_and_lent(made) -> SpeechData:
    data = made(on_unreadable="skip")
    task_of(data)
    return data


def test_a_file_that_is_not_there(made, tmp_path):
    made()
    (tmp_path / "spoken/train/3.wav").unlink()
    data = made()
    task_of(data)
    with pytest.raises(
        ValueError, match=r"^corpus \S+: train/3.wav is not here, and a row names it"
    ):
        data.encoded("train")


def test_what_had_to_be_done_to_recordings_is_told(made, tmp_path, capsys):
    made()
    stereo = io.BytesIO()
    samples = tones("abc")
    soundfile.write(stereo, np.stack([samples, samples], 1), RATE_HZ, format="WAV")
    spoken = tmp_path / "spoken"
    (spoken / "train/1.wav").write_bytes(stereo.getvalue())
    (spoken / "train/2.wav").write_bytes(wav(np.repeat(tones("abc"), 2), 2 * RATE_HZ))
    (spoken / "train/4.wav").write_bytes(wav(9 * tones("abc")))
    data = made()
    task_of(data)
    data.encoded("train")
    said = capsys.readouterr().out
    for words in (
        "1 with channels averaged (train/1.wav)",
        "1 resampled (train/2.wav)",
        "1 clipped (train/4.wav)",
    ):
        assert words in said
    assert (
        data.counts["train_resampled"]
        == data.counts["train_with_channels_averaged"]
        == data.counts["train_clipped"]
        == 1
    )
    assert len(said.splitlines()) == 1


def test_transcripts_that_the_tokenizer_does_not_know(made, tmp_path, capsys):
    made()
    rows = [json.loads(line) for line in (tmp_path / "spoken/test.jsonl").read_text().splitlines()]
    rows[0]["text"] = "é"
    (tmp_path / "spoken/test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = made()
    task_of(data).requirements.check(data)
    assert (
        "1 of 6 transcripts of test have characters that the tokenizer does not know and "
        "encodes as <unk>: test/0.wav"
    ) in capsys.readouterr().out
    assert data.counts["test_with_unknown"] == 1


def test_recordings_without_a_word_are_left_out_by_name(made, capsys):
    """Those that a corpus keeps; by default it refuses them."""
    data = made()
    task_of(data)
    data._examples["train"] = [
        replace(e, references=("",)) if 0 < i < 8 else e
        for i, e in enumerate(data.examples("train"))
    ]
    assert len(data.encoded("train")) == 24 - 7
    names = ", ".join(f"train/{i}.wav" for i in range(1, 6))
    assert (
        f"7 of 24 recordings of train have an empty transcript and are left out: {names}, ..."
        in capsys.readouterr().out
    )
    assert data.counts["train_empty_left_out"] == 7


@pytest.mark.slow
def test_the_digest_covers_the_recordings(made, tmp_path):
    before = made().digest("train"), made().digest("test")
    (tmp_path / "spoken/train/3.wav").write_bytes(wav(tones("dddd")))
    assert made().digest("train") != before[0]
    assert made().digest("test") == before[1]


def test_batches_keep_to_their_frames(made):
    data = made(max_frames=200)
    task_of(data)
    rows = data.encoded("train")
    for batch in data.plan(rows)(0):
        taken = rows[batch]
        assert taken.features.shape[:2].numel() <= 200 or len(batch) == 1
        assert taken.n_source_token == int(taken.lengths.sum())
        assert taken.n_token == int((taken.target[:, 1:] != data.tokenizer.pad_id).sum())
        assert not taken.features[
            torch.arange(taken.features.size(1)) >= taken.lengths[:, None]
        ].any()
    empty = rows[[]]
    assert (empty.n_token, empty.n_source_token) == (0, 0)


def test_batches_of_an_exam_have_all_of_it_longest_first(made):
    data = made(eval_batch_tokens=150)
    task_of(data).requirements.check(data)
    examples = data.examples("test")
    batches = [data.evaluation_batches(examples, rank, 2) for rank in (0, 1)]
    assert sorted(e.id for own in batches for batch in own for e in batch) == sorted(
        e.id for e in examples
    )
    lengths = {e.source: len(FRONT_END(e.read(), e.source)) for e in examples}
    assert all(
        len(batch) * max(lengths[e.source] for e in batch) <= 150 or len(batch) == 1
        for own in batches
        for batch in own
    )


def test_recordings_of_like_length_are_answered_together(made):
    examples = made().examples("test")
    together = [[len(e.read()) for e in batch] for batch in by_length(examples, 2)]
    assert [n for batch in together for n in batch] == sorted(
        (len(e.read()) for e in examples), reverse=True
    )
    assert [len(batch) for batch in together] == [2, 2, 2]


# Losses


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_of_ctc_is_that_of_torch_on_each_recording_alone(made, family):
    data = made()
    task = task_of(data, family).double().eval()
    rows = data.encoded("train")
    batch = doubled(rows[list(range(8))])
    nats = 0.0
    for i in range(8):
        features = rows.features[i].double()[None]
        labels = torch.tensor(rows.target[i][1:-1].tolist())
        encoded = task.encode(features, torch.tensor([features.size(1)]))
        logits = task.ctc(encoded.memory)[0]
        logits[:, : data.tokenizer.eos_id + 1] = -torch.inf  # <pad>, <s> and </s> are 0, 1 and 2
        own = F.ctc_loss(
            logits.log_softmax(-1),
            labels,
            torch.tensor(len(logits)),
            torch.tensor(len(labels)),
            task.blank,
            reduction="sum",
        )
        nats += own.item()
    assert task.loss(batch).item() == pytest.approx(nats, rel=1e-12)


@pytest.mark.parametrize("heads", ["both", "decoder"])
def test_two_losses_are_added_by_weight(made, heads):
    data = made()
    task = task_of(data, heads=heads).double().eval()
    batch = doubled(data.encoded("train")[[0, 3, 5]])
    encoded = task.encode(batch.features, batch.lengths)
    y, _ = task.backbone.decode(
        task.embedding(batch.target[:, :-1]), memory=encoded.memory, memory_pad=encoded.pad
    )
    logits = y @ task.embedding.weight.T
    own = F.cross_entropy(
        logits.flatten(0, 1),
        batch.target[:, 1:].flatten(),
        ignore_index=data.tokenizer.pad_id,
        reduction="sum",
    )
    weight = HEADS[heads]
    expected = (1 - weight) * own + (
        weight * task.ctc_nats(encoded, batch.target) if weight else 0.0
    )
    torch.testing.assert_close(task.loss(batch), expected, rtol=1e-12, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_nothing(made, family, heads):
    data = made()
    task = task_of(data, family, heads).double().eval()
    rows = data.encoded("train")
    losses = sum(task.loss(doubled(rows[[i]])) for i in range(10))
    torch.testing.assert_close(
        task.loss(doubled(rows[list(range(10))])), losses, rtol=1e-12, atol=0
    )
    examples = data.examples("test")
    together = [p.output for p in task.answer(examples)]
    assert together == [p.output for example in examples for p in task.answer([example])]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "heads"),
    [("lstm", "ctc"), ("transformer", "ctc"), ("transformer", "both"), ("lstm", "decoder")],
)
def test_a_batch_is_learned_by_heart(made, family, heads):
    data = made()
    task = task_of(data, family, heads)
    rows = data.encoded("train")
    batch = rows[[0, 1, 2, 3]]
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-2)
    for _ in range(120):
        optimizer.zero_grad()
        (task.loss(batch) / batch.n_token).backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
    assert task.loss(batch).item() / batch.n_token < 0.1
    task.eval()
    examples = data.examples("train")[:4]
    searches = {
        "ctc": [CtcGreedy(), CtcPrefixBeam(3)],
        "both": [CtcGreedy(), Greedy(), Beam(2), JointBeam(3)],
        "decoder": [Greedy(), Beam(2)],
    }
    for search in searches[heads]:
        task.search = search
        assert [p.output for p in task.answer(examples)] == [e.references[0] for e in examples], (
            search
        )
        assert {p.finish_reason for p in task.answer(examples)} == {"stop"}
    task.max_length = 1
    cut = {"stop"} if heads == "ctc" else {"length"}  # CTC writes what the frames say
    assert {p.finish_reason for p in task.answer(examples)} == cut
    assert task.answering.limit == ("" if heads == "ctc" else "max_length=1")


@pytest.mark.slow
def test_tones_never_heard_are_written_down(made):
    """A trained model reads new sentences of the language, in training with parts left out and at
    another tempo.
    """

    def adam(parameters):
        return torch.optim.AdamW(parameters, lr=1e-2)

    data = made(n_train=100, max_frames=800)
    task = task_of(
        data,
        optimizer=adam,
        schedule=Constant(0),
        augment=partial(SpecAugment, 1, 3, 1, 4),
        tempo=0.1,
    )
    fit(task, data, max_steps=120)
    task.eval()
    examples = data.examples("test")
    metric = task.metrics("en")[1]
    total = sum(
        metric.statistics(e, p) for p, e in zip(task.answer(examples), examples, strict=True)
    )
    assert metric.score(total) < 20


def test_another_tempo_is_never_too_fast_for_the_transcript(made):
    data = made()
    task = task_of(data, tempo=0.9).train()
    batch = data.encoded("train")[list(range(12))]
    for seed in range(20):
        torch.manual_seed(seed)
        features, lengths = task.perturb(batch.features, batch.lengths, batch.target)
        assert features.size(1) == int(lengths.max())
        assert (
            task.subsampling.out_length(lengths) >= n_needed(batch.target, data.tokenizer.pad_id)
        ).all()
        assert torch.isfinite(task.loss(batch))
    assert not torch.equal(lengths, batch.lengths)


# Training


@pytest.mark.slow
@pytest.mark.parametrize("heads", ["ctc", "both"])
def test_straight_equals_stopped_and_resumed_bit_for_bit(made, tmp_path, heads):
    def parts():
        data = made(max_frames=300)
        return task_of(data, "lstm", heads, augment=SpecAugment, tempo=0.1), data

    assert_resumes_exactly(parts, tmp_path, 5)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_in_shapes_alone(made, family):
    """What `lslm plan` needs."""
    data = made()
    with torch.device("meta"):
        task = task_of(data, family, "both")
    task.requirements.bind(data)
    batch = SpeechBatch(
        *(v.to("meta") if isinstance(v, torch.Tensor) else v for v in data.sizes().usual)
    )
    assert footprint(task, batch, bfloat16=True).flops > 0


# Exams


def test_who_reads_text_is_not_asked_for_sound(made, tmp_path):
    with pytest.raises(CannotError, match="reads text, and this evaluation set is sound"):
        collect_predictions(
            CopySource(), "generate", made().examples("test"), tmp_path / "answers.jsonl"
        )
    [baseline] = task_of(made()).report.baselines(made())
    answers = collect_predictions(
        baseline, "generate", made().examples("test"), tmp_path / "others.jsonl"
    )
    assert len({p.output for p in answers}) == 1


def test_characters_lead_in_chinese():
    assert [m.name for m in SpeechRecognitionTask.metrics("zh")] == ["cer", "wer"]
    assert [m.name for m in SpeechRecognitionTask.metrics("en")] == ["wer", "cer"]


def test_a_file_becomes_an_example(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(tones("ab")))
    example = SpeechAnswering.example("1", str(path))
    assert (example.source, example.modality, example.read()) == (
        str(path),
        "sound",
        path.read_bytes(),
    )
    with pytest.raises(FileNotFoundError, match=r"'nothing.wav' is no file"):
        SpeechAnswering.example("1", "nothing.wav")


# Reports


def test_a_report_has_players_pictures_and_alignments(made):
    data = made()
    task = task_of(data).eval()
    examples = data.examples("test")
    predictions = [
        Prediction(e.id, e.references[0] if i else "a b") for i, e in enumerate(examples)
    ]
    report = Report("a run", sections(task, data, predictions))
    page = render_html(report)
    text = render_markdown(report)
    assert page.count("<audio") == page.count("data:audio/flac;base64,") == len(examples)
    assert page.count("data:image/png;base64,") == len(examples)
    assert "media-src data:" in page
    assert len(page.encode()) < MAX_BYTES
    assert "substitutions" in text
    assert "anna" in text
    assert "media-src" not in render_html(Report("without sound", []))


@pytest.mark.slow
def test_a_page_has_players_for_twenty_long_recordings(made, tmp_path):
    """A quarter of a minute each: 7 MB of FLAC, so that MP3 must do."""
    chance = np.random.default_rng(0)
    sounds = [wav(0.1 * chance.standard_normal(15 * 16_000), 16_000) for _ in range(20)]
    examples = [
        Utterance(str(i), f"{i}.wav", ("a b c d",), read=partial(bytes, sound))
        for i, sound in enumerate(sounds)
    ]
    task = task_of(made(), front_end=Waveforms(16_000)).eval()
    page = write_report(
        Report("a run", [recordings(task, examples, ["a b"] * 20)]), tmp_path / "report"
    ).read_text("utf-8")
    assert (
        page.count("<audio")
        == page.count("data:audio/mpeg;base64,")
        == page.count("data:image/png;base64,")
        == 20
    )
    assert "The page has room" not in page


@pytest.mark.parametrize("n", [0, 1])
def test_sounds_stop_at_their_room(n, made, monkeypatch):
    """Those with most errors come first."""
    monkeypatch.setattr("tasks.speech_recognition.report.encodings", lambda rate_hz: [FLAC])
    data = made()
    task = task_of(data).eval()
    examples = data.examples("test")
    outputs = [e.references[0] for e in examples]
    outputs[3] = "d d d d d d d"
    pictures = sum(
        len(picture(task, e, text).address) for e, text in zip(examples, outputs, strict=True)
    )
    sound = Sound(encoded(FRONT_END.waveform(examples[3].read(), ""), FLAC), FLAC.kind)
    monkeypatch.setattr(
        "tasks.speech_recognition.report.MAX_CHARACTERS", pictures + n * len(sound.address)
    )
    page = render_html(Report("a run", [recordings(task, examples, outputs)]))
    assert page.count("<audio") == n
    assert page.count(sound.address) == n
    assert f"room for the sound of {n} of them" in page


def test_half_are_those_with_most_errors():
    assert chosen([0, 3, 0, 1, 0, 2, 0, 0], 4) == [0, 1, 4, 5]
    assert chosen([0, 0, 0], 20) == [0, 1, 2]


# Settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ctc_weight": 1.5}, r"ctc_weight=1.5 must be from 0"),
        (
            {"ctc_weight": 0.3},
            r"ctc_weight=0.3 does not fit n_decoder_layer=0.*add decoder layers",
        ),
        ({"tempo": 1.0}, r"tempo=1.0 must be at least 0"),
        ({"search": Beam()}, r"search=Beam does not fit ctc_weight=1.0; choose a CtcSearch"),
        ({"validation_search": JointBeam()}, r"validation_search=JointBeam does not fit"),
        ({"max_length": 0}, r"max_length=0"),
        ({"min_length": 2}, r"min_length=2 .*search=CtcPrefixBeam"),
        ({"label_smoothing": 0.1}, r"label_smoothing=0.1 .*ctc_weight=1"),
        (
            {"heads": "decoder", "search": JointBeam(ctc_weight=0.3)},
            r"search=JointBeam.* model.ctc_weight=0",
        ),
    ],
)
def test_bad_settings(made, settings, words):
    with pytest.raises(ValueError, match=words):
        task_of(made(), **settings)


def test_a_network_that_reads_ids_is_refused(made):
    data = made()
    backbone = FAMILIES["lstm"](0)
    backbone.tokenizer_digest = "that of its own words"
    with pytest.raises(ValueError, match="backbone=LSTM reads token ids"):
        SpeechRecognitionTask(backbone, data.tokenizer)


def test_task_and_data_must_fit(made, pairs):
    data = made()
    task_of(data).requirements.check(data)
    with pytest.raises(ValueError, match="n_validation_example=0"):
        task_of(data).requirements.check(made(n_validation_example=0))
    other = TranslationData(str(pairs), Characters(), source_language="en", target_language="zh")
    task_of(data).requirements.bind(other)
    with pytest.raises(
        ValueError, match="SpeechRecognitionTask cannot read TranslationData but SpeechData"
    ):
        task_of(data).requirements.check(other)
    for settings, words in (
        ({"max_frames": 0}, "max_frames=0"),
        ({"on_unreadable": "drop"}, "on_unreadable='drop' must be"),
    ):
        with pytest.raises(ValueError, match=words):
            made(**settings)


def test_recordings_longer_than_the_positions(made, monkeypatch):
    data = made()
    few = partial(Learned, max_length=5)
    monkeypatch.setitem(FAMILIES, "transformer", lambda n: Transformer(32, 2, 1, n, position=few))
    with pytest.raises(
        ValueError,
        match=r"max_length=5 of the backbone's positions must be at least \d+, for the longest",
    ):
        task_of(data).requirements.check(data)


def test_recordings_of_the_training_have_positions_at_every_tempo(made, monkeypatch):
    data = made()
    task_of(data)
    frames = [
        int(data.encoded("train").lengths.max()),
        *(data.measure(split) for split in ("val", "test")),
    ]
    longest = task_of(data).subsampling.out_length(max(frames))
    few = partial(Learned, max_length=longest)
    monkeypatch.setitem(FAMILIES, "transformer", lambda n: Transformer(32, 2, 1, n, position=few))
    task_of(data).requirements.check(data)
    with pytest.raises(ValueError, match=rf"max_length={longest} .* at the slowest tempo"):
        task_of(data, tempo=0.3).requirements.check(data)


def test_no_mark_goes_beyond_the_recording(made):
    data = made()
    task = task_of(data).eval()
    example = data.examples("test")[0]
    n_frame = len(FRONT_END(example.read(), example.source))
    assert n_frame % 2, "the last vector stands for one frame alone"
    found = token_marks(task, example, ("ab" * n_frame)[: (n_frame + 1) // 2], n_frame)
    assert [(mark.start, mark.end) for mark in found] == [
        (t, min(t + 2, n_frame)) for t in range(0, n_frame, 2)
    ]


def test_ready_features_are_no_waveforms(made, tmp_path):
    data = made()
    task_of(data, front_end=Frames(13))
    with pytest.raises(
        ValueError, match=r"train/0.wav .*24 of 24 recordings of train cannot be read"
    ):
        data.encoded("train")
    with pytest.raises(ValueError, match="n_coefficient=0"):
        Frames(0)
    assert Frames(13, 2).n_feature == 39
