"""Audio players, spectrograms and alignments, in a page that makes no network requests."""

import base64
import io

import numpy as np
from PIL import Image

from lslm_lightning.reports.blocks import Report, Section
from lslm_lightning.reports.page import render_html, render_markdown
from lslm_lightning.reports.recordings import (
    Aligned,
    RecordingPair,
    Sound,
    Spectrogram,
    TimeMark,
    average_rows,
    png,
)


def test_a_picture_is_read_by_others_as_it_was_meant():
    shades = np.random.default_rng(0).integers(0, 256, (20, 33)).astype(np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(shades)))), shades)


def test_the_loudest_is_darkest_and_high_features_are_at_the_top():
    values = np.zeros((10, 4))
    values[7, 3] = 5.0
    [_, data] = Spectrogram(values, 100).address.split(",")
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert picture.shape == (4, 10)
    assert np.unravel_index(picture.argmin(), picture.shape) == (0, 7)


def test_frames_that_share_a_place_are_averaged():
    values = np.random.default_rng(0).normal(size=(103, 4))
    assert average_rows(values, 10).shape == (10, 4)
    np.testing.assert_allclose(
        average_rows(values[:100], 10), values[:100].reshape(10, 10, 4).mean(1)
    )
    assert average_rows(values, 103) is values


def test_marks_stand_where_they_belong_and_do_not_cover_each_other():
    marks = [TimeMark(0, 2, "first"), TimeMark(2, 4, "second"), TimeMark(80, 90, "third")]
    spectrogram = Spectrogram(np.zeros((100, 4)), 100, marks)
    labels = spectrogram.labels()
    assert [label.text for label in labels] == ["first", "second", "third"]
    assert [label.line for label in labels] == [0, 1, 0]
    assert labels[2].x == 0.8 * 720
    assert [list(row) for row in spectrogram.table().rows][2] == ["third", 0.8, 0.9]
    assert Spectrogram(np.zeros((0, 4)), 100).seconds == 0


def test_what_is_said_is_text_and_never_markup():
    pairs = [
        RecordingPair("equal", "a", "a"),
        RecordingPair("substitute", "<b>", "<script>"),
        RecordingPair("delete", "c", ""),
        RecordingPair("insert", "", "d"),
    ]
    blocks = [
        Aligned(pairs),
        Sound(b"abc", "audio/flac", "<i>"),
        Spectrogram(np.eye(3), 100, [TimeMark(0, 1, "<u>")]),
    ]
    report = Report("a page", [Section("Recordings", blocks)])
    page = render_html(report)
    text = render_markdown(report)
    for tag in ("<script>", "<b>", "<i>", "<u>"):
        assert tag not in page.partition("</head>")[2]
    assert (
        page.count('class="pair substitute"')
        == page.count('class="pair delete"')
        == page.count('class="pair insert"')
        == 1
    )
    assert 'src="data:audio/flac;base64,YWJj"' in page
    assert "media-src data:;" in page
    assert "a <b> c *" in text
    assert "a <script> * d" in text
