"""T5 in both directions: searches, precision, SentencePiece, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from lslm_lightning.contracts import Example
from lslm_lightning.decoding import Beam, Greedy
from lslm_lightning.interchange.exporting import export_model
from lslm_lightning.interchange.hugging_face import HuggingFaceTarget
from lslm_lightning.interchange.importing import import_model
from lslm_lightning.interchange.layouts import layout_named
from lslm_lightning.interchange.layouts.layout import SpecialIds
from lslm_lightning.interchange.parts import ModelParts, read_parts
from lslm_lightning.interchange.targets import ExportedModel
from lslm_lightning.interchange.weights import to_ours, to_theirs
from lslm_lightning.runs import load_run
from tests.interchange.models import EXAMPLES, IDS, build_task, build_theirs
from tests.interchange.test_export import TEXTS, loaded, make_run
from tests.interchange.test_import import PEGASUS, edited, their_folder
from tests.interchange.test_layouts import logits_of, their_logits

T5 = layout_named("t5")
SOURCES = [Example(str(i), text, ()) for i, text in enumerate(TEXTS)]
PLAIN = EXAMPLES["t5"][0]
ODD = replace(PLAIN, d_model=24, n_head=3, n_kv_head=3, d_k=6, d_v=6, n_bucket=6, max_distance=4)


@pytest.mark.parametrize("parts", EXAMPLES["t5"][:2], ids=["tied", "with a head"])
def test_searches_find_the_same_answers(parts: ModelParts, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", parts)
    export = export_model(run, tmp_path / "out")
    assert export.layout == "t5"
    assert not any("positions" in note for note in export.notes), "distances have no limit"
    model = loaded(export.path, transformers.AutoModelForSeq2SeqLM)
    tokenizer = transformers.AutoTokenizer.from_pretrained(export.path)
    given = tokenizer(TEXTS, return_tensors="pt", padding=True)
    task = load_run(run).task.double()
    for search, n_beam in ((Greedy(), 1), (Beam(4), 4)):
        task.search = search
        written = model.generate(**given, num_beams=n_beam, max_new_tokens=12)
        ours = [prediction.output for prediction in task.answer(SOURCES)]
        assert tokenizer.batch_decode(written, skip_special_tokens=True) == ours


@torch.no_grad()
def test_logits_in_float32_and_with_sizes_that_are_no_powers(tmp_path: Path) -> None:
    ids = torch.randint(4, ODD.vocab_size, (3, 30), generator=torch.Generator().manual_seed(1))
    for parts in (*EXAMPLES["t5"], ODD):
        model = build_theirs(T5.config(parts, IDS))
        task = build_task(parts)
        rows = list(T5.rows(parts))
        weights = to_theirs(rows, task.state_dict())
        model.load_state_dict(weights, strict=False)
        torch.testing.assert_close(
            logits_of(task, ids), their_logits(model, ids), rtol=0, atol=1e-9
        )
        single = logits_of(task.float(), ids), their_logits(model.float(), ids)
        largest = single[0].abs().max()
        torch.testing.assert_close(single[0] / largest, single[1] / largest, rtol=0, atol=1e-5)
        back = to_ours(rows, to_theirs(rows, task.state_dict()), {}, T5.ignored)
        for name, weight in task.state_dict().items():
            torch.testing.assert_close(back[name], weight, rtol=2e-7, atol=0)


def test_sizes_that_are_no_powers_are_exported_in_16_bits(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ODD)
    export = export_model(run, tmp_path / "out", dtype="float16")
    assert export.verification.n_tie == 0


def test_a_weight_of_another_value_is_found_in_16_bits(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ODD)
    model = ExportedModel(load_run(run), read_parts(load_run(run).task), "bfloat16", None)
    target = HuggingFaceTarget()
    target.write(model, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["encoder.final_layer_norm.weight"] *= 1.02
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"backbone\.encoder\.last\.weight is another"):
        target.verify(model, tmp_path)


def test_a_model_with_pieces_of_its_tokenizer_becomes_a_run(tmp_path: Path) -> None:
    source = tmp_path / "theirs"
    words = ["▁", "▁the", "▁quick", "▁fox", *"thequickbrownfxjmpsvlazydg:"]
    scores = [(piece, -1.0 - i / 10) for i, piece in enumerate(dict.fromkeys(words))]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    theirs = transformers.T5Tokenizer(vocab=[*special, *scores], extra_ids=2)
    theirs.save_pretrained(source)
    config = T5.config(replace(PLAIN, vocab_size=len(theirs) + 5), SpecialIds(0, 0, 1))
    build_theirs(config).float().save_pretrained(source)
    found = import_model(source, tmp_path / "run", prefix="the fox: ")
    assert (found.layout, found.verification.n_tie) == ("t5", 0)
    task = load_run(tmp_path / "run").task
    assert (task.tokenizer.pad_id, task.tokenizer.bos_id, task.tokenizer.eos_id) == (0, 0, 1)
    texts = [f"the fox: {text}" for text in TEXTS]
    assert task.read(SOURCES) == theirs(texts).input_ids
    export_model(tmp_path / "run", tmp_path / "out")
    before = load_file(source / "model.safetensors")
    after = load_file(tmp_path / "out" / "model.safetensors")
    assert all(after[name].equal(before[name]) for name in before)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert again(texts).input_ids == theirs(texts).input_ids


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"feed_forward_proj": "gated-relu"}, "feed_forward_proj=gated-relu, and our models have"),
        ({"relative_attention_num_buckets": 10}, r"relative_attention_bias\.weight is \(8, 4\)"),
        ({"relative_attention_num_buckets": 7}, "n_bucket=7 must be even"),
        ({"d_kv": 8}, r"SelfAttention\.q\.weight is \(16, 16\) and must be \(32, 16\)"),
        ({"num_decoder_layers": 3}, r"decoder\.block\.2\..* is missing"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    settings: dict[str, object], expected: str, tmp_path: Path
) -> None:
    folder = their_folder(tmp_path / "theirs", "t5", **PEGASUS)
    source = edited(folder, tmp_path / "edited", **settings)
    with pytest.raises(ValueError, match=expected) as error:
        import_model(source, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_head_of_its_own_that_is_scaled_is_refused(tmp_path: Path) -> None:
    source = their_folder(tmp_path / "theirs", "t5", **PEGASUS)
    weights = load_file(source / "model.safetensors")
    weights["lm_head.weight"] = weights["shared.weight"] + 1
    save_file(weights, source / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"lm_head\.weight and shared\.weight must be equal"):
        import_model(source, tmp_path / "run")


def test_older_files_say_by_the_tie_whether_outputs_are_scaled() -> None:
    config = transformers.AutoConfig.for_model(**T5.config(PLAIN, IDS)).to_dict()
    del config["scale_decoder_outputs"]
    heads = [T5.parts({**config, "tie_word_embeddings": tied}, {}).head for tied in (True, False)]
    assert heads == ["TiedHead", "LinearHead"]


def test_a_model_with_other_parts_names_what_is_in_the_way(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", EXAMPLES["pegasus"][0])
    with pytest.raises(ValueError, match=r"position=Sinusoidal \(must be RelativeBuckets\)"):
        export_model(run, tmp_path / "out", layout="t5")
    parts = read_parts(build_task(PLAIN))
    assert {
        each.key for each in T5.obstacles(replace(parts, norm="LayerNorm", norm_bias=True))
    } == {
        "backbone.norm",
        "backbone.norm.bias",
    }
