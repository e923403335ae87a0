"""English to Chinese on sentences of Tatoeba."""

from tests.benchmarks.reported import only_reported

BENCHMARK = only_reported(
    "Tatoeba en-zh: BLEU by Chinese tokens",
    28,
    "translation/tatoeba_en_zh_cpu.yaml",
    "bleu",
    "tok:zh",
)
