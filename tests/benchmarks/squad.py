"""Answers in passages of Wikipedia, or none, learned from 3,852 questions: against what needs no
model.
"""

from collections.abc import Mapping, Sequence

from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.reported import beside, minutes, one_run

CONFIG = "question_answering/squad_lstm_cpu.yaml"
CERTAIN = 0.05


def forced(answers: Sequence) -> list:
    """The best answer of each that is not none: what a system says where it must say something."""
    from dataclasses import replace

    best = [next((a for a in p.alternatives if a.output), None) for p in answers]
    return [
        p if a is None else replace(p, output=a.output, nats=a.nats)
        for p, a in zip(answers, best, strict=True)
    ]


def against(examples: Sequence, answers: Sequence, systems: Sequence) -> Figures:
    """F1 of answers, and of each system its own, the difference, and p of a paired test."""
    from lslm_lightning.evaluation.scoring import score
    from lslm_lightning.metrics.agreement import TokenF1
    from lslm_lightning.metrics.significance import paired_randomization

    metric = TokenF1(examples[0].language)
    ours = score(examples, answers, [metric], n_resample=0)
    found = {}
    for system in systems:
        theirs = score(examples, list(system.generate(examples)), [metric], n_resample=0)
        test = paired_randomization(metric, ours.rows["f1"], theirs.rows["f1"])
        found[system.name] = {"f1": theirs["f1"].value, "difference": test.difference, "p": test.p}
    return {"f1": ours["f1"].value, "number": len(examples), "against": found}


def exams(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """The whole test split; its answerable questions alone, where something must be said; and 32
    articles of XQuAD, all answerable.
    """
    import torch

    from tasks.question_answering.data import is_answerable
    from tasks.question_answering.extractive.data import SpanData
    from tests.benchmarks.finished import Finished

    run = Finished(done["training"]["run"])
    systems = run.task.report.baselines(run.data)
    examples = run.data.examples("test")
    by_id = {p.id: p for p in run.predictions}
    examples = [e for e in examples if e.id in by_id]  # of a smoke test not all
    answers = [by_id[e.id] for e in examples]
    answerable = [i for i, e in enumerate(examples) if is_answerable(e)]
    said = forced([answers[i] for i in answerable])
    sizes = {
        name: getattr(run.data.reading, name)
        for name in ("max_length", "stride", "max_question_length")
    }
    unseen = SpanData(
        "xquad-en", run.data.recipe, eval_batch_tokens=run.data.eval_batch_tokens, **sizes
    )
    clean = unseen.examples("clean")[: 8 if smoke else None]
    run.task.threshold.fill_(torch.inf)
    by_id = {p.id: p for p in run.task.answering.predict(unseen.evaluation_batches(clean))}
    return {
        "test": against(examples, answers, systems),
        "answerable": against([examples[i] for i in answerable], said, systems),
        "xquad": against(clean, [by_id[e.id] for e in clean], systems),
    }


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Better than no answer on all, and than both others on what has one."""
    test, answerable, xquad = (figures["exams"][name] for name in ("test", "answerable", "xquad"))
    rows = [
        Check("F1", test["f1"]),
        Check("exact match", figures["training"]["scores"]["exact_match"]),
    ]
    rows += [
        Check("F1 over no answer", test["against"]["no answer"]["difference"], ">", 0),
        Check("p of it", test["against"]["no answer"]["p"], "<", CERTAIN),
        Check("F1 on answerable questions alone", answerable["f1"]),
    ]
    for name in ("most frequent span", "word overlap"):
        found = answerable["against"][name]
        rows += [
            Check(f"the same of {name}", found["f1"]),
            Check(f"F1 over {name}", found["difference"], ">", 0),
        ]
        rows.append(Check("p of it", found["p"], "<", CERTAIN))
    rows.append(Check("F1 on the clean part of XQuAD", xquad["f1"]))
    rows += [Check(f"the same of {name}", found["f1"]) for name, found in xquad["against"].items()]
    return [*rows, *beside(figures, "f1"), minutes(figures, 35)]


BENCHMARK = Benchmark(
    about=(
        "SQuAD by article, from 3,852 questions in 25 minutes: F1 against no answer, a "
        "frequent span, and word overlap"
    ),
    minutes=32,
    parts={**one_run(CONFIG, dict.fromkeys(("exact_match", "f1"), "rules:squad")), "exams": exams},
    checks=checks,
    needs=("LSLM_DATA",),
)
