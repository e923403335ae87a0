"""`python gguf_peer.py FILE INPUT`: a GGUF file in llama.cpp, used as its model card says.

INPUT is JSON: `texts` to split into ids, `prompts` to continue (lists of ids), `n_new` tokens of a
continuation, and `context`. Prints JSON: the ids of the texts, the continuations as texts and as
rows of ids, and tokens per second. It needs `llama_cpp` and nothing of this project.
"""

import json
import sys
import time
from itertools import islice
from pathlib import Path

import llama_cpp


def answers(file: str, given: dict) -> dict[str, object]:
    """Ids, greedy continuations and speed of the model in a file."""
    model = llama_cpp.Llama(
        file, n_ctx=given["context"], n_threads=1, n_threads_batch=1, verbose=False
    )
    ids = [model.tokenize(text.encode()) for text in given["texts"]]
    texts = []
    n_token = 0
    began = time.perf_counter()
    for prompt in given["prompts"]:
        output = model.create_completion(prompt, max_tokens=given["n_new"], temperature=0.0)
        texts.append(output["choices"][0]["text"])
        n_token += output["usage"]["completion_tokens"]
    seconds = time.perf_counter() - began
    rows = []
    for prompt in given["prompts"]:
        written = list(islice(model.generate(prompt, temp=0.0), given["n_new"]))
        end = written.index(model.token_eos()) + 1 if model.token_eos() in written else None
        rows.append(written[:end])
    return {
        "package": f"llama_cpp_python=={llama_cpp.__version__}",
        "ids": ids,
        "texts": texts,
        "rows": rows,
        "tokens_per_second": n_token / seconds,
    }


if __name__ == "__main__":
    print(json.dumps(answers(sys.argv[1], json.loads(Path(sys.argv[2]).read_text("utf-8")))))
