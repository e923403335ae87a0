"""Training speed of translation against a plain loop over Marian."""

from tests.benchmarks.benchmark import Benchmark
from tests.benchmarks.speed import race, speed_checks

CONFIG = "translation/multi30k_en_de_cpu.yaml"
SIZES = {"n_encoder_layer": 3, "n_decoder_layer": 3, "d_model": 256, "d_feedforward": 512, "n_head": 4, "dropout": 0.15}
WORDS = (
    *(f"--model.backbone.{name}={value}" for name, value in SIZES.items()),
    "--model.label_smoothing=0.1",
    "--data.tokenizer.vocab_size=6000",
    "--data.max_tokens=2048",
    "--trainer.precision=bf16-mixed",
)

BENCHMARK = Benchmark(
    about="training on Multi30k en-de against a plain loop over Marian: equal sizes, tokenizer, batches, precision, optimizer",
    minutes=8,
    parts={"speed": lambda done, smoke: race(CONFIG, "tests.benchmarks.marian_peer.MarianLoop", *WORDS, window=50, smoke=smoke)},
    checks=lambda figures: speed_checks(figures["speed"], "plain loop over Marian", 1.3),
    needs=("LSLM_DATA",),
)
