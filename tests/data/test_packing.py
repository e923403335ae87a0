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


@pytest.mark.parametrize("n_token", [1000, 1 + 62 * 16, 17, 32])
def test_windows_of_an_epoch_do_not_overlap_and_miss_less_than_a_window(n_token):
    windows, phases = Windows(n_token, context=16, batch_size=7, seed=1), set()
    for epoch in range(40):
        starts = np.sort(np.concatenate(windows(epoch)))
        assert len(windows(epoch)) == len(windows)
        assert (np.diff(starts) == 16).all()
        assert starts[0] >= 0
        assert len(starts) == (n_token - 1) // 16
        targets = np.concatenate([np.arange(start + 1, min(start + 17, n_token)) for start in starts])
        assert n_token - 1 - 16 < len(targets) <= n_token - 1
        assert starts[-1] + 1 < n_token, "every window has a target"
        phases.add(int(starts[0]))
    assert len(phases) > 8, "windows differ from epoch to epoch"
    windows = Windows(1000, context=16, batch_size=7, seed=1)
    assert all((a == b).all() for a, b in zip(windows(2), windows(2), strict=True))


def test_too_short_a_text_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match=r"context=64 needs at least 65 training tokens, but there are 10"):
        Windows(10, 64, 1)
