"""`python lm_eval_client.py RUN EXPORT TASKS ADDRESS`: a run, and a server of it, asked by
lm_eval item for item.

EXPORT is the model in the layout of transformers, whose tokenizer lm_eval's client of completions
needs. Prints JSON as `lm_eval_peer` does. It runs in an environment with lm_eval.
"""

import json
import sys
from pathlib import Path

from lm_eval.models.openai_completions import LocalCompletionsAPI
from lm_eval_peer import answers, differences

from lslm_lightning.integrations.lm_eval import RunModel


def main(run: str, export: str, tasks: str, address: str) -> None:
    """Ask both, and print how their answers differ."""
    client = LocalCompletionsAPI(
        model="m0", base_url=address, tokenizer=export, num_concurrent=4, max_retries=1
    )
    ours = answers(RunModel(run, batch_size=8, device="cpu"), Path(tasks))
    theirs = answers(client, Path(tasks))
    print(json.dumps({task: differences(each, theirs[task]) for task, each in ours.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
