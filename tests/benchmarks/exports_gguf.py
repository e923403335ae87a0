"""Language models in GGUF files, in llama.cpp, against the runs that they are from."""

import json
import random
import subprocess
import tempfile
import time
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.exports import LANGUAGE_MODEL, environment, trained
from tests.benchmarks.job import JobError, environment_of

LLAMA_CPP = "llama-cpp-python>=0.3"  # built from its sources, for half an hour
LLAMA = (
    "--model.backbone.norm=torch.nn.RMSNorm",
    "--model.backbone.feed_forward=lslm_lightning.models.feed_forward.SwiGLU",
    "--model.backbone.n_kv_head=2",
)
STARCODER2 = (
    "--model.backbone.feed_forward=lslm_lightning.models.feed_forward.GELU",
    "--model.backbone.feed_forward.approximate=tanh",
)
MODELS = {"llama": LLAMA, "starcoder2": STARCODER2}
DTYPES = ("float32", "float16", "int8")
N_PROMPT = 50
N_NEW = 32
N_STRING = 5000
TIE = 0.02  # difference of two logits that keys in float16 and a table of GELU can turn
SCRIPTS = ((32, 126), (0, 31), (160, 1279), (1424, 1791), (2304, 3711), (8192, 8303))
SCRIPTS += ((12352, 12543), (19968, 40959), (44032, 55203), (127744, 128591), (65536, 131069))
"""Ranges of code points."""


def strings(n: int) -> Iterator[str]:
    """Random texts of many scripts, with spaces, digits and contractions."""
    chance = random.Random(0)
    for _ in range(n):
        low, high = chance.choice(SCRIPTS)
        drawn = "".join(
            chance.choice([chr(chance.randint(low, high)), chance.choice("  \n\t12.,'s")])
            for _ in range(chance.randint(0, 24))
        )
        # later versions of Unicode make letters of what is no character yet
        yield "".join(each for each in drawn if unicodedata.category(each) != "Cn")


def ours(task: object, prompts: list[list[int]], n_new: int) -> tuple[list[list[int]], float]:
    """Ids of greedy continuations, one prompt after the other, and tokens per second."""
    import torch

    from lslm_lightning.interchange.verification import continue_greedily

    task.eval()
    written = []
    n_token = 0
    began = time.perf_counter()
    with torch.no_grad():
        for prompt in prompts:
            [ids] = continue_greedily(task, torch.tensor([prompt]), n_new)
            n_token += len(ids)
            written.append(ids)
    return written, n_token / (time.perf_counter() - began)


def compare(name: str, python: Path, smoke: bool) -> Figures:
    """Train a model, export it in each type, and compare ids and continuations with llama.cpp."""
    import torch

    from lslm_lightning import export_model
    from lslm_lightning.corpora.lookup import open_corpus
    from lslm_lightning.interchange.verification import is_tie
    from lslm_lightning.runs import load_run

    torch.set_num_threads(1)
    run = trained((*LANGUAGE_MODEL, *MODELS[name]), smoke)
    task = load_run(str(run.path)).task
    texts = [row["text"] for row in open_corpus("docstrings").rows("test")]
    begun = [text[:60] for text in texts if len(text) > 80][: 4 if smoke else N_PROMPT]
    prompts = [[task.tokenizer.eos_id, *task.tokenizer.encode(text)] for text in begun]
    other = [*strings(40 if smoke else N_STRING), *texts[:200]]
    given = {"texts": other, "prompts": prompts, "n_new": N_NEW, "context": task.context}
    rows, speed = ours(task, prompts, N_NEW)
    written = [task.tokenizer.decode(row) for row in rows]

    def logits(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return task.logits(target)

    ids = [[task.tokenizer.eos_id, *row] for row in task.tokenizer.encode_batch(other)]
    found = {"ours": {"tokens_per_second": round(speed)}}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "input.json").write_text(json.dumps(given), "utf-8")
        for dtype in DTYPES:
            export = export_model(run.path, Path(folder, dtype), to="gguf", dtype=dtype)
            peer = Path(__file__).with_name("gguf_peer.py")
            file = export.path / "model.gguf"
            done = subprocess.run(
                [str(python), str(peer), str(file), str(Path(folder) / "input.json")],
                env=environment_of(),
                stdout=subprocess.PIPE,
                text=True,
            )
            if done.returncode:
                raise JobError(f"llama.cpp ended with status {done.returncode}")
            theirs = json.loads(done.stdout.splitlines()[-1])
            ties = [
                is_tie(logits, torch.tensor(prompt), row, other, TIE / 2, task)
                for prompt, row, other in zip(prompts, rows, theirs["rows"], strict=True)
                if row != other
            ]
            found[dtype] = {
                "package": theirs["package"],
                "mb": round(export.n_byte / 1e6, 2),
                "texts": len(other),
                "other ids": sum(a != b for a, b in zip(ids, theirs["ids"], strict=True)),
                "prompts": len(prompts),
                "equal": sum(a == b for a, b in zip(written, theirs["texts"], strict=True)),
                "ties": sum(ties),
                "tokens_per_second": round(theirs["tokens_per_second"]),
            }
    return found


def llama_cpp(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Each model of `MODELS`, in an environment with llama.cpp."""
    with environment(LLAMA_CPP) as python:
        return {name: compare(name, python, smoke) for name in MODELS}


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Require equal ids, and equal texts in float32, but where two tokens are as good."""
    rows = []
    for name, types in figures["llama_cpp"].items():
        exact = types["float32"]
        rows.append(
            Check(f"{name}: texts with other ids, of {exact['texts']}", exact["other ids"], "<=", 0)
        )
        for dtype, own in types.items():
            speed = own["tokens_per_second"]
            if dtype != "ours":
                n = own["prompts"] - own["ties"] if dtype == "float32" else None
                rows.append(Check(f"  equal greedy texts, {dtype}", own["equal"], ">=", n))
                rows.append(Check("    of the others, first different at a tie", own["ties"]))
            rows.append(Check(f"  tokens/s, {dtype}", speed))
    return rows


BENCHMARK = Benchmark(
    about="language models in GGUF files in llama.cpp: equal ids, equal texts, and how fast",
    minutes=40,
    parts={"llama_cpp": llama_cpp},
    checks=checks,
)
