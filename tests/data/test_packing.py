import numpy as np
import pytest

from lslm_lightning.data.packing import Windows, pack, packed_name
from lslm_lightning.text.recipes import Bytes


def test_packed_ids_are_the_texts_with_an_end_after_each(tmp_path):
    tokenizer = Bytes().train()
    texts = ["one two", "", "三\n"]
    ids = pack(texts, tokenizer, tmp_path / "a.ids")
    expected = [tokenizer.eos_id]
    for text in texts:
        expected += [*tokenizer.encode(text), tokenizer.eos_id]
    assert ids.tolist() == expected
    assert pack(iter(["never read"]), tokenizer, tmp_path / "a.ids").tolist() == expected


def test_a_failed_packing_leaves_nothing_behind(tmp_path):
    def broken():
        yield "good"
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        pack(broken(), Bytes().train(), tmp_path / "a.ids")
    assert list(tmp_path.iterdir()) == []


def test_names_depend_on_texts_and_tokenizer():
    assert len({packed_name("a", "b"), packed_name("a", "c"), packed_name("b", "a")}) == 3


def test_windows_of_an_epoch_do_not_overlap_and_cover_all_but_the_slack():
    windows = Windows(n_token=1000, context=16, batch_size=7, seed=1)
    for epoch in range(3):
        starts = np.sort(np.concatenate(windows(epoch)))
        assert len(windows(epoch)) == len(windows)
        assert (np.diff(starts) == 16).all()
        assert starts[0] >= 0
        assert starts[-1] + 16 < 1000
        assert len(starts) == 999 // 16
    assert not np.array_equal(windows(0)[0], windows(1)[0])
    assert all((a == b).all() for a, b in zip(windows(2), windows(2), strict=True))


def test_too_short_a_text_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match=r"context=64 needs at least 65 training tokens, but there are 10"):
        Windows(10, 64, 1)
