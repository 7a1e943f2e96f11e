"""Optimisers and generators as named tensors, whole whoever keeps which part, and back."""

import torch
from torch import Tensor

from scannable.training._distributed import Peers
from scannable.training._seeds import derive
from scannable.training._share import part


def moments(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return what an optimiser remembers, by the number of the parameter: in parts where that is kept in parts."""
    kept = optimiser.state_dict()["state"]
    return {f"optimiser.{number}.{key}": x for number, state in kept.items() for key, x in state.items()}


def restore_moments(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor], numbers: list[int]) -> None:
    """Let an optimiser remember them, given whole.

    Args:
        optimiser: It must have the parameters of the one that wrote them.
        tensors: Among them what ``moments`` returned.
        numbers: The parameters that had any: one that no loss has reached yet has none.

    Raises:
        LookupError: If they are of other parameters.
    """
    found: dict[int, dict[str, Tensor]] = {}
    parameters = [x for group in optimiser.param_groups for x in group["params"]]
    for name, x in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimiser":
            number, _, key = rest.partition(".")
            like = parameters[int(number)]
            if x.dim() and x.shape != like.shape:
                raise LookupError(f"{name} of shape {tuple(x.shape)}")
            found.setdefault(int(number), {})[key] = part(x, like) if x.dim() else x
    if sorted(found) != numbers:
        raise LookupError(f"moments of parameters {sorted(found)} instead of {numbers}")
    optimiser.load_state_dict({"state": found, "param_groups": optimiser.state_dict()["param_groups"]})


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed torch's global generators, that of the CPU and that of the device."""
    torch.random.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def generators(device: torch.device, peers: Peers) -> dict[str, Tensor]:
    """Return the states of torch's global generators in all processes."""
    tensors = {_name("cpu", rank): x for rank, x in enumerate(peers.gather(torch.get_rng_state()))}
    if device.type == "cuda":
        states = peers.gather(torch.cuda.get_rng_state(device))
        tensors |= {_name("cuda", rank): x for rank, x in enumerate(states)}
    return tensors


def restore_generators(
    tensors: dict[str, Tensor], device: torch.device, peers: Peers, *, seed: int, step: int
) -> None:
    """Go on with them; a process that had none is given generators that seed, step and its rank decide.

    Raises:
        KeyError: If there are none of the first process.
    """
    if peers.rank and _name("cpu", peers.rank) not in tensors:
        seed_generators(derive(seed, f"dropout {peers.rank}", step), device)
        return
    torch.set_rng_state(tensors[_name("cpu", peers.rank)])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors[_name("cuda", peers.rank)], device)


def _name(kind: str, rank: int) -> str:
    return f"generator.{kind}.{rank}" if rank else f"generator.{kind}"
