"""Folders that `transformers` reads, and what stands in their way."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from lslm_lightning.adapters import DoRA, LoRA
from lslm_lightning.adapters.low_rank import is_of_adapter
from lslm_lightning.contracts import Example
from lslm_lightning.decoding import Beam, Greedy
from lslm_lightning.experiments.endings import one_line
from lslm_lightning.interchange import exporting, hugging_face, verification
from lslm_lightning.interchange.exporting import check_output, export_model, new_folder
from lslm_lightning.interchange.hugging_face import HuggingFaceTarget
from lslm_lightning.interchange.layouts import NoLayoutError
from lslm_lightning.interchange.made_runs import write_run
from lslm_lightning.interchange.parts import ModelParts, UnknownPartsError, read_parts
from lslm_lightning.interchange.verification import Texts
from lslm_lightning.models.embedding import TokenEmbedding
from lslm_lightning.runs import load_run
from lslm_lightning.runs.loading import build
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.systems.hugging_face import HuggingFaceSystem
from lslm_lightning.text.recipes import BytePair, Bytes, Characters, Recipe, Unigram, Words
from lslm_lightning.text.tokenizer import Tokenizer
from tests.interchange.models import CAUSAL, EXAMPLES, TOKENIZER, build_task, exact, task_spec

BEAM = {"class_path": "lslm_lightning.decoding.Beam", "init_args": {"beam_size": 5}}
TEXTS = ["the quick fox", "brown dogs jump", "狐狸", "the the lazy dogs"]
PAIRS = EXAMPLES["pegasus"][0]
LSTM = {
    "class_path": "lslm_lightning.models.recurrent.LSTM",
    "init_args": {"d_model": 8, "n_encoder_layer": 0, "n_decoder_layer": 1},
}
RECIPES: dict[str, Recipe] = {
    "byte pairs": BytePair(vocab_size=300),
    "lower case": BytePair(vocab_size=300, lowercase=True),
    "bytes": Bytes(),
    "unigram": Unigram(vocab_size=320),
    "unigram without bytes": Unigram(vocab_size=60, byte_fallback=False),
    "characters": Characters(),
    "words": Words(),
}
CORPUS = ["the quick brown fox jumps over lazy dogs. 敏捷的棕色狐狸 " * 3, "Hello\n world, кот ok"]


def make_run(
    folder: Path, parts: ModelParts, tokenizer: Tokenizer = TOKENIZER, **settings: object
) -> Path:
    """Write a run of a random model in float32, and return its directory."""
    settings = {"max_length": 12, "search": BEAM, **settings}
    task = build_task(parts, tokenizer, **settings).float()
    folder.mkdir(parents=True)
    config = {"model": task_spec(parts, **settings)}
    write_run(folder, "lslm test", config, tokenizer, task.state_dict(), {})
    return folder


@pytest.fixture(scope="module")
def pair_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "pairs", PAIRS)


@pytest.fixture(scope="module")
def causal_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "causal", CAUSAL)


@pytest.fixture(scope="module")
def pair_folder(pair_run: Path) -> Path:
    return export_model(pair_run, pair_run.parent / "exported").path


@pytest.fixture(scope="module")
def causal_folder(causal_run: Path) -> Path:
    return export_model(causal_run, causal_run.parent / "exported").path


def loaded(folder: Path, auto: type) -> torch.nn.Module:
    """Return a model of an exported folder, in float64."""
    return exact(auto.from_pretrained(folder, dtype=torch.float64).eval())


def test_a_folder_has_all_files(pair_folder: Path) -> None:
    assert {path.name for path in pair_folder.iterdir()} == {
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert [path.name for path in pair_folder.parent.iterdir() if path.name.startswith(".")] == []


def test_beams_of_a_sequence_to_sequence_model_are_equal(pair_run: Path, pair_folder: Path) -> None:
    model = loaded(pair_folder, transformers.AutoModelForSeq2SeqLM)
    tokenizer = transformers.AutoTokenizer.from_pretrained(pair_folder)
    given = tokenizer(TEXTS, return_tensors="pt", padding=True)
    written = model.generate(**given)  # with the run's search, from generation_config.json
    assert model.generation_config.num_beams == 5
    task = load_run(pair_run).task.double()
    predictions = task.answer([Example(str(i), text, ()) for i, text in enumerate(TEXTS)])
    assert tokenizer.batch_decode(written, skip_special_tokens=True) == [
        prediction.output for prediction in predictions
    ]


def test_beams_of_a_language_model_are_equal(causal_run: Path, causal_folder: Path) -> None:
    model = loaded(causal_folder, transformers.AutoModelForCausalLM)
    tokenizer = transformers.AutoTokenizer.from_pretrained(causal_folder)
    task = load_run(causal_run).task.double()
    for text in TEXTS:
        ids = tokenizer(text, return_tensors="pt").input_ids
        assert ids.tolist() == [[TOKENIZER.eos_id, *TOKENIZER.encode(text)]]
        for search, beams in ((Greedy(), 1), (Beam(5), 5)):
            task.search = search
            most = task.max_length
            written = model.generate(ids, num_beams=beams, max_new_tokens=most)[0, ids.size(1) :]
            [ours] = task.continue_any_length(ids.tolist(), task.max_length)
            assert written.tolist() == ours


def test_prompts_of_a_batch_are_continued_as_each_alone(causal_folder: Path) -> None:
    model = loaded(causal_folder, transformers.AutoModelForCausalLM)
    tokenizer = transformers.AutoTokenizer.from_pretrained(causal_folder)
    prompts = ["the quick brown fox", "狐狸"]
    settings = {"max_new_tokens": 8, "min_new_tokens": 8, "num_beams": 1}
    batch = tokenizer(prompts, return_tensors="pt", padding=True)
    together = model.generate(**batch, **settings)[:, -8:].tolist()
    alone = [
        model.generate(**tokenizer(prompt, return_tensors="pt"), **settings)[0, -8:].tolist()
        for prompt in prompts
    ]
    assert together == alone


def test_scores_of_an_export_are_those_of_the_run(
    causal_run: Path, causal_folder: Path, pair_run: Path, pair_folder: Path
) -> None:
    texts = [Example(str(i), "", (text,)) for i, text in enumerate(TEXTS)]
    ours = list(Checkpoint(str(causal_run), device="cpu").log_prob(texts))
    theirs = list(HuggingFaceSystem(str(causal_folder), device="cpu").log_prob(texts))
    assert [p.n_token for p in ours] == [p.n_token for p in theirs]
    assert [p.nats for p in theirs] == pytest.approx([p.nats for p in ours], rel=1e-5)
    examples = [Example(str(i), text, ("x",)) for i, text in enumerate(TEXTS)]
    own = list(Checkpoint(str(pair_run), device="cpu").generate(examples))
    system = HuggingFaceSystem(str(pair_folder), n_beam=5, max_new_tokens=12, device="cpu")
    assert {p.id: p.output for p in system.generate(examples)} == {
        p.id: (p.output or "").strip() for p in own
    }


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_tokenizers_are_equal(recipe: Recipe, tmp_path: Path) -> None:
    from lslm_lightning.interchange.tokenizer_export import special_ids, write_tokenizer

    kind = "sequence-to-sequence"

    ours = recipe.train(CORPUS)
    write_tokenizer(ours, special_ids(ours, kind, ours.vocab_size), kind, 100, tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "pegasus"}')
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)

    @given(st.text(max_size=30) | st.sampled_from(["<s> a</s>", "a <pad>", " lead", "\n\n", "кот"]))
    def check(text: str) -> None:
        ids = ours.encode(text)
        assert theirs(text).input_ids == [*ids, ours.eos_id]
        assert theirs.decode([*ids, ours.eos_id], skip_special_tokens=True) == ours.decode(ids)

    check()
    assert theirs("a", "b").input_ids[-1] == ours.eos_id


@pytest.mark.parametrize("kind", [LoRA, DoRA])
def test_an_adapter_is_merged_into_the_weights(kind: type[LoRA], tmp_path: Path) -> None:
    name = f"lslm_lightning.adapters.{kind.__name__}"
    adapter = {"class_path": name, "init_args": {"rank": 2, "base": "runs/base"}}
    run = make_run(tmp_path / "run", CAUSAL, adapter=adapter)
    task = load_run(run).task
    assert any(is_of_adapter(weight) for weight in task.state_dict())
    export = export_model(run, tmp_path / "out")
    assert "the adapter was merged into the weights" in export.notes
    ids = torch.tensor([[TOKENIZER.eos_id, *TOKENIZER.encode("the quick fox")]])
    theirs = loaded(export.path, transformers.AutoModelForCausalLM)(ids).logits
    ours = task.double().logits(ids)
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-4)
    for weight, value in task.named_parameters():
        if is_of_adapter(weight):
            value.data.zero_()
    assert not torch.allclose(task.logits(ids), ours, atol=1e-2), "the adapter has an effect"


def test_long_sources_are_cut_alike(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", PAIRS, max_source_length=7)
    export = export_model(run, tmp_path / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(export.path)
    [ids] = load_run(run).task.read([Example("0", "the quick brown fox", ())])
    assert tokenizer("the quick brown fox", truncation=True).input_ids == ids


def test_sources_longer_than_the_positions_are_cut_and_noted(
    pair_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = Texts(("the quick " * 200,), ("x",), "test")
    monkeypatch.setattr(exporting, "texts_of_run", lambda run, trust: (texts, "not stated"))
    export = export_model(pair_run, tmp_path / "out")
    assert "sources are cut to 1,024 tokens, as many as there are positions" in export.notes
    tokenizer = transformers.AutoTokenizer.from_pretrained(export.path)
    assert len(tokenizer("the quick " * 200, truncation=True).input_ids) == 1024


def test_answers_are_no_longer_than_the_positions(tmp_path: Path) -> None:
    parts = EXAMPLES["gpt2"][0]
    run = make_run(tmp_path / "run", parts, max_length=500, min_length=400)
    export = export_model(run, tmp_path / "out")
    model = loaded(export.path, transformers.AutoModelForCausalLM)
    first = torch.tensor([[TOKENIZER.eos_id]])
    assert model.generate(first, num_beams=1).size(1) == parts.max_positions


def test_dropout_without_a_place_is_noted(tmp_path: Path) -> None:
    for name, is_kept in (("llama", False), ("gpt_neox", True)):
        parts = replace(EXAMPLES[name][0], dropout=0.25)
        export = export_model(make_run(tmp_path / name, parts), tmp_path / f"{name} out")
        noted = [note for note in export.notes if note.startswith("dropout=0.25")]
        assert bool(noted) != is_kept
        kept = json.loads((export.path / "config.json").read_text()).get("hidden_dropout")
        assert kept == (0.25 if is_kept else None)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_are_rounded_to_a_type(dtype: str, causal_run: Path, tmp_path: Path) -> None:
    export = export_model(causal_run, tmp_path / "out", dtype=dtype)
    weights = load_file(export.path / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {getattr(torch, dtype)}
    assert json.loads((export.path / "config.json").read_text())["dtype"] == dtype
    assert export.verification.worst < 1e-4


def test_written_weights_are_compared_one_at_a_time(
    causal_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "MOST_IN_FLOAT64", 0)
    read, given = hugging_face.read_safe, set()

    def recording(file: Path, dtype: torch.dtype, names: tuple[str, ...]) -> object:
        given.add((dtype, len(names)))
        return read(file, dtype, names)

    monkeypatch.setattr(hugging_face, "read_safe", recording)
    export_model(causal_run, tmp_path / "out", dtype="bfloat16")
    assert given == {(torch.float32, 1)}


def test_tables_that_are_not_trained_are_not_rounded(pair_run: Path, tmp_path: Path) -> None:
    export = export_model(pair_run, tmp_path / "out", dtype="bfloat16")
    assert export.verification.worst < 1e-4


def test_the_card_has_scores_and_conversion(causal_folder: Path) -> None:
    card = (causal_folder / "README.md").read_text()
    assert "queries, keys and values of a layer are one matrix" in card
    assert "logits differ by at most" in card
    assert "The run was not tested." in card
    assert "Trained by lslm-lightning." in card


def test_a_model_without_a_layout_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", replace(PAIRS, position="Rotary"))
    with pytest.raises(NoLayoutError, match=r"backbone\.position=Rotary") as error:
        export_model(run, tmp_path / "out")
    assert "--model.backbone.position lslm_lightning.models.positions.Sinusoidal" in str(
        error.value
    )
    assert not (tmp_path / "out").exists()


class LargerEmbedding(TokenEmbedding):
    """Embedding of a task of a user's own."""


def test_an_embedding_of_another_class_is_named() -> None:
    task = build_task(CAUSAL)
    task.embedding = LargerEmbedding(TOKENIZER.vocab_size, CAUSAL.d_model)
    with pytest.raises(
        UnknownPartsError, match=r"the embedding LargerEmbedding .*embedding\.TokenEmbedding"
    ):
        read_parts(task)


def test_a_network_of_another_kind_is_refused(tmp_path: Path) -> None:
    spec = task_spec(CAUSAL, backbone=LSTM)
    task = build(spec, TOKENIZER)
    (tmp_path / "run").mkdir()
    write_run(tmp_path / "run", "", {"model": spec}, TOKENIZER, task.state_dict(), {})
    with pytest.raises(UnknownPartsError, match=r"model\.backbone=LSTM"):
        export_model(tmp_path / "run", tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"to": "onyx"}, "to='onyx' .* huggingface"),
        ({"dtype": "int4"}, "dtype='int4' .* float16"),
        ({"layout": "gpt5"}, "layout='gpt5' .* llama"),
        ({"layout": "gpt2"}, r"layout=gpt2 cannot .*backbone\.position=Rotary"),
        (
            {"layout": "llama"},
            "layout=llama .*, and gpt_neox, starcoder2 can; in the way: .*norm=LayerNorm",
        ),
        ({"layout": "bart"}, "layout=bart is for sequence-to-sequence .* causal; take gpt_neox"),
    ],
)
def test_wrong_settings_are_named(
    settings: dict[str, str], expected: str, causal_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=expected):
        export_model(causal_run, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_files_are_not_overwritten(causal_run: Path, tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("kept")
    with pytest.raises(ValueError, match="is a folder with files in it"):
        export_model(causal_run, tmp_path)
    with pytest.raises(ValueError, match="is a file"):
        export_model(causal_run, tmp_path / "kept.txt")
    (tmp_path / "empty").mkdir()
    assert export_model(causal_run, tmp_path / "empty").path == tmp_path / "empty"


def test_folders_that_cannot_be_replaced_are_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    (tmp_path / "link").symlink_to(here)
    for output in (".", "../here", here, tmp_path / "link"):
        with pytest.raises(ValueError, match=r"is the working directory, .* name a folder in it"):
            export_model("no run", output)
    with pytest.raises(ValueError, match=r"output=/ is a mount point, .* name a folder in it"):
        export_model("no run", "/")
    (here / "file").write_text("")
    with pytest.raises(ValueError, match=r"output=file/a/b is below .*, which is a file"):
        export_model("no run", "file/a/b")
    monkeypatch.setattr(os, "access", lambda path, mode: not (mode & os.W_OK and path == here))
    with pytest.raises(ValueError, match=r"output=a/b is in .*, where you may not write"):
        export_model("no run", "a/b")
    (here / "loop").symlink_to("loop")
    with pytest.raises(ValueError, match="output=loop is a link to itself"):
        export_model("no run", "loop")


def test_a_folder_behind_a_link_is_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new"):
        link = tmp_path / f"link to {name}"
        link.symlink_to(name)
        check_output(link)
        with new_folder(link) as draft:
            (draft / "file").write_text("")
        assert link.is_symlink()
        assert [path.name for path in (tmp_path / name).iterdir()] == ["file"]


def write_with_rust(folder: Path) -> None:
    save_file({"a": torch.zeros(500_000)}, folder / "a.safetensors")


def write_with_torch(folder: Path) -> None:
    write_run(folder, "lslm", {"model": {}}, TOKENIZER, {"a": torch.zeros(500_000)}, {})


def write_with_python(folder: Path) -> None:
    (folder / "a").write_bytes(bytes(2_000_000))


@pytest.mark.parametrize("write", [write_with_rust, write_with_torch, write_with_python])
def test_a_full_disk_is_named_and_nothing_is_left(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))  # acts like a full disk
    try:
        with (
            pytest.raises(OSError, match="File too large") as error,
            new_folder(tmp_path / "out") as draft,
        ):
            write(draft)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert one_line(error.value).startswith(f"{tmp_path / 'out'}: File too large; free space")
    assert not [*tmp_path.iterdir()]


def test_a_model_that_differs_is_not_kept(
    causal_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(HuggingFaceTarget):
        def write(self, model: exporting.ExportedModel, folder: Path) -> list[str]:
            notes = super().write(model, folder)
            weights = load_file(folder / "model.safetensors")
            weights["gpt_neox.layers.1.mlp.dense_4h_to_h.bias"][3] += 0.5
            save_file(weights, folder / "model.safetensors", {"format": "pt"})
            return notes

    monkeypatch.setattr(exporting, "TARGETS", {"huggingface": Wrong()})
    with pytest.raises(ValueError, match="logits differ from those of the run by"):
        export_model(causal_run, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
