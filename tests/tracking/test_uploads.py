"""Files arrive whole, or are sent again."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from lslm_lightning.tracking.uploads import N_TRY, local_files, upload


class Leaky:
    """A store that keeps half of each file, the first `n` times."""

    def __init__(self, n):
        self.n = n
        self.files = {}

    def log_artifact(self, run_id, path, folder):
        self._take(path, f"{folder}/{path.name}" if folder else path.name)
        self.n -= 1

    def log_artifacts(self, run_id, path, folder):
        for file in sorted(Path(path).rglob("*")):
            if file.is_file():
                self._take(file, f"{folder}/{file.relative_to(path).as_posix()}")
        self.n -= 1

    def _take(self, file, name):
        self.files[name] = file.stat().st_size // (2 if self.n > 0 else 1)

    def list_artifacts(self, run_id, folder=None):
        return [
            SimpleNamespace(path=name, is_dir=False, file_size=size)
            for name, size in self.files.items()
            if name.startswith(folder or "")
        ]


@pytest.fixture(params=["file", "folder", "file at the top"])
def what(request, tmp_path):
    """A path to send, where to, and what shall be there."""
    path = tmp_path / "best.ckpt"
    if request.param == "folder":
        (path / "deep").mkdir(parents=True)
        (path / "part").write_bytes(b"12345678")
        (path / "deep/part").write_bytes(b"1234")
        return (
            path,
            "checkpoints",
            {"checkpoints/best.ckpt/part": 8, "checkpoints/best.ckpt/deep/part": 4},
        )
    path.write_bytes(b"12345678")
    return (
        (path, "checkpoints", {"checkpoints/best.ckpt": 8})
        if request.param == "file"
        else (path, "", {"best.ckpt": 8})
    )


def test_what_arrives_whole_is_sent_once(what):
    path, folder, expected = what
    store = Leaky(0)
    upload(store, "run", path, folder)
    assert store.files == expected
    assert store.n == -1


def test_what_arrives_in_part_is_sent_again(what):
    path, folder, expected = what
    store = Leaky(1)
    upload(store, "run", path, folder)
    assert store.files == expected
    assert store.n == -1


def test_a_store_that_never_keeps_all_is_given_up(what):
    path, folder, _ = what
    store = Leaky(99)
    with pytest.raises(RuntimeError, match=r"\d of \d bytes of .*best.ckpt"):
        upload(store, "run", path, folder)
    assert store.n == 99 - N_TRY


def test_a_file_that_changes_meanwhile_is_left_to_the_next_upload(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("old")

    class Slow(Leaky):
        def log_artifact(self, run_id, file, folder):
            super().log_artifact(run_id, file, folder)
            file.write_text("newer")

    store = Slow(0)
    upload(store, "run", path, "")
    assert store.n == -1


def test_answers_of_validations_are_not_to_be_sent(tmp_path):
    (tmp_path / "predictions").mkdir()
    for name in ("test", "val", "val-step-000003", "predict", "valid"):
        (tmp_path / f"predictions/{name}.jsonl").write_text("{}\n")
        (tmp_path / f"predictions/.{name}.jsonl.1a2b3c.part").write_text("{")  # was killed
    assert local_files(tmp_path) == [
        f"predictions/{name}.jsonl" for name in ("predict", "test", "valid")
    ]
