from itertools import pairwise

import numpy as np
import pytest

from lslm_lightning.data.packing import Contiguous, Windows, in_order, pack, packed_name
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
    windows = Windows(n_token, context=16, batch_size=7, seed=1)
    phases = set()
    for epoch in range(40):
        starts = np.sort(np.concatenate(windows(epoch)))
        assert len(windows(epoch)) == len(windows)
        assert (np.diff(starts) == 16).all()
        assert starts[0] >= 0
        assert len(starts) == (n_token - 1) // 16
        targets = np.concatenate(
            [np.arange(start + 1, min(start + 17, n_token)) for start in starts]
        )
        assert n_token - 1 - 16 < len(targets) <= n_token - 1
        assert starts[-1] + 1 < n_token, "every window has a target"
        phases.add(int(starts[0]))
    assert len(phases) > 8, "windows differ from epoch to epoch"
    windows = Windows(1000, context=16, batch_size=7, seed=1)
    assert all((a == b).all() for a, b in zip(windows(2), windows(2), strict=True))


def test_too_short_a_text_is_refused_with_a_way_out():
    with pytest.raises(
        ValueError, match=r"context=64 needs at least 65 training tokens, but there are 10"
    ):
        Windows(10, 64, 1)


@pytest.mark.parametrize(
    ("n_token", "world"), [(1000, 1), (1000, 2), (1 + 6 * 7 * 16, 2), (113, 1)]
)
def test_rows_of_an_epoch_are_read_in_order_and_miss_less_than_a_window_each(n_token, world):
    rows = Contiguous(n_token, context=16, batch_size=7, seed=1, world=world)
    phases = set()
    for epoch in range(40):
        pieces = rows(epoch)
        assert len(pieces) == len(rows)
        targets = np.concatenate(
            [
                (start + np.arange(1, 17)) % (n_token - 1)
                for piece in pieces
                for start in piece.starts
            ]
        )
        assert len(targets) == len(set(targets))
        assert n_token - 1 - 16 * 7 * world < len(targets) <= n_token - 1
        for rank in range(world):
            own = pieces[rank::world]
            assert [piece.follows for piece in own] == [False] + [True] * (len(own) - 1)
            for before, after in pairwise(own):
                assert ((after.starts - before.starts) % (n_token - 1) == 16).all()
        phases.add(int(pieces[0].starts[0]))
    assert len(phases) > 8, "rows differ from epoch to epoch"
    for one, two in zip(rows(2), rows(2), strict=True):
        assert (one.starts == two.starts).all()


def test_ranks_have_rows_of_their_own_which_one_process_has_together():
    two = Contiguous(1000, context=16, batch_size=3, world=2)
    one = Contiguous(1000, context=16, batch_size=6)
    for i, piece in enumerate(one(5)):
        assert piece.starts.tolist() == [
            start for half in two(5)[2 * i : 2 * i + 2] for start in half.starts
        ]


@pytest.mark.parametrize("n_token", [1, 2, 17, 40, 1000, 1 + 4 * 5 * 16])
def test_a_text_is_read_once_by_all_ranks_together(n_token):
    whole = in_order(n_token, context=16, n_row=5)
    assert len(whole[0]) <= 5
    shares = [in_order(n_token, 16, 5, rank, world=3) for rank in range(3)]
    for pieces in ([whole], shares):
        starts = [start for share in pieces for piece in share for start in piece.starts]
        targets = [t for start in starts for t in range(start + 1, start + 17) if t < n_token]
        assert sorted(targets) == list(range(1, n_token))
    assert len({len(share) for share in (whole, *shares)}) == 1


def test_too_short_a_text_for_so_many_rows_is_refused_with_a_way_out():
    with pytest.raises(
        ValueError,
        match=(
            r"with 8 rows and context=16 needs at least 129 training tokens, but there are "
            r"128; make"
        ),
    ):
        Contiguous(128, context=16, batch_size=4, world=2)
