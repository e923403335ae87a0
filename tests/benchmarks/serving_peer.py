"""`python serving_peer.py FOLDER --port N`: a plain FastAPI handler around `generate` of
`transformers`, as a tutorial writes it. Each request is answered on its own, in a thread.
"""

import argparse
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer


def application(folder: str) -> FastAPI:
    """Return the application with the model of a folder."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    is_pair = AutoConfig.from_pretrained(folder).is_encoder_decoder
    kind = AutoModelForSeq2SeqLM if is_pair else AutoModelForCausalLM
    model = kind.from_pretrained(folder).eval()
    app = FastAPI()

    @app.get("/ready")
    def ready() -> dict[str, str]:
        """Answer once the model is loaded."""
        return {"status": "ok"}

    @app.post("/generate")
    def generate(body: dict[str, Any]) -> dict[str, Any]:
        """Continue or translate a prompt; the other fields are settings of `generate`."""
        text = body.pop("prompt")
        given = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            [ids] = model.generate(**given, **body)
        new = ids[1:] if is_pair else ids[given["input_ids"].shape[1] :]
        return {"text": tokenizer.decode(new, skip_special_tokens=True), "n_token": len(new)}

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--port", type=int, required=True)
    own = parser.parse_args()
    uvicorn.run(application(own.folder), port=own.port, log_level="warning")
