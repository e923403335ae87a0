"""Every layout of `transformers`, in and out: the same answers, in float64 and in float32, and the
same ids of ten thousand texts.
"""

import random
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from lslm_lightning.corpora.lookup import open_corpus
from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.exports import LANGUAGE_MODEL, TRANSLATION
from tests.benchmarks.exports import trained as trained_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from lslm_lightning.interchange.verification import AnyTask

N_TEXT = 60
N_SCORED = 300
N_STRING = 10_000
MOST = 12  # tokens of an answer
LONGEST = 512  # tokens of a source, for a model that cuts none
TIE = 1e-4  # nats between two tokens whose order roundings of float32 can turn
SCRIPTS = ((0x20, 0x7F), (0xA0, 0x24F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0x97F))
SCRIPTS += ((0xE00, 0xE7F), (0x1100, 0x11FF), (0x3040, 0x30FF), (0x4E00, 0x9FFF))
SCRIPTS += ((0xAC00, 0xD7A3), (0x1F300, 0x1F64F), (0x20000, 0x2A6D6), (0x300, 0x36F), (0x0, 0x20))
SEARCHES = ("greedy", "beam 5")
DTYPES = {"float64": torch.float64, "float32": torch.float32}


class Pair(NamedTuple):
    """The same model as a run's task and in `transformers`, and its tokenizer there."""

    ours: "AnyTask"
    theirs: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerFast"

    @property
    def is_causal(self) -> bool:
        return not self.theirs.config.is_encoder_decoder


@cache
def texts(n: int) -> list[str]:
    """Beginnings of docstrings of the installed packages, of two to eight words."""
    chance = random.Random(0)
    rows = open_corpus("docstrings").rows("test")
    words = [word for row in rows for word in row["text"].split()]
    starts = (chance.randrange(len(words) - 8) for _ in range(n))
    return [" ".join(words[at : at + chance.randint(2, 8)]) for at in starts]


def strings(n: int) -> Iterator[str]:
    """Yield texts of assigned characters of many scripts, mixed, and pieces of real texts."""
    chance = random.Random(0)
    for _ in range(n):
        parts = []
        for _ in range(chance.randint(1, 4)):
            low, high = chance.choice(SCRIPTS)
            drawn = (chr(chance.randrange(low, high)) for _ in range(chance.randint(1, 12)))
            parts.append("".join(c for c in drawn if unicodedata.category(c) != "Cn"))
        parts.append(chance.choice(texts(N_TEXT)))
        yield chance.choice(("", " ")).join(chance.sample(parts, len(parts)))


def ours_exported(model_type: str, folder: Path) -> Path:
    """Write a random run of ours and its export; return the folder of both."""
    from lslm_lightning.interchange.exporting import export_model
    from lslm_lightning.interchange.layouts import layout_named
    from lslm_lightning.interchange.made_runs import write_run
    from tests.interchange.models import EXAMPLES, build_task, task_spec
    from tests.interchange.test_import import N_TOKEN, TOKENIZER
    from tests.interchange.test_layouts import set_what_they_lack

    parts = replace(EXAMPLES[model_type][0], vocab_size=N_TOKEN)
    task = build_task(parts, TOKENIZER, max_length=MOST).float()
    set_what_they_lack(layout_named(model_type), task, parts)
    (folder / "run").mkdir()
    config = {"model": task_spec(parts, max_length=MOST)}
    write_run(folder / "run", "lslm benchmark", config, TOKENIZER, task.state_dict(), {})
    export_model(folder / "run", folder / "theirs", layout=model_type)
    return folder


def theirs_imported(model_type: str, folder: Path) -> Path:
    """Write a random model of `transformers` and the run that it becomes; return the folder of
    both.
    """
    from lslm_lightning.interchange.importing import import_model
    from tests.interchange.test_import import CASES, their_folder

    settings = next(each for name, each in CASES.values() if name == model_type)
    import_model(their_folder(folder / "theirs", model_type, **settings), folder / "run")
    return folder


def opened(folder: Path, dtype: torch.dtype) -> Pair:
    """Return the run and the model of a folder, to compute in a type."""
    import transformers

    from lslm_lightning.runs import load_run
    from tests.interchange.models import exact

    config = transformers.AutoConfig.from_pretrained(folder / "theirs")
    is_pair = config.is_encoder_decoder
    auto = transformers.AutoModelForSeq2SeqLM if is_pair else transformers.AutoModelForCausalLM
    theirs = auto.from_pretrained(folder / "theirs", dtype=dtype).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "theirs")
    task = load_run(folder / "run").task.to(dtype).eval()
    task.min_length, task.max_length = 0, MOST
    return Pair(task, exact(theirs) if dtype == torch.float64 else theirs, tokenizer)


def longest_source(pair: Pair) -> int:
    """Return the number of tokens that sources are cut to."""
    ours = pair.ours
    if ours.max_source_length is None:
        ours.max_source_length = ours.backbone.max_positions or LONGEST
    return ours.max_source_length


def prompts(pair: Pair, n: int) -> list[list[int]]:
    """Return the ids of the texts as the model reads them, checked to be equal on both sides."""
    from lslm_lightning.contracts import Example

    if pair.is_causal:
        return [pair.tokenizer(text).input_ids[:16] for text in texts(n)]
    cut = {"truncation": True, "max_length": longest_source(pair)}
    theirs = [pair.tokenizer(text, **cut).input_ids for text in texts(n)]
    ours = pair.ours.read([Example(str(i), text, ()) for i, text in enumerate(texts(n))])
    assert ours == theirs, "ids of sources differ"
    return ours


@torch.no_grad()
def our_answers(pair: Pair, rows: Sequence[list[int]], search: str) -> list[list[int]]:
    """Return the new ids of each row, by the search of ours."""
    from lslm_lightning.decoding import Beam, Greedy
    from lslm_lightning.training.batches import padded

    pair.ours.search = Greedy() if search == "greedy" else Beam(5)
    if pair.is_causal:
        return [pair.ours.continue_any_length([row], MOST)[0] for row in rows]
    source = padded(rows, pair.ours.tokenizer.pad_id)
    decoded = pair.ours.decode(source, pair.ours.search)
    return [ids[:n] for ids, n in zip(decoded.ids.tolist(), decoded.n_token.tolist(), strict=True)]


@torch.no_grad()
def their_answers(pair: Pair, rows: Sequence[list[int]], search: str) -> list[list[int]]:
    """Return the new ids of each row, by `generate`."""
    settings = {"num_beams": 1 if search == "greedy" else 5, "max_new_tokens": MOST}
    settings |= {"do_sample": False, "early_stopping": False, "length_penalty": 1.0}
    end = pair.ours.tokenizer.eos_id
    found = []
    for row in rows:
        ids = torch.tensor([row])
        [written] = pair.theirs.generate(
            ids, attention_mask=torch.ones_like(ids), **settings
        ).tolist()
        written = written[len(row) if pair.is_causal else 1 :]
        found.append(written[: written.index(end) + 1] if end in written else written)
    return found


@torch.no_grad()
def logits(task: "AnyTask", source: list[int], target: list[int]) -> torch.Tensor:
    """Return the logits (T, V) after each id of `target`; a language model reads no source."""
    from lslm_lightning.interchange.verification import logits_of_pairs
    from lslm_lightning.training.causal import CausalTask

    ids = torch.tensor([target])
    if isinstance(task, CausalTask):
        return task.logits(ids)[0]
    return logits_of_pairs(task, torch.tensor([source]), ids)[0]


@torch.no_grad()
def is_tie(pair: Pair, row: list[int], ours: list[int], theirs: list[int]) -> bool:
    """Return whether the tokens in which two answers first differ are as probable, to `TIE`."""
    n = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
    if n is None:
        return False
    written = row if pair.is_causal else [pair.ours.tokenizer.bos_id]
    log_p = logits(pair.ours, row, [*written, *ours[:n]])[-1].log_softmax(-1)
    return bool((log_p[ours[n]] - log_p[theirs[n]]).abs() <= TIE)


@torch.no_grad()
def worst_difference(pair: Pair, rows: Sequence[list[int]]) -> float:
    """Return the largest difference of a logit."""
    from lslm_lightning.interchange.verification import written_tokens

    worst, written = 0.0, written_tokens(pair.ours)
    for row in rows:
        ids = torch.tensor([row])
        given = {} if pair.is_causal else {"decoder_input_ids": ids}
        others = pair.theirs(ids, **given).logits[0]
        used = written[written < others.size(-1)]  # a token may have no row there
        difference = logits(pair.ours, row, row)[:, used] - others[:, used]
        worst = max(worst, float(difference.abs().max()))
    return worst


def compared(
    make: Callable[[str, Path], Path], figures: Mapping[str, Figures], smoke: bool
) -> Figures:
    """Compare each layout in both types."""
    from tests.interchange.models import EXAMPLES

    found = {}
    writing = [name for name, each in EXAMPLES.items() if each[0].n_decoder_layer]
    for model_type in writing[: 2 if smoke else None]:
        with tempfile.TemporaryDirectory() as folder:
            path = make(model_type, Path(folder))
            for name, dtype in DTYPES.items():
                pair = opened(path, dtype)
                rows = prompts(pair, 8 if smoke else N_TEXT)
                own = {"worst": worst_difference(pair, rows), "answers": 0, "not equal": 0}
                own["ties"] = 0
                for search in SEARCHES:
                    answers = zip(
                        rows,
                        our_answers(pair, rows, search),
                        their_answers(pair, rows, search),
                        strict=True,
                    )
                    others = [each for each in answers if each[1] != each[2]]
                    own["answers"] += len(rows)
                    own["not equal"] += len(others)
                    own["ties"] += sum(is_tie(pair, *each) for each in others)
                found[f"{model_type}, {name}"] = own
                print(f"    {model_type}, {name}: {own}", flush=True)
    return found


def tokenizers(figures: Mapping[str, Figures], smoke: bool) -> Figures:
    """Count the texts whose ids or decoded texts differ, by kind of tokenizer."""
    import transformers

    from lslm_lightning.interchange.tokenizer_export import special_ids, write_tokenizer
    from tests.interchange.test_export import CORPUS, RECIPES

    found = {}
    for name, recipe in RECIPES.items():
        ours = recipe.train(CORPUS)
        kind = "sequence-to-sequence"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)
            write_tokenizer(ours, special_ids(ours, kind, ours.vocab_size), kind, None, path)
            (path / "config.json").write_text('{"model_type": "pegasus"}', "utf-8")
            theirs = transformers.AutoTokenizer.from_pretrained(path)
        wrong = 0
        for text in strings(100 if smoke else N_STRING):
            ids = ours.encode(text)
            decoded = theirs.decode(ids, skip_special_tokens=True)
            wrong += theirs(text).input_ids != [*ids, ours.eos_id] or decoded != ours.decode(ids)
        found[name] = {"strings": 100 if smoke else N_STRING, "not equal": wrong}
    return found


def trained(figures: Mapping[str, Figures], smoke: bool) -> Figures:
    """Score a trained language model and a trained translator, and their exports in the system of
    `transformers`.
    """
    from lslm_lightning import export_model
    from lslm_lightning.experiments.evaluation_sets import data_and_task
    from lslm_lightning.systems.checkpoint import Checkpoint
    from lslm_lightning.systems.hugging_face import HuggingFaceSystem
    from tests.benchmarks.bleus import bleus

    found = {}
    for config in (LANGUAGE_MODEL, TRANSLATION):
        run = trained_of(config, smoke)
        data, _ = data_and_task(run, {}, trust=False)
        examples = list(data.examples("test"))[: 8 if smoke else N_SCORED]
        with tempfile.TemporaryDirectory() as folder:
            path = export_model(run.path, Path(folder, "export")).path
            ours = Checkpoint(str(run.path), device="cpu")
            longest = ours.loaded.task.max_length
            theirs = HuggingFaceSystem(str(path), n_beam=5, device="cpu", max_new_tokens=longest)
            if config is LANGUAGE_MODEL:
                nats = [
                    sum(each.nats for each in system.log_prob(examples))
                    for system in (ours, theirs)
                ]
                found["nats of texts"] = {"run": nats[0], "export": nats[1]}
            else:
                scores = [
                    bleus(examples, list(system.generate(examples)))["bleu"]
                    for system in (ours, theirs)
                ]
                found["BLEU"] = {"run": scores[0], "export": scores[1]}
    return found


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Require equal answers, but for ties in float32, and equal ids."""
    rows = []
    for way in ("exported", "imported"):
        for name, limit, most in (("float64", 1e-9, 0.0), ("float32", 1e-5, 0.002)):
            own = [each for key, each in figures[way].items() if key.endswith(name)]
            n = sum(each["answers"] for each in own)
            unequal = sum(each["not equal"] for each in own)
            ties = sum(each["ties"] for each in own)
            rows += [
                Check(f"{way}, {name}: layouts", len(own)),
                Check("  largest difference of logits", max(e["worst"] for e in own), "<=", limit),
                Check(f"  share of answers that differ, of {n:,}", unequal / n, "<=", most),
                Check("  of them without a tie", unequal - ties, "<=", 0),
            ]
    rows += [
        Check(f"tokenizer, {name}: texts whose ids differ", each["not equal"], "<=", 0)
        for name, each in figures["tokenizers"].items()
    ]
    for name, each in figures["trained"].items():
        difference = abs(each["run"] - each["export"]) / max(1, abs(each["run"]))
        rows.append(Check(f"{name} of the run", each["run"]))
        rows.append(Check("  relative difference of the export's", difference, "<=", 1e-6))
    return rows


BENCHMARK = Benchmark(
    about="all layouts of transformers, in and out: equal answers and equal ids",
    minutes=12,
    parts={
        "exported": partial(compared, ours_exported),
        "imported": partial(compared, theirs_imported),
        "tokenizers": tokenizers,
        "trained": trained,
    },
    checks=checks,
)
