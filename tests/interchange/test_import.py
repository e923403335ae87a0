"""Models of `transformers` as runs of ours, and bad files that are refused."""

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
import torch
import transformers
import yaml
from safetensors.torch import load_file, save_file
from tokenizers import processors

from lslm_lightning.commands import import_model as import_command
from lslm_lightning.contracts import Example
from lslm_lightning.decoding import Beam, Greedy
from lslm_lightning.interchange import importing
from lslm_lightning.interchange.exporting import export_model
from lslm_lightning.interchange.foreign_model import TASKS, read_foreign
from lslm_lightning.interchange.importing import (
    built_task,
    compared,
    import_model,
    task_arguments,
)
from lslm_lightning.interchange.layouts import layout_named
from lslm_lightning.interchange.layouts.layout import SpecialIds
from lslm_lightning.interchange.made_runs import write_run
from lslm_lightning.interchange.parts import ModelParts, read_parts
from lslm_lightning.interchange.verification import BUILT_IN
from lslm_lightning.runs import load_run
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.systems.hugging_face import HuggingFaceSystem
from lslm_lightning.text.recipes import BytePair
from lslm_lightning.text.tokenizer import backend_of
from tests.interchange.models import EXAMPLES, GEGLU, IDS, build_theirs
from tests.interchange.test_export import CORPUS, TEXTS
from tests.text.test_hugging_face import IDS as MARIAN
from tests.text.test_hugging_face import SOURCE, TARGET, pieces

TOKENIZER = BytePair(vocab_size=300).train(CORPUS)
N_TOKEN = TOKENIZER.vocab_size


def their_folder(
    folder: Path,
    model_type: str,
    *,
    roles: dict[str, str],
    n_row: int = N_TOKEN,
    adds: str = "",
    generation: dict[str, object] | None = None,
    **changes: object,
) -> Path:
    """Save a random model of `transformers` with a tokenizer, and return its folder.

    Args:
        roles: names of special tokens of the tokenizer.
        n_row: number of embedding rows.
        adds: template of what the tokenizer adds to a text.
        generation: settings of generation_config.json.
        changes: parts that differ from the layout's first example.
    """
    parts = replace(EXAMPLES[model_type][0], vocab_size=n_row, **changes)
    model = build_theirs(layout_named(model_type).config(parts, IDS))
    for name in ("pad", "bos", "eos", "decoder_start"):
        token = roles.get({"decoder_start": "bos"}.get(name, name))
        index = None if token is None else TOKENIZER._backend.token_to_id(token)
        setattr(model.config, f"{name}_token_id", index)
    ids = ("eos_token_id", "pad_token_id", "decoder_start_token_id")
    settings = {name: getattr(model.config, name) for name in ids} | (generation or {})
    model.generation_config = transformers.GenerationConfig(**settings)
    model.float().save_pretrained(folder)
    backend = backend_of(TOKENIZER.to_json())
    if adds:
        used = [(token, backend.token_to_id(token)) for token in adds.split() if token != "$A"]
        backend.post_processor = processors.TemplateProcessing(single=adds, special_tokens=used)
    named = {f"{role}_token": token for role, token in roles.items()}
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **named)
    fast.save_pretrained(folder)
    return folder


GPT2 = {"roles": {"eos": "</s>"}}
LLAMA = {"roles": {"bos": "<s>", "eos": "</s>"}, "adds": "<s> $A"}
PEGASUS = {"roles": {"pad": "<pad>", "bos": "<s>", "eos": "</s>"}, "adds": "$A </s>"}
T5_1_1 = {**GEGLU, "approximate": "tanh", "head": "LinearHead"}
CASES = {
    "gpt2 without padding": ("gpt2", GPT2),
    "gpt_neox with rows to spare": ("gpt_neox", {**GPT2, "n_row": N_TOKEN + 5}),
    "llama with a start token": ("llama", LLAMA),
    "llama, tied, with a start token": ("llama", {**LLAMA, "head": "TiedHead"}),
    "mistral": ("mistral", {"roles": {"pad": "<pad>", "bos": "</s>", "eos": "</s>"}}),
    "qwen2": ("qwen2", {"roles": {"pad": "<pad>", "eos": "</s>"}, "n_row": N_TOKEN + 9}),
    "starcoder2": ("starcoder2", GPT2),
    "stablelm": ("stablelm", GPT2),
    "pegasus": ("pegasus", {**PEGASUS, "generation": {"num_beams": 4, "max_length": 30}}),
    "marian, padding forbidden": ("marian", {**PEGASUS, "generation": {"bad_words_ids": [[0]]}}),
    "bart with a start token": ("bart", {**PEGASUS, "adds": "<s> $A </s>"}),
    "mbart": ("mbart", PEGASUS),
    "blenderbot": ("blenderbot", PEGASUS),
    "t5": ("t5", {**PEGASUS, "generation": {"decoder_start_token_id": 0}}),
    "t5 1.1": ("t5", {**PEGASUS, **T5_1_1}),
}


@pytest.mark.parametrize(("model_type", "settings"), CASES.values(), ids=CASES.keys())
def test_a_run_computes_what_the_model_does(
    model_type: str, settings: dict[str, object], tmp_path: Path
) -> None:
    source = their_folder(tmp_path / "theirs", model_type, **settings)
    found = import_model(source, tmp_path / "run")
    assert found.layout == model_type
    assert found.verification.n_text == len(BUILT_IN.sources)
    assert found.verification.n_tie == 0, "random logits"
    assert found.verification.largest > 0
    assert found.verification.worst < 1e-4
    run = load_run(tmp_path / "run")
    examples = [Example(str(i), text, (text,)) for i, text in enumerate(TEXTS)]
    ours = Checkpoint(str(tmp_path / "run"), search=Beam(3), device="cpu")
    theirs = HuggingFaceSystem(str(source), n_beam=3, max_new_tokens=9, device="cpu")
    if read_parts(run.task).kind == "causal":
        scored = [p.nats for p in ours.log_prob(examples)]
        assert scored == pytest.approx([p.nats for p in theirs.log_prob(examples)], rel=1e-4)
        return
    ours.loaded.task.max_length = 9
    ours.loaded.task.min_length = 0
    assert [p.output.strip() for p in ours.generate(examples)] == [
        p.output for p in theirs.generate(examples)
    ]


def test_marian_with_pieces_of_each_side(tmp_path: Path) -> None:
    source = tmp_path / "theirs"
    parts = replace(EXAMPLES["marian"][0], vocab_size=len(MARIAN))
    ids = SpecialIds(MARIAN["<pad>"], MARIAN["<pad>"], MARIAN["</s>"])
    build_theirs(layout_named("marian").config(parts, ids)).float().save_pretrained(source)
    pieces(source / "source.spm", SOURCE)
    pieces(source / "target.spm", TARGET)
    (source / "vocab.json").write_text(json.dumps(MARIAN), "utf-8")
    languages = {"source_lang": "en", "target_lang": "de"}
    (source / "tokenizer_config.json").write_text(json.dumps(languages))
    found = import_model(source, tmp_path / "run")
    assert found.task == "translation"
    record = json.loads((tmp_path / "run" / "mlflow.json").read_text())
    assert record["languages"] == ["en", "de"]
    with pytest.raises(ValueError, match="different pieces, as Marian's"):
        export_model(tmp_path / "run", tmp_path / "again")


def trained_names(model_type: str, weights: dict[str, torch.Tensor]) -> list[str]:
    """Return the names of weights that are trained: no tables of positions or zeros."""
    return [
        name
        for name in weights
        if not (model_type == "pegasus" and ("embed_positions" in name or "logits_bias" in name))
    ]


@pytest.mark.parametrize(
    "name", ["gpt2 without padding", "pegasus", "gpt_neox with rows to spare", "t5"]
)
def test_in_and_out_again_are_the_same_bits(name: str, tmp_path: Path) -> None:
    model_type, settings = CASES[name]
    source = their_folder(tmp_path / "theirs", model_type, **settings)
    import_model(source, tmp_path / "run")
    export = export_model(tmp_path / "run", tmp_path / "again", layout=model_type)
    before = load_file(source / "model.safetensors")
    after = load_file(tmp_path / "again" / "model.safetensors")
    assert all(torch.equal(after[key], before[key]) for key in before)
    n_weight = sum(before[row].numel() for row in trained_names(model_type, before))
    card = (tmp_path / "again" / "README.md").read_text()
    assert "Imported by lslm-lightning from theirs, and not trained further." in card
    assert f"{n_weight:,} weights" in card
    assert export.n_parameter == n_weight


def test_settings_of_the_search_are_kept(tmp_path: Path) -> None:
    generation = {
        "num_beams": 4,
        "length_penalty": 0.8,
        "early_stopping": True,
        "no_repeat_ngram_size": 3,
        "max_length": 20,
        "min_length": 5,
        "repetition_penalty": 1.5,
    }
    source = their_folder(tmp_path / "theirs", "pegasus", **PEGASUS, generation=generation)
    found = import_model(source, tmp_path / "run", task="translation")
    task = load_run(tmp_path / "run").task
    assert task.search == Beam(4, 0.8, True, 3)
    assert (task.max_length, task.min_length) == (19, 4)
    assert "repetition_penalty=1.5 was left behind" in found.notes
    record = json.loads((tmp_path / "run" / "mlflow.json").read_text())
    assert record["imported"]["layout"] == "pegasus"
    assert len(record["imported"]["files"]["model.safetensors"]) == 64


def test_settings_of_the_search_in_an_old_config_are_kept(tmp_path: Path) -> None:
    folder = their_folder(tmp_path / "old", "pegasus", **PEGASUS)
    (folder / "generation_config.json").unlink()
    old = {"num_beams": 4, "length_penalty": 0.8, "max_length": 20, "bad_words_ids": [[0]]}
    source = edited(folder, tmp_path / "theirs", **old)
    import_model(source, tmp_path / "run")
    task = load_run(tmp_path / "run").task
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(source).generation_config
    assert task.search == Beam(theirs.num_beams, theirs.length_penalty)
    assert task.max_length == theirs.max_length - 1 == 19
    assert theirs.bad_words_ids == [[task.tokenizer.pad_id]]
    assert task.head.bias[task.tokenizer.pad_id] < -1000


def test_starts_and_ends_are_those_of_the_model(tmp_path: Path) -> None:
    start = 5
    settings = {"decoder_start_token_id": start, "eos_token_id": [TOKENIZER.eos_id, 9]}
    source = their_folder(tmp_path / "theirs", "pegasus", **PEGASUS, generation=settings)
    found = import_model(source, tmp_path / "run")
    task = load_run(tmp_path / "run").task
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(source).eval()
    own = model.generation_config
    assert [task.tokenizer.bos_id, task.tokenizer.eos_id] == [start, own.eos_token_id[0]]
    assert [note[-3:] for note in found.notes if note.startswith("an answer ends")] == [": 9"]
    source_ids = torch.tensor([[*TOKENIZER.encode("the quick"), TOKENIZER.eos_id]])
    theirs = model.generate(source_ids, max_new_tokens=6, eos_token_id=own.eos_token_id[0])
    ours = task.decode(source_ids, Greedy(), 6)
    assert theirs[0].tolist() == [start, *ours.ids[0, : ours.n_token[0]].tolist()]
    settings = {"eos_token_id": 9}
    source = their_folder(tmp_path / "differs", "pegasus", **PEGASUS, generation=settings)
    with pytest.raises(ValueError, match="eos_token_id=9, and its tokenizer ends texts with 2"):
        import_model(source, tmp_path / "none")


def test_a_language_model_ends_with_the_end_of_its_search(tmp_path: Path) -> None:
    source = their_folder(tmp_path / "theirs", "gpt2", **GPT2, generation={"eos_token_id": 9})
    import_model(source, tmp_path / "run")
    assert load_run(tmp_path / "run").task.tokenizer.eos_id == 9


@pytest.mark.parametrize("adds", ["<s> <s> $A", "<pad> <s> $A </s>"])
def test_more_than_one_id_before_a_text_is_refused(adds: str, tmp_path: Path) -> None:
    source = their_folder(tmp_path / "theirs", "llama", **{**LLAMA, "adds": adds})
    with pytest.raises(ValueError, match="puts 2 ids before a text"):
        import_model(source, tmp_path / "run")


def test_the_start_of_a_text_is_compared(tmp_path: Path) -> None:
    folder = their_folder(tmp_path / "theirs", "llama", **{**LLAMA, "adds": "<s> $A </s>"})
    foreign = read_foreign(str(folder), None)
    spec = {"class_path": TASKS[foreign.task], "init_args": task_arguments(foreign)}
    built = built_task(foreign, spec)
    assert compared(foreign, built).worst < 1e-4
    for changes in ({"start": 7}, {"adds_start": False}):
        other = replace(foreign, model=replace(foreign.model, **changes))
        with pytest.raises(ValueError, match="has other ids than in the run"):
            compared(other, built)


def test_dropout_that_is_left_behind_is_noted(gpt2: Path, tmp_path: Path) -> None:
    settings = {
        "attn_pdrop": 0.25,
        "resid_pdrop": 0.5,
        "embd_pdrop": 0.5,
        "summary_first_dropout": 1,
    }
    source = edited(gpt2, tmp_path / "theirs", **settings)
    notes = import_model(source, tmp_path / "run").notes
    assert [note for note in notes if "drop" in note] == [
        "attn_pdrop=0.25, which acts in training alone, was left behind"
    ]
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["model"]["init_args"]["backbone"]["init_args"]["dropout"] == 0.5


def test_the_recorded_command_makes_the_run_again(
    gpt2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_model(gpt2, tmp_path / "my run", task="language_modeling")
    config = tmp_path / "my run" / "config.yaml"
    first = config.read_text()
    command = shlex.split(first.splitlines()[0].removeprefix("# "))
    assert command[-2:] == ["--task", "language_modeling"]
    shutil.rmtree(tmp_path / "my run")
    assert import_command.main(command[1:]) == 0
    assert config.read_text() == first


def test_shards_and_pickled_tensors_are_read(tmp_path: Path) -> None:
    source = their_folder(tmp_path / "theirs", "gpt2", **GPT2)
    weights = load_file(source / "model.safetensors")
    (source / "model.safetensors").unlink()
    torch.save(weights, source / "pytorch_model.bin")
    found = import_model(source, tmp_path / "pickled")
    assert any("pytorch_model.bin" in note for note in found.notes)
    (source / "pytorch_model.bin").unlink()
    names = sorted(weights)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, inside in shards.items():
        save_file({name: weights[name] for name in inside}, source / shard)
    where = {name: shard for shard, inside in shards.items() for name in inside}
    (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    import_model(source, tmp_path / "shards")
    pickled, sharded = (load_run(tmp_path / name).task for name in ("pickled", "shards"))
    own = sharded.state_dict()
    assert own["backbone.decoder.last.weight"].equal(weights["transformer.ln_f.weight"])
    assert all(value.equal(own[name]) for name, value in pickled.state_dict().items())
    (source / "b.safetensors").unlink()
    with pytest.raises(ValueError, match=r"lacks b\.safetensors"):
        import_model(source, tmp_path / "missing")


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return their_folder(tmp_path_factory.mktemp("theirs") / "gpt2", "gpt2", **GPT2)


def edited(source: Path, target: Path, **settings: object) -> Path:
    """Copy a folder, with other settings in its config.json."""
    shutil.copytree(source, target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | settings))
    return target


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"model_type": "opt"}, "layout='opt' is not known"),
        ({"model_type": "nothing"}, "is no model that can be used"),
        ({"n_embd": 20}, r"transformer\.wte\.weight is \(\d+, 16\)"),
        ({"n_layer": 3}, r"transformer\.h\.2\..* is missing"),
        ({"n_layer": 1}, r"transformer\.h\.1\..* belongs to no part"),
        ({"n_layer": 10**9}, "n_layer=1,000,000,000"),
        ({"n_inner": 10**12}, "n_inner=1,000,000,000,000"),
        ({"n_head": "four"}, r"theirs is no model .*'n_head' expected int"),
        ({"n_head": 32}, "theirs cannot be imported: d_k=0"),
        ({"resid_pdrop": 3}, "theirs cannot be imported: dropout=3"),
        ({"embd_pdrop": float("nan")}, "theirs cannot be imported: .*nan"),
        ({"activation_function": "swish"}, "activation_function=swish"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=true"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(
    settings: dict[str, object], expected: str, gpt2: Path, tmp_path: Path
) -> None:
    source = edited(gpt2, tmp_path / "theirs", **settings)
    with pytest.raises(ValueError, match=expected) as error:
        import_model(source, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", ["[1]", "[" * 100_000, '"text"', "{", ""])
def test_a_config_that_is_none_is_refused(content: str, gpt2: Path, tmp_path: Path) -> None:
    source = edited(gpt2, tmp_path / "theirs")
    (source / "config.json").write_text(content)
    with pytest.raises(ValueError, match="theirs is no model that can be used"):
        import_model(source, tmp_path / "run")


@pytest.mark.parametrize("file", ["generation_config.json", "config.json"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_beams", "many"),
        ("max_new_tokens", -4),
        ("min_new_tokens", [1]),
        ("no_repeat_ngram_size", True),
        ("max_length", 3.7),
        ("eos_token_id", ["a"]),
        ("decoder_start_token_id", {}),
        ("temperature", "hot"),
        ("length_penalty", []),
    ],
)
def test_settings_of_a_search_that_are_no_numbers_are_refused(
    name: str, value: object, file: str, gpt2: Path, tmp_path: Path
) -> None:
    source = edited(gpt2, tmp_path / "theirs")
    (source / "generation_config.json").unlink()
    known = json.loads((source / file).read_text()) if file == "config.json" else {}
    (source / file).write_text(json.dumps({**known, name: value}))
    stated = "theirs .*" if name.endswith("_id") else f"its {file} has "
    with pytest.raises(ValueError, match=f"{stated}{name}") as error:
        import_model(source, tmp_path / "run")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("error", [OSError(28, "No space left"), ImportError("needs a package")])
def test_an_error_that_is_not_of_the_model_stays(
    error: Exception, gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(importing, "read_foreign", fail)
    with pytest.raises(type(error)) as raised:
        import_model(gpt2, tmp_path / "run")
    assert raised.value is error


def test_a_tokenizer_that_does_not_fit_is_refused(gpt2: Path, tmp_path: Path) -> None:
    source = edited(gpt2, tmp_path / "theirs")
    weights = load_file(source / "model.safetensors")
    weights["transformer.wte.weight"] = weights["transformer.wte.weight"][:100]
    save_file(weights, source / "model.safetensors", {"format": "pt"})
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"vocab_size": 100}))
    with pytest.raises(ValueError, match=r"tokenizer has ids up to .* and its model 100 rows"):
        import_model(source, tmp_path / "run")


class Payload:
    """Object whose pickle would run a command."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("__import__('pathlib').Path('harmed').touch()",)


def test_pickles_of_more_than_tensors_are_refused(
    gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = edited(gpt2, tmp_path / "theirs")
    (source / "model.safetensors").unlink()
    torch.save({"transformer.wte.weight": Payload()}, source / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is not a .* \(.* eval .*\)") as error:
        import_model(source, tmp_path / "run")
    assert "weights_only" not in str(error.value), "torch advises to load it nevertheless"
    assert not Path("harmed").exists()
    (source / "pytorch_model.bin").unlink()
    with pytest.raises(ValueError, match="has no weights"):
        import_model(source, tmp_path / "run")
    (source / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(ValueError, match="damaged or incomplete"):
        import_model(source, tmp_path / "run")


def test_other_mistakes_are_named(gpt2: Path, tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("kept")
    with pytest.raises(ValueError, match="is a folder with files in it"):
        import_model(gpt2, tmp_path)
    with pytest.raises(ValueError, match="task='translation' must be language_modeling"):
        import_model(gpt2, tmp_path / "run", task="translation")
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"no config\.json"):
        import_model(tmp_path / "none", tmp_path / "run")


def test_attention_windows_bound_the_context(tmp_path: Path) -> None:
    roles = {"pad": "<pad>", "bos": "</s>", "eos": "</s>"}
    folder = their_folder(tmp_path / "theirs", "mistral", roles=roles)
    source = edited(folder, tmp_path / "windowed", sliding_window=8)
    found = import_model(source, tmp_path / "run")
    parts: ModelParts = read_parts(load_run(tmp_path / "run").task)
    assert parts.context == 8
    assert "the run reads windows of 8 tokens, and the model up to 32" in found.notes
    source = edited(folder, tmp_path / "long", max_position_embeddings=2048)
    found = import_model(source, tmp_path / "cut")
    assert "the run reads windows of 1,024 tokens, and the model up to 2,048" in found.notes
    assert not any("windows" in note for note in import_model(folder, tmp_path / "whole").notes)


def test_an_imported_model_that_is_trained_further_can_leave_again(
    gpt2: Path, tmp_path: Path
) -> None:
    import_model(gpt2, tmp_path / "run")
    run = load_run(tmp_path / "run")
    pad = run.tokenizer.pad_id
    optimizer = torch.optim.SGD(run.task.parameters(), lr=0.1)
    ids = torch.tensor([[run.tokenizer.eos_id, *run.tokenizer.encode("the quick brown fox")]])
    torch.nn.functional.cross_entropy(run.task.logits(ids)[0, :-1], ids[0, 1:]).backward()
    optimizer.step()
    config = {"model": run.config["model"]}
    (tmp_path / "trained").mkdir()
    write_run(tmp_path / "trained", "", config, run.tokenizer, run.task.state_dict(), {})
    export = export_model(tmp_path / "trained", tmp_path / "out")
    assert export.layout == "gpt2"
    assert "Trained by lslm-lightning." in (export.path / "README.md").read_text()
    assert run.task.logits(ids)[..., pad].max() < -9000
    before = load_file(gpt2 / "model.safetensors")
    after = load_file(tmp_path / "out" / "model.safetensors")
    assert before["transformer.wte.weight"].shape == after["transformer.wte.weight"].shape
    assert not torch.equal(before["transformer.wte.weight"], after["transformer.wte.weight"])
