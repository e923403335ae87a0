"""Table of results of both READMEs, from the records of the benchmarks."""

import re

from docs.generate.benchmark_tables import engine_label, multi30k, sweep
from docs.generate.benchmarks import hardware_of, recorded
from docs.generate.markdown import table
from tests.benchmarks.benchmark import number
from tests.benchmarks.record import Record

SWEEP = "language_sweep"
PAIRS = "multi30k"
ENGINES = "exports_speed"
COLUMNS = (0, 1, 3, 5)  # of the table of Multi30k: system, BLEU of both test sets, minutes
HEADINGS = {
    "en": {
        SWEEP: ("system", "bits per byte", "95 % interval", "parameters"),
        PAIRS: ("system", "BLEU, test 2016", "BLEU, test 2017", "minutes"),
    },
    "zh": {
        SWEEP: ("系统", "每字节比特数", "95% 置信区间", "参数量"),
        PAIRS: ("系统", "BLEU，2016 测试集", "BLEU，2017 测试集", "分钟"),
    },
}
CAPTIONS = {
    "en": {
        SWEEP: "Brown corpus in byte pairs, 15 minutes per network; lower is better.",
        PAIRS: "Multi30k, English to German; the other row is the same work in a plain loop over "
        "the Marian model of `transformers`. No intervals: only scores were recorded.",
        ENGINES: "Sentences per second of one such model, beam 5: {}.",
    },
    "zh": {
        SWEEP: "Brown 语料，BPE 子词，每个网络训练 15 分钟；越低越好。",
        PAIRS: "Multi30k 英译德；另一行是用 `transformers` 的 Marian 模型写成的朴素循环。"
        "只记录了分数，所以没有区间。",
        ENGINES: "这样一个模型用束宽 5 每秒翻译的句子数：{}。",
    },
}
IN_CHINESE = {"plain loop over Marian": "Marian 朴素循环"}


def results(language: str) -> str:
    """Return the tables in one language, each with its caption: what, hardware, command."""
    record = recorded(SWEEP)
    _, rows = sweep(record.figures)
    parts = [
        table(HEADINGS[language][SWEEP], rows[1:], numbers=3),  # without uniform bytes
        caption(SWEEP, record, language),
    ]
    record = recorded(PAIRS)
    _, rows = multi30k(record.figures)
    shown = [tuple(row[i] for i in COLUMNS) for row in rows]
    if language == "zh":
        shown = [(IN_CHINESE.get(name, name), *rest) for name, *rest in shown]
    parts += [
        table(HEADINGS[language][PAIRS], shown, numbers=3),
        caption(PAIRS, record, language),
    ]
    record = recorded(ENGINES)
    speeds = ", ".join(
        f"{engine_label(name)} {number(found['sentences_per_second'])}"
        for name, found in record.figures["answers"].items()
    )
    parts.append(caption(ENGINES, record, language).replace("{}", speeds))
    return "\n\n".join(parts)


def caption(name: str, record: Record, language: str) -> str:
    """Return the line under a table."""
    hardware = ", ".join(
        sorted({hardware_of(record.circumstances(part)) for part in record.figures})
    )
    command = f"`make bench ONLY={name}`"
    about = CAPTIONS[language][name]
    if language == "en":
        return f"{about} {hardware}; {command}."
    hardware = re.sub(r"(\d+) threads? of (.+) \((no )?bfloat16\)", in_chinese, hardware)
    return f"{about}{hardware}；{command}。"


def in_chinese(hardware: re.Match[str]) -> str:
    """Return the hardware of a measurement in Chinese."""
    n_thread, device, lacks = hardware.groups()
    return f"{device}，{n_thread} 个线程（{'无' if lacks else '有'} bfloat16）"
