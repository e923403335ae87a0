"""Chinese poems of the Song dynasty."""

from tests.benchmarks.reported import only_reported

BENCHMARK = only_reported(
    "Chinese ci poetry: bits per byte",
    38,
    "language_modeling/chinese_poetry_cpu.yaml",
    "bits_per_byte",
    "nrefs:1",
)
