"""Adapters on disk in the layout of the package `peft`."""

import json
import re
from collections.abc import Collection, Mapping
from copy import copy
from pathlib import Path

from torch import Tensor, nn

from lslm_lightning.adapters.low_rank import NAME, is_of_adapter
from lslm_lightning.files import atomic_write
from lslm_lightning.text.json_texts import parse_json

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
KINDS = {  # (encodes, decodes): task types of peft, which decide the class of its model
    (True, False): "FEATURE_EXTRACTION",
    (False, True): "CAUSAL_LM",
    (True, True): "SEQ_2_SEQ_LM",
}


OUTSIDE = "base_model.model."  # before the names of weights
OF_ADAPTER = re.compile(r"\.(lora_\w+)(?:\.weight)?$")  # end of a name in a file
ALIKE = {"r": "rank", "lora_alpha": "alpha"}  # settings that must be equal, and ours of the same
RESCALING = ("use_rslora", "rank_pattern", "alpha_pattern")  # settings that change the scale


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
        f"{OUTSIDE}{name}": weight.detach().cpu().contiguous().clone()
        for name, weight in found.items()
    }
    atomic_write(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    atomic_write(folder / CONFIG, json.dumps(described, indent=2, sort_keys=True) + "\n")


def read_adapter(network: nn.Module, folder: Path) -> dict[str, Tensor]:
    """Return the weights of an adapter in a folder, by their names in a network with an adapter of
    the same settings.

    Raises:
        ValueError: the folder has no adapter, or one with other settings or layers.
    """
    from peft import LoraConfig
    from safetensors.torch import load_file

    configs: dict[str, LoraConfig] = vars(network)["peft_config"]
    own = configs[NAME]
    try:
        described = parse_json((folder / CONFIG).read_text("utf-8"))
        tensors = load_file(folder / WEIGHTS)
        kind = (described["peft_type"], bool(described.get("use_dora")))
        given = {name: described[name] for name in ALIKE}
    except Exception as error:  # safetensors has errors of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"model.adapter.start={folder} has no adapter of peft that can be read ({reason}); "
            f"name a folder with {CONFIG} and {WEIGHTS}"
        ) from None
    if kind != ("LORA", own.use_dora):
        raise ValueError(
            f"model.adapter.start={folder} is an adapter of another kind than model.adapter; a "
            "LoRA starts from a LoRA, and a DoRA from a DoRA"
        )
    for name in RESCALING:
        if described.get(name):
            raise ValueError(
                f"model.adapter.start={folder} has {name}={described[name]} in {CONFIG}, but "
                "model.adapter scales every layer by alpha / rank; name an adapter without it"
            )
    for name, ours in ALIKE.items():
        if given[name] != getattr(own, name):
            raise ValueError(
                f"model.adapter.start={folder} has {ours}={given[name]}, and model.adapter.{ours}="
                f"{getattr(own, name)}; give both the same"
            )
    found = {
        OF_ADAPTER.sub(rf".\1.{NAME}.weight", name.removeprefix(OUTSIDE)): tensor
        for name, tensor in tensors.items()
    }
    weights = network.state_dict()
    lacking = [name for name in weights if is_of_adapter(name) and name not in found]
    strange = [
        name
        for name, tensor in found.items()
        if name not in weights or weights[name].shape != tensor.shape
    ]
    if lacking or strange:
        raise ValueError(
            f"model.adapter.start={folder} has other layers than model.adapter.targets and "
            f"also_train name, such as {(strange or lacking)[0]}; name those of the adapter"
        )
    return found
