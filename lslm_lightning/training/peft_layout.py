"""Adapters on disk in the layout of the package `peft`."""

import json
from collections.abc import Collection, Mapping
from copy import copy
from pathlib import Path

from torch import Tensor, nn

from lslm_lightning.adapters.low_rank import NAME
from lslm_lightning.files import atomic_write

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
KINDS = {  # (encodes, decodes): task types of peft, which decide the class of its model
    (True, False): "FEATURE_EXTRACTION",
    (False, True): "CAUSAL_LM",
    (True, True): "SEQ_2_SEQ_LM",
}


def write_adapter(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    whole: Collection[str],
    kind: tuple[bool, bool],
    base: str | None,
    folder: Path,
) -> None:
    """Write the adapter of a network as `adapter_config.json` and `adapter_model.safetensors`.

    Args:
        network: network with an adapter.
        weights: weights of the network by name, on the CPU or any device.
        whole: names of modules of the network that were trained beside the adapter, which are
            written whole.
        kind: whether the network encodes, and whether it decodes.
        base: name of the base, for those who read the file.
        folder: is created if it is missing.
    """
    from peft import LoraConfig, get_peft_model_state_dict
    from safetensors.torch import save

    configs: dict[str, LoraConfig] = vars(network)["peft_config"]
    config = copy(configs[NAME])
    config.base_model_name_or_path = base
    config.inference_mode = True
    config.modules_to_save = list(whole) or None
    if hasattr(network, "get_input_embeddings"):  # one of transformers
        config.task_type = KINDS[kind]
    found = get_peft_model_state_dict(network, dict(weights), NAME, save_embedding_layers=False)
    found |= {name: weight for name, weight in weights.items() if name.rpartition(".")[0] in whole}
    described = config.to_dict()
    described = {
        name: sorted(value) if isinstance(value, set) else value
        for name, value in described.items()
    }
    tensors = {
        f"base_model.model.{name}": weight.detach().cpu().contiguous().clone()
        for name, weight in found.items()
    }
    atomic_write(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    atomic_write(folder / CONFIG, json.dumps(described, indent=2, sort_keys=True) + "\n")
