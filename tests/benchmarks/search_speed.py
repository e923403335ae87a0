"""Searches of a translator of Multi30k in PyTorch, `transformers` and CTranslate2: sentences per
second of the test set, and which answers are equal.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from lslm_lightning.contracts import Example
from lslm_lightning.decoding import Beam, Greedy, Search
from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.exports_speed import CONFIG, SINUSOIDAL, TIE
from tests.benchmarks.job import train

MINUTES = 8  # of training
N_ROUND = 5
SEARCHES: dict[str, Search] = {
    "greedy": Greedy(),
    "beam 5": Beam(beam_size=5),
    # CTranslate2 has no other, called by itself
    "beam 5, early stopping": Beam(beam_size=5, early_stopping=True),
}
LEAST = {"transformers": 2.0, "ctranslate2": 0.8}
"""What our sentences per second, divided by those of each peer, must reach."""
LEAST_OF_ENGINE = 0.95
"""What the engine must reach of CTranslate2 called by itself, in the same search."""

Batches = Sequence[Sequence[Example]]
Answers = dict[str, list[int]]
"""Ids of the answer to each example, `</s>` included."""


def training(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """A run whose model all libraries can express."""
    return train(CONFIG, SINUSOIDAL, f"--job.minutes={MINUTES}", smoke=smoke)


def searches(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Each search of all systems: medians of rounds by turns, in the same batches."""
    from lslm_lightning import export_model
    from tests.benchmarks.finished import Finished

    reference = done["training"]["run"]
    run = Finished(reference)
    task = run.task.eval()
    batches = run.data.evaluation_batches(run.data.examples("test")[: 4 if smoke else None])
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = export_model(reference, Path(folder, "transformers")).path
        return {
            name: compare(task, systems(task, path, search), batches, 1 if smoke else N_ROUND)
            for name, search in SEARCHES.items()
        }


def systems(
    task: object, path: Path, search: Search
) -> dict[str, Callable[[Sequence[Example]], Answers]]:
    """Each system by its name, as a function that answers a batch."""
    return {
        "ours": ours(task, search),
        "engine": ours(task, search, "ctranslate2"),
        "ctranslate2": ctranslate2(task, search),
        "transformers": transformers(task, search, path),
    }


def compare(
    task: object,
    named: Mapping[str, Callable[[Sequence[Example]], Answers]],
    batches: Batches,
    n_round: int,
) -> Figures:
    """Speed of each system, and the ids of examples that it answers otherwise than ours."""
    seconds: dict[str, list[float]] = {name: [] for name in named}
    found: dict[str, Answers] = {}
    for i in range(n_round + 1):
        for name, answer in named.items():
            began = time.perf_counter()
            found[name] = {id: ids for batch in batches for id, ids in answer(batch).items()}
            if i:  # the first round warms up
                seconds[name].append(time.perf_counter() - began)
    n = sum(map(len, batches))
    figures = {}
    for name, answers in found.items():
        others = sorted(id for id, ids in found["ours"].items() if answers[id] != ids)
        figures[name] = {
            "sentences_per_second": n / statistics.median(seconds[name]),
            "equal": 100 * (1 - len(others) / n),
            **different(task, batches, found["ours"], answers, others),
        }
    return figures


def different(
    task: object, batches: Batches, first: Answers, second: Answers, ids: Sequence[str]
) -> Figures:
    """Ids of unlike answers, apart by whether they are as probable."""
    examples = {e.id: e for batch in batches for e in batch}
    sources = task.read([examples[id] for id in ids]) if ids else []
    log_p = []
    for answers in (first, second):
        targets = [[task.tokenizer.bos_id, *answers[id]] for id in ids]
        nats = task.target_nats(sources, targets) if ids else []
        log_p.append([-each.mean() for each in nats])
    ties = [id for id, a, b in zip(ids, *log_p, strict=True) if abs(a - b) <= TIE]
    return {"ties": ties, "others": [id for id in ids if id not in ties]}


def ours(
    task: object, search: Search, engine_name: str | None = None
) -> Callable[[Sequence[Example]], Answers]:
    """The task's own search, in an engine, or in PyTorch without one."""
    from lslm_lightning.decoding.engine import open_engine

    engine = None if engine_name is None else open_engine(engine_name, task)

    def answer(batch: Sequence[Example]) -> Answers:
        task.engine = engine
        decoded = task.decode(task.padded_sources(batch), search)
        task.engine = None
        rows = zip(batch, decoded.ids.tolist(), decoded.n_token.tolist(), strict=True)
        return {example.id: ids[:n] for example, ids, n in rows}

    return answer


def ctranslate2(task: object, search: Search) -> Callable[[Sequence[Example]], Answers]:
    """`translate_batch` of CTranslate2, called plainly."""
    from lslm_lightning.decoding.engine import open_engine

    engine = open_engine("ctranslate2", task)
    n_beam = search.beam_size if isinstance(search, Beam) else 1

    def answer(batch: Sequence[Example]) -> Answers:
        results = engine.model.translate_batch(
            engine.named(task.read(batch)),
            beam_size=n_beam,
            length_penalty=1.0,
            return_end_token=True,
            max_input_length=0,
            max_decoding_length=task.max_length,
        )
        return {
            example.id: [engine.ids[token] for token in result.hypotheses[0]]
            for example, result in zip(batch, results, strict=True)
        }

    return answer


def transformers(
    task: object, search: Search, path: Path
) -> Callable[[Sequence[Example]], Answers]:
    """`generate` of `transformers` with the exported folder."""
    from transformers import AutoModelForSeq2SeqLM

    model = AutoModelForSeq2SeqLM.from_pretrained(path).eval()
    pad_id, eos_id = task.tokenizer.pad_id, task.tokenizer.eos_id
    settings = {"num_beams": 1}
    if isinstance(search, Beam):
        settings = {"num_beams": search.beam_size, "early_stopping": search.early_stopping}
        settings["length_penalty"] = search.length_penalty

    def answer(batch: Sequence[Example]) -> Answers:
        source = task.padded_sources(batch)
        found = model.generate(
            input_ids=source,
            attention_mask=(source != pad_id).long(),
            do_sample=False,
            max_new_tokens=task.max_length,
            **settings,
        )
        rows = found[:, 1:].tolist()
        cut = [ids[: ids.index(eos_id) + 1] if eos_id in ids else ids for ids in rows]
        return {example.id: ids for example, ids in zip(batch, cut, strict=True)}

    return answer


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Ratios of speeds, and the answers that are equal."""
    found = []
    for search, systems_of in figures["searches"].items():
        speed = {name: own["sentences_per_second"] for name, own in systems_of.items()}
        found += [Check(f"{search}: {name}, sentences/s", value) for name, value in speed.items()]
        for peer, least in LEAST.items():
            ratio = speed["ours"] / speed[peer]
            found.append(Check(f"{search}: ours to {peer}", ratio, ">=", least))
        # to the end, the engine searches for longer than CTranslate2 does by itself
        least_of_engine = None if search == "beam 5" else LEAST_OF_ENGINE
        ratio = speed["engine"] / speed["ctranslate2"]
        found.append(Check(f"{search}: engine to ctranslate2", ratio, ">=", least_of_engine))
        for name in ("engine", "ctranslate2", "transformers"):
            own = systems_of[name]
            found.append(Check(f"{search}: answers of {name} equal to ours, %", own["equal"]))
            found.append(Check(f"{search}: others of {name}, as probable", len(own["ties"])))
    return found


BENCHMARK = Benchmark(
    about="searches of a translator against transformers and CTranslate2: equal answers",
    minutes=25,
    parts={"training": training, "searches": searches},
    checks=checks,
    needs=("LSLM_DATA",),
)
