"""Reports of all tasks on Chinese data, in which every Latin word is one of the interface."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.contracts.example import Token
from lslm_lightning.evaluation.comparison import THIS
from lslm_lightning.evaluation.results import Entry, Results, compute_results
from lslm_lightning.localization import Term
from lslm_lightning.metrics.bleu import Bleu, Chrf
from lslm_lightning.reports import Code, Heatmap, Report, Section
from lslm_lightning.reports.composition import (
    compose_report,
    details_section,
    length_section,
    model_section,
)
from lslm_lightning.reports.evaluation import conclusion_on, lead
from lslm_lightning.reports.recordings import Aligned, RecordingPair, Sound, Spectrogram, TimeMark
from lslm_lightning.reports.trained import Trained, training_sections
from tasks.language_modeling.report import scored
from tasks.question_answering.data import Question
from tasks.question_answering.report import compared as compared_questions
from tasks.question_answering.report import sections as question_sections
from tasks.speech_recognition.data import Utterance
from tasks.speech_recognition.report import compared as compared_speech
from tasks.summarization.report import compared as compared_summaries
from tasks.summarization.report import sections as summary_sections
from tasks.translation.report import compared as compared_translations

METRICS = [Bleu("zh"), Chrf()]
EXAMPLES = [
    Example(
        str(i), f"他们在第{i}条路上慢慢走。", (f"一只狗{'快' * (i % 7)}跑回第{i}家。",), "zh", "zh"
    )
    for i in range(40)
]


def entry(name: str, n_right: int, **facts: object) -> Entry:
    """Return a system that answers the first examples with the reference, and repeats others."""
    outputs = [e.references[0] if i < n_right else "不知道。" for i, e in enumerate(EXAMPLES)]
    predictions = [
        Prediction(e.id, text, finish_reason="length" if i > 30 else "stop", n_token=9)
        for i, (e, text) in enumerate(zip(EXAMPLES, outputs, strict=True))
    ]
    costs = {"seconds_per_example": 0.01 * (n_right + 1), "n_parameter": 10**6 * (n_right + 1)}
    return Entry(name, predictions, facts={**costs, "training_flops": 1e12, **facts})


def results_of(*names: str) -> Results:
    """Return results of systems of which each has fewer right answers, and one has none at all."""
    entries = [entry(name, 30 - 12 * i) for i, name in enumerate(names)]
    mask = np.arange(len(EXAMPLES)) < 5
    known = [text for e in EXAMPLES[:20] for text in e.references]
    absent = Entry("无", reason="not defined for this system")
    return compute_results(EXAMPLES, [*entries, absent], METRICS, "bleu", known, mask, 20)


def training(*names: str) -> list[Section]:
    """Return the sections on the training of runs, with all that a run logs."""
    logged = ("loss", "learning_rate", "tokens_per_second", "bleu")
    rows = [
        {"step": step, "name": f"{split}/{name}", "value": 400.0 / step**3}
        for name in logged
        for split in ("train", "val")
        for step in (1, 2, 3)
    ]
    rows += [{"step": step, "name": "epoch", "value": float(step)} for step in (1, 2)]
    return training_sections([Trained(name, {"步长": name}, rows) for name in names], "bleu")


def page_of(name: str, task: str, *systems: str, **sections: object) -> Report:
    """Return the report of some systems with sections of a task."""
    results = results_of(*systems)
    facts = {
        "Corpus": "语料",
        "Digest of the data": Code("2:abc"),
        "Uncommitted changes": True,
        "Device": Term("CPU, 2 threads"),
        "Wall time": Term("2 min 3 s"),
        "Run of 甲": Term("run 路径-*: chose 路径-1, the newest of 2"),
    }
    lines = {"Architecture": "网络: 层 2, 偏置 yes, and 3 more", "Training": "steps 60, nodes 2"}
    details = details_section(facts, "lslm run", {"库": "2"}, {"甲": "a: 1"}, "run")
    model = model_section(lines, 12)
    return compose_report(
        name,
        task,
        conclusion_on(THIS, results, systems[1:])
        if THIS in systems
        else lead(results, METRICS, systems[1:]),
        results,
        details,
        EXAMPLES,
        METRICS,
        lengths=length_section({systems[0]: [2, 3]}, [3, 4]),
        training=[*([model] if model else []), *training("一次", *systems[2:])],
        date="2026-11-29",
        **sections,
    )


def outputs(n: int = 20) -> list[Prediction]:
    """Return answers of which the first are right."""
    texts = [e.references[0] if i < n else f"一只猫走回第{i}家。" for i, e in enumerate(EXAMPLES)]
    return [Prediction(e.id, text) for e, text in zip(EXAMPLES, texts, strict=True)]


def translation() -> list[Section]:
    """Return the sections of translations, and an attention map."""
    given = Heatmap(np.eye(2), ["一", "二"], ["三", "四"], caption="一二")
    return [*compared_translations(EXAMPLES, {"甲": outputs()}), Section("Attention", [given])]


def language_modeling() -> list[Section]:
    """Return the sections on scored texts of one and of two systems."""
    texts = [replace(e, source="") for e in EXAMPLES]

    def own(nats: float) -> list[Prediction]:
        return [
            Prediction(
                e.id, nats=nats * 9, tokens=[Token(i, nats, i) for i in range(9)], spelling=0.0
            )
            for e in texts
        ]

    return [
        *scored(texts, {Term("bits per byte"): own(2.0)}),
        *scored(texts, {"甲": own(2.0), "乙": own(3.0)}),
    ]


def summarization() -> list[Section]:
    """Return the sections of summaries, of a run and of an evaluation."""
    data = SimpleNamespace(examples=lambda split: EXAMPLES)
    return [
        *summary_sections(data, outputs()),
        *compared_summaries(EXAMPLES, {"甲": outputs()}),
    ]


def question_answering() -> list[Section]:
    """Return the sections of questions, of a run and of an evaluation."""
    passage = "小明住在北京，小红住在上海。"
    asked = [
        Question(
            str(i),
            f"{('谁', '什么', '为什么')[i % 3]}？\n{passage}",
            ("北京",) if i % 2 else ("",),
            "zh",
            "zh",
            asked=f"{('谁', '什么', '为什么')[i % 3]}？",
            passage=passage,
            starts=(4,) if i % 2 else (None,),
        )
        for i in range(60)
    ]
    given = ["北京", "上海", "", "广州"]
    answers = [Prediction(q.id, given[i % 4], nats=0.05 * i) for i, q in enumerate(asked)]
    return [*question_sections(asked, answers), *compared_questions(asked, {"甲": answers})]


def speech_recognition() -> list[Section]:
    """Return the sections of transcripts, and blocks of recordings."""
    spoken = [
        Utterance(e.id, f"{e.id}号", e.references, "zh", "zh", speaker="男女"[i % 2])
        for i, e in enumerate(EXAMPLES)
    ]
    texts = [p.output or "" for p in outputs()]
    recordings = [
        Aligned([RecordingPair("equal", "一", "一")]),
        Sound(b"", "audio/flac", "一号"),
        Spectrogram(np.ones((20, 4)), 100.0, [TimeMark(0, 4, "一")]),
    ]
    return [
        *compared_speech(spoken, {Term("output"): texts}),
        *compared_speech(spoken, {"甲": texts, "乙": texts}),
        Section("Recordings", recordings),
    ]


TASKS = (translation, language_modeling, summarization, question_answering, speech_recognition)


def reports() -> dict[str, Report]:
    """Return a report of a run of each task, and one of several systems."""
    made = {
        task.__name__: page_of("一次", task.__name__, THIS, "乙", "丙", of_task=task())
        for task in TASKS
    }
    return made | {"several": page_of("甲 against 乙", "translation", "甲", "乙")}
