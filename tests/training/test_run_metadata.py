"""A run tells how much data it has, with all digits of the counts."""

from types import SimpleNamespace

from lslm_lightning.training.callbacks.run_metadata import RunMetadata


class Recorder:
    """Stands for a tracker, and keeps the hyperparameters."""

    def __init__(self) -> None:
        self.hyperparams = {}

    def log_hyperparams(self, values: dict) -> None:
        self.hyperparams |= values

    def __getattr__(self, name: str) -> object:
        return lambda *args, **kwargs: None


def test_counts_are_told_and_logged_with_all_digits(capsys):
    counts = {"train_tokens": 2_554_981, "train_padding_share": 0.0574455, "n_left_out": 0}
    data = SimpleNamespace(counts=counts, corpus=SimpleNamespace(name="mine"))
    trainer = SimpleNamespace(datamodule=data, is_global_zero=True)
    info = SimpleNamespace(name="Transformer", n_parameter=7, n_trainable=3)
    recorder = Recorder()
    callback = RunMetadata(recorder)
    callback._log = lambda *args: None
    callback.on_train_start(trainer, SimpleNamespace(model_info=info, one_pass=False))
    assert "mine: tokens 2,554,981, padding share 0.0574" in capsys.readouterr().out
    assert recorder.hyperparams["data.train_tokens"] == "2554981"
    assert "data.n_left_out" not in recorder.hyperparams
    assert recorder.hyperparams["n_trainable"] == 3
