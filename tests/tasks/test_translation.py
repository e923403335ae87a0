"""The translation task with a backbone that is not ours."""

from lslm_lightning.contracts import Prediction
from lslm_lightning.models.backbone import Backbone
from lslm_lightning.text.recipes import Characters
from tasks.translation.data import TranslationData
from tasks.translation.report import sections
from tasks.translation.task import TranslationTask


class Mean(Backbone):
    """The mean of the source beside each input: no attention, no state."""

    d_model, n_encoder_layer, n_decoder_layer = 8, 1, 1

    def encode(self, x, pad=None):
        return x

    def remember(self, memory):
        return memory

    def decode(self, x, pad=None, memory=None, memory_pad=None, state=None):
        return x + memory.mean(1, keepdim=True), ()


def test_a_backbone_without_attention_has_no_maps_in_its_report(tmp_path, monkeypatch):
    monkeypatch.setenv("LSLM_CACHE", str(tmp_path / "cache"))
    for name, text in (("en", "red dog runs\n"), ("de", "roter Hund rennt\n")):
        for split in ("train", "val", "test"):
            (tmp_path / f"{split}.{name}").write_text(text)
    data = TranslationData(str(tmp_path), Characters(), source_language="en", target_language="de")
    task = TranslationTask(Mean(), data.tokenizer, max_length=5).eval()
    [example] = data.examples("test")
    assert sections(task, data, [Prediction(example.id, "roter Hund")]) == []
