"""Packages that only some uses need, and the extras of the installation that bring them."""

EXTRAS = {
    "accelerate": "hub",
    "ai_edge_litert": "litert",
    "ctranslate2": "export",
    "fastapi": "serve",
    "gguf": "export",
    "jieba": "chinese",
    "litert_torch": "litert",
    "lm_eval": "lm-eval",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "peft": "hub",
    "prometheus_client": "serve",
    "python_multipart": "serve",
    "soundfile": "audio",
    "transformers": "hub",
    "uvicorn": "serve",
}


class MissingPackageError(ImportError):
    """Error for a package that the base installation does not bring.

    Args:
        package: name of the package, a key of `EXTRAS`.
        use: what the package is needed for, as the start of a sentence.
    """

    def __init__(self, package: str, use: str) -> None:
        extra = f'pip install "lslm-lightning[{EXTRAS[package]}]"'
        super().__init__(f"{use} needs the package {package}: {extra}")
