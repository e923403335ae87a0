"""`python lm_eval_peer.py RUN EXPORT TASKS`: a run and its export, asked by lm_eval item for item.

RUN is a run directory, EXPORT the same model in the layout of transformers, TASKS a folder with
tasks of lm_eval. Prints JSON: for each task the number of answers, how many are not equal, and the
largest difference of two log-likelihoods. It runs in an environment with lm_eval.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import lm_eval
from lm_eval.tasks import TaskManager

from lslm_lightning.integrations.lm_eval import RunModel


def answers(model, tasks: Path) -> dict[str, list[object]]:
    """Answers to all requests of each task, in order."""
    found = lm_eval.simple_evaluate(
        model=model,
        tasks=sorted(path.stem for path in tasks.glob("*.yaml")),
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        log_samples=True,
        bootstrap_iters=0,
    )
    return {
        task: [
            answer[0]
            for sample in sorted(samples, key=lambda sample: sample["doc_id"])
            for answer in sample["resps"]
        ]
        for task, samples in found["samples"].items()
    }


def pairs(ours: object, theirs: object) -> Iterator[tuple[object, object]]:
    """Numbers, texts and truths of two answers."""
    if isinstance(ours, tuple | list):
        yield from zip(ours, theirs, strict=True)
    else:
        yield ours, theirs


def differences(ours: list[object], theirs: list[object]) -> dict[str, float]:
    """Number of answers, how many are not equal, and the largest difference of two numbers."""
    found = [pair for each, other in zip(ours, theirs, strict=True) for pair in pairs(each, other)]
    numbers = [(a, b) for a, b in found if isinstance(a, float)]
    return {
        "answers": len(ours),
        "not equal": sum(a != b for a, b in found if not isinstance(a, float)),
        "worst difference": max((abs(a - b) for a, b in numbers), default=0.0),
    }


def compare(run: str, export: str, tasks: Path) -> dict[str, dict[str, float]]:
    """Differences between the answers of a run and those of its export, by task."""
    from lm_eval.models.huggingface import HFLM

    own = RunModel(run, batch_size=8, device="cpu")
    others = answers(HFLM(pretrained=export, device="cpu", dtype="float32", batch_size=8), tasks)
    return {task: differences(ours, others[task]) for task, ours in answers(own, tasks).items()}


if __name__ == "__main__":
    run, export, tasks = sys.argv[1:]
    print(json.dumps(compare(run, export, Path(tasks))))
