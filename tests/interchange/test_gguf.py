"""GGUF against this project: logits, answers, tokenization, and what stands in the way."""

import io
import json
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from lslm_lightning.decoding import Sampling
from lslm_lightning.interchange import exporting
from lslm_lightning.interchange.exporting import export_model
from lslm_lightning.interchange.gguf_files import DTYPES, FILE
from lslm_lightning.interchange.gguf_layout import interleaved
from lslm_lightning.interchange.gguf_target import GgufTarget
from lslm_lightning.interchange.gguf_tokenizer import read_vocabulary, scores_of
from lslm_lightning.interchange.layouts import NoLayoutError
from lslm_lightning.interchange.parts import ModelParts
from lslm_lightning.interchange.verification import SCRIPTS
from lslm_lightning.runs import load_run
from lslm_lightning.text.recipes import (
    BytePair,
    Bytes,
    Characters,
    Recipe,
    TokenizerFile,
    Unigram,
    Words,
)
from lslm_lightning.text.tokenizer import Tokenizer
from tests.interchange.models import CAUSAL, EXAMPLES, GATED, PLAIN, exact
from tests.interchange.test_export import make_run

gguf = pytest.importorskip("gguf")

TEXTS = list(SCRIPTS) * 3
BYTES = BytePair(vocab_size=400).train(TEXTS)
SIZES = {"vocab_size": BYTES.vocab_size, "d_model": 32}
FITTING: dict[str, ModelParts] = {
    "grouped keys": replace(CAUSAL, **GATED, **PLAIN, **SIZES, n_kv_head=2, d_k=6, d_v=6),
    "not tied": replace(
        CAUSAL,
        **{**GATED, "norm_eps": 1e-4},
        **PLAIN,
        **SIZES,
        head="LinearHead",
        position_base=300.0,
    ),
    "biases": replace(CAUSAL, **GATED, **SIZES, d_k=8, d_v=8),
    "starcoder2": replace(
        CAUSAL, **SIZES, n_kv_head=1, d_k=8, d_v=8, approximate="tanh", position_base=300.0
    ),
}
BLOCKS = [
    *[(0x20, 0x7E)] * 4,
    *[(0x00, 0x1F), (0xA0, 0x24F), (0x370, 0x4FF), (0x590, 0x6FF), (0x900, 0x97F)],
    *[(0xE00, 0xE7F), (0x2000, 0x206F), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3)],
    *[(0x1F300, 0x1F64F), (0x10000, 0x1FFFD)],
]
"""Ranges of code points of many scripts."""


def sentencepiece() -> Tokenizer:
    """Return a tokenizer of SentencePiece as tokenizer.json of a Llama holds it."""
    pieces = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    pieces.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=model,
        model_type="bpe",
        vocab_size=600,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        character_coverage=1.0,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    trained = pieces.SentencePieceProcessor(model_proto=model.getvalue())
    n = trained.get_piece_size()
    vocabulary = {trained.id_to_piece(i): i for i in range(n)}
    scores = {trained.id_to_piece(i): trained.get_score(i) for i in range(n)}
    merges = transformers.tokenization_utils_base.generate_merges(vocabulary, scores)
    backend = tokenizers.Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    space = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    backend.normalizer = normalizers.Sequence(space)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    assert [backend.encode(text).ids for text in TEXTS] == trained.encode(TEXTS)
    backend.add_special_tokens(["<s>", "</s>", "<pad>"])
    return Tokenizer(backend)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("runs")

    def run_of(name: str) -> Path:
        if not (folder / name).exists():
            make_run(folder / name, FITTING[name], BYTES)
        return folder / name

    return run_of


def read_back(folder: Path, **settings: object) -> torch.nn.Module:
    """Return the model of a folder, read by `transformers`, in float64."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=FILE, dtype=torch.float64, **settings
    )
    return exact(model.eval())


def read_tokenizer(folder: Path) -> transformers.PreTrainedTokenizerBase:
    """Return the tokenizer of a folder, read by `transformers`."""
    return transformers.AutoTokenizer.from_pretrained(
        folder, gguf_file=FILE, split_special_tokens=True
    )


@pytest.mark.parametrize("name", FITTING)
def test_logits_and_answers_are_equal(name: str, runs: Callable[..., Path], tmp_path: Path) -> None:
    export = export_model(runs(name), tmp_path / "out", to="gguf")
    assert export.layout == ("starcoder2" if name == "starcoder2" else "llama")
    assert {path.name for path in export.path.iterdir()} == {"README.md", "model.gguf"}
    found = export.verification
    assert found.n_equal + found.n_tie == found.n_text == len(SCRIPTS)
    given = {"biases": {"attention_bias": True, "mlp_bias": True}}.get(name, {})
    if name == "starcoder2":
        given = {"rope_parameters": {"rope_type": "default", "rope_theta": 300.0}}
    task = load_run(runs(name)).task
    ids = torch.tensor([BYTES.encode("".join(SCRIPTS))[:32]])
    theirs = read_back(export.path, **given)
    torch.testing.assert_close(theirs(ids).logits, task.double().logits(ids), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_type_is_written_as_such(
    dtype: str, runs: Callable[..., Path], tmp_path: Path
) -> None:
    export = export_model(runs("not tied"), tmp_path / "out", to="gguf", dtype=dtype)
    tensors = {each.name: each for each in gguf.GGUFReader(export.path / FILE).tensors}
    kinds = {name: each.tensor_type.name for name, each in tensors.items()}
    wanted = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "Q8_0"}[dtype]
    assert kinds["output.weight"] == kinds["blk.0.attn_q.weight"] == wanted
    assert kinds["blk.0.ffn_down.weight"] == ("F16" if dtype == "int8" else wanted), "24 columns"
    assert kinds["output_norm.weight"] == "F32"
    found = export.verification
    card = (export.path / "README.md").read_text()
    assert ("8 bits" in card) == (dtype == "int8")
    assert "n_ctx=32" in card
    if dtype != "int8":
        assert found.worst < 1e-4
        assert found.n_equal + found.n_tie == found.n_text
        return
    tensor = tensors["output.weight"]
    ours = load_run(runs("not tied")).task.head.weight.detach().numpy()
    step = np.abs(ours).reshape(-1, 32).max(1, keepdims=True) / 127
    wrong = np.abs(gguf.dequantize(tensor.data, tensor.tensor_type) - ours).reshape(-1, 32)
    assert (wrong <= 0.57 * step).all(), "to the nearest of 255 steps, themselves in float16"
    assert found.worst > 0


def strings(n: int) -> Iterator[str]:
    """Yield random texts of many scripts, with spaces, digits and contractions."""
    chance = random.Random(0)
    for _ in range(n):
        low, high = chance.choice(BLOCKS)
        written = [
            chance.choice([chr(chance.randint(low, high)), chance.choice("  \n\t12.,'s")])
            for _ in range(chance.randint(0, 24))
        ]
        yield "".join(written)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_texts_have_the_same_ids(kind: str, tmp_path: Path) -> None:
    tokenizer = BYTES if kind == "gpt2" else sentencepiece()
    parts = replace(FITTING["grouped keys"], vocab_size=tokenizer.vocab_size)
    assert read_vocabulary(tokenizer, parts.vocab_size).kind == kind
    run = make_run(tmp_path / "run", parts, tokenizer)
    theirs = read_tokenizer(export_model(run, tmp_path / "out", to="gguf").path)
    texts = [*strings(3000), *SCRIPTS, "</s> and <pad> are text", ""]
    if kind == "llama":  # transformers drops a space before a text, which llama.cpp does not
        texts = [text.lstrip(" ") for text in texts]
    ours = [[tokenizer.eos_id, *ids] for ids in tokenizer.encode_batch(texts)]
    assert theirs(texts).input_ids == ours
    assert theirs.bos_token_id == theirs.eos_token_id == tokenizer.eos_id


def test_scores_merge_in_the_order_of_a_list() -> None:
    known = {name: i for i, name in enumerate(["a", "b", "c", "ab", "bc", "abc"])}
    merges = [("b", "c"), ("a", "b"), ("a", "bc"), ("ab", "c")]
    scores = dict(zip(known, scores_of(merges, known, known), strict=True))
    assert scores["bc"] > scores["ab"] > scores["abc"] > scores["a"]
    with pytest.raises(ValueError, match="SentencePiece merges ab and c, and it does not"):
        scores_of(merges[:3], known, known)
    with pytest.raises(ValueError, match="SentencePiece merges in another order"):
        scores_of([merges[2], *merges[:2], merges[3]], known, known)


def test_neighbours_are_rotated() -> None:
    weight = torch.arange(12.0)[:, None].repeat(1, 2)  # 2 heads of 6 features
    assert interleaved(weight, 6)[:, 0].tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
    assert interleaved(weight[:, 0], 6).tolist() == interleaved(weight, 6)[:, 0].tolist()


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (
            CAUSAL,
            r"no layout of llama\.cpp .* nearest, starcoder2: "
            r"backbone\.feed_forward\.approximate=none \(must be tanh\)\. Trained with "
            r"--model\.backbone\.feed_forward\.approximate tanh",
        ),
        (EXAMPLES["llama"][2], "feed_forward=GEGLU .must be SwiGLU"),
        (EXAMPLES["starcoder2"][1], "ReLU|bias"),
        (EXAMPLES["gpt2"][0], r"position=Learned \(must be Rotary\)"),
        (EXAMPLES["pegasus"][0], "for language models, and this one is sequence-to-sequence"),
    ],
)
def test_models_without_a_home_are_refused(
    parts: ModelParts, expected: str, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", parts)
    with pytest.raises(NoLayoutError, match=expected):
        export_model(run, tmp_path / "out", to="gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_layout_can_be_named(runs: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(NoLayoutError, match=r"layout=starcoder2 cannot .*, and llama can"):
        export_model(runs("biases"), tmp_path / "out", to="gguf", layout="starcoder2")
    with pytest.raises(ValueError, match="layout='gpt2' is not known; there are llama, starcoder2"):
        export_model(runs("biases"), tmp_path / "out", to="gguf", layout="gpt2")


RECIPES: dict[str, tuple[Recipe, str]] = {
    "unigram": (Unigram(vocab_size=420), "has no Unigram that splits"),
    "words": (Words(), "has no WordLevel that splits"),
    "characters": (Characters(), "it merges no pairs"),
    "bytes": (Bytes(), "it merges no pairs"),
    "lower case": (
        BytePair(vocab_size=300, lowercase=True),
        "does not change text as Lowercase does",
    ),
}


@pytest.mark.parametrize("name", RECIPES)
def test_tokenizers_without_a_home_are_refused(name: str, tmp_path: Path) -> None:
    recipe, expected = RECIPES[name]
    tokenizer = recipe.train(TEXTS)
    parts = replace(FITTING["grouped keys"], vocab_size=tokenizer.vocab_size)
    run = make_run(tmp_path / "run", parts, tokenizer)
    with pytest.raises(ValueError, match=rf"has no home in GGUF: .*{expected}.*BytePair as it is"):
        export_model(run, tmp_path / "out", to="gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def changed(change: Callable[[dict], object]) -> Tokenizer:
    """Return a byte-level tokenizer whose tokenizer.json was changed."""
    layout = json.loads(BYTES.to_json())
    change(layout)
    return Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(layout)))


def with_split(pattern: str, ignores_merges: bool = False) -> Tokenizer:
    """Return a byte-level tokenizer that splits text by a regular expression."""
    backend = tokenizers.Tokenizer.from_str(BYTES.to_json())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.model.ignore_merges = ignores_merges
    return Tokenizer(backend)


def test_ways_to_split_words_are_known_by_name() -> None:
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    n = BYTES.vocab_size
    assert read_vocabulary(BYTES, n).pre == "gpt-2"
    splits = GGUF_PRE_TOKENIZER_SPLITS
    assert read_vocabulary(with_split(splits["llama-bpe"], True), n).pre == "llama-bpe"
    assert read_vocabulary(with_split(splits["qwen2"]), n).pre == "qwen2"
    digits = pre_tokenizers.Digits(individual_digits=True)
    starcoder = tokenizers.Tokenizer.from_str(BYTES.to_json())
    starcoder.pre_tokenizer = pre_tokenizers.Sequence([digits, starcoder.pre_tokenizer])
    assert read_vocabulary(Tokenizer(starcoder), n).pre == "starcoder"
    for other in (with_split(splits["llama-bpe"]), with_split(r"\s+")):
        with pytest.raises(ValueError, match="splits text into other words"):
            read_vocabulary(other, n)
    for name, change in {
        "end_of_word_suffix": lambda layout: layout["model"].update(end_of_word_suffix="</w>"),
        "added token '<x>' takes": lambda layout: layout["added_tokens"].append(
            {**layout["added_tokens"][0], "id": 5, "content": "<x>", "special": False}
            | {"lstrip": True}
        ),
        "spaces of a text": lambda layout: layout["model"].update(
            byte_fallback=True,
            vocab={**layout["model"]["vocab"], **{f"<0x{i:02X}>": n + i for i in range(256)}},
        ),
    }.items():
        with pytest.raises(ValueError, match=name):
            read_vocabulary(changed(change), n + 256)


def test_every_row_has_a_token(tmp_path: Path) -> None:
    vocabulary = read_vocabulary(BYTES, BYTES.vocab_size + 2)
    assert vocabulary.tokens[-2:] == ["<unused_400>", "<unused_401>"]
    assert vocabulary.types[-2:] == [int(gguf.TokenType.UNUSED)] * 2
    assert vocabulary.types[BYTES.eos_id] == gguf.TokenType.CONTROL
    assert vocabulary.types[-3] == gguf.TokenType.NORMAL


def test_a_file_that_differs_is_not_kept(
    runs: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(GgufTarget):
        def write(self, model: exporting.ExportedModel, folder: Path) -> list[str]:
            parts = replace(model.parts, position_base=9.0)
            return super().write(replace(model, parts=parts), folder)

    monkeypatch.setattr(exporting, "TARGETS", {"gguf": Wrong()})
    with pytest.raises(ValueError, match="logits differ from those of the run by"):
        export_model(runs("not tied"), tmp_path / "out", to="gguf")
    assert list(tmp_path.iterdir()) == []


def test_a_weight_that_a_type_cannot_hold_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", FITTING["not tied"], BYTES)
    path = run / "checkpoints" / "best.ckpt"
    saved = torch.load(path, weights_only=True)
    saved["state_dict"]["head.weight"][0, 0] = 1e6
    torch.save(saved, path)
    with pytest.raises(ValueError, match=r"float16 cannot hold the weight output\.weight"):
        export_model(run, tmp_path / "out", to="gguf", dtype="float16")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("package", ["gguf", "accelerate", "transformers"])
def test_a_package_that_is_missing_is_named(
    package: str, runs: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"GGUF needs the package {package}: .*\[\w+\]"):
        export_model(runs("biases"), tmp_path / "out", to="gguf")


def test_the_card_samples_as_the_run_does(runs: Callable[..., Path], tmp_path: Path) -> None:
    search = {
        "class_path": f"{Sampling.__module__}.Sampling",
        "init_args": {"top_p": 0.5, "temperature": 0.7},
    }
    run = make_run(tmp_path / "run", FITTING["biases"], BYTES, search=search)
    card = (export_model(run, tmp_path / "out", to="gguf").path / "README.md").read_text()
    assert "temperature=0.7, top_k=0, top_p=0.5, min_p=0.0)" in card
    assert "`top_p` before the temperature" in card


def test_a_tokenizer_of_a_file_leaves_too(tmp_path: Path) -> None:
    BYTES.save(tmp_path / "tokenizer.json")
    assert read_vocabulary(TokenizerFile(str(tmp_path / "tokenizer.json")).train(), 400).merges
