"""Devices on which a trained model is used."""


def usable_device(device: str) -> str:
    """Return the name of a device of this machine.

    Args:
        device: "cpu", "cuda", "cuda:1", ...; "auto" is a GPU if there is one, else the CPU.

    Raises:
        ValueError: torch knows no such device, or the machine has none.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch is built without it
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"device={device} cannot be used here ({reason}); take cpu, or auto for a GPU if there "
            "is one"
        ) from None
    return device
