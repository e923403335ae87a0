"""The translation task with a backbone that is not ours."""

import torch

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.decoding import Beam, Greedy, Sampling
from lslm_lightning.models.backbone import Backbone
from lslm_lightning.text.recipes import Characters
from tasks.translation.data import TranslationData
from tasks.translation.report import sections
from tasks.translation.task import TranslationTask


class Mean(Backbone):
    """The mean of the source beside each input: no attention, no state."""

    d_model = 8
    n_encoder_layer = 1
    n_decoder_layer = 1

    def encode(self, x, pad=None):
        return x

    def precompute_cross_attention(self, memory):
        return memory

    def decode(self, x, pad=None, memory=None, memory_pad=None, state=None):
        return x + memory.mean(1, keepdim=True).repeat_interleave(len(x) // len(memory), 0), ()


def test_a_backbone_without_attention_has_no_maps_in_its_report(tmp_path, monkeypatch):
    monkeypatch.setenv("LSLM_CACHE", str(tmp_path / "cache"))
    for name, text in (("en", "red dog runs\n"), ("de", "roter Hund rennt\n")):
        for split in ("train", "val", "test"):
            (tmp_path / f"{split}.{name}").write_text(text)
    data = TranslationData(str(tmp_path), Characters(), source_language="en", target_language="de")
    task = TranslationTask(Mean(), data.tokenizer, max_length=5).eval()
    [example] = data.examples("test")
    assert sections(task, data, [Prediction(example.id, "roter Hund")]) == []


def test_answers_that_end_at_max_length_say_so(tmp_path, monkeypatch):
    """By every search; they are those in which no end of text is written."""
    monkeypatch.setenv("LSLM_CACHE", str(tmp_path / "cache"))
    for split in ("train", "val", "test"):
        for name in ("en", "de"):
            (tmp_path / f"{split}.{name}").write_text(
                "".join(f"{chr(97 + i)}{chr(98 + i)}\n" for i in range(20))
            )
    data = TranslationData(str(tmp_path), Characters(), source_language="en", target_language="de")
    torch.manual_seed(0)
    task = TranslationTask(Mean(), data.tokenizer, max_length=4).eval()
    examples = [
        Example(str(i), text, ("x",))
        for i, text in enumerate(e.source for e in data.examples("test"))
    ]
    seen = set()
    for search in (Greedy(), Beam(3, length_penalty=2.0), Sampling(temperature=2.0)):
        task.search = search
        decoded = task.decode(torch.tensor(task.read(examples)), search)
        expected = [
            "stop" if data.tokenizer.eos_id in ids[:n] else "length"
            for ids, n in zip(decoded.ids.tolist(), decoded.n_token, strict=True)
        ]
        assert [p.finish_reason for p in task.answer(examples)] == expected
        seen |= set(expected)
    assert seen == {"stop", "length"}
    assert task.answering.limit == "max_length=4"
