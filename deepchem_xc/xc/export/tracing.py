"""From a functional to a program of plain torch operations.

Energy and derivatives are evaluated once with symbolic numbers of points, and every operation that
autograd performs on the way is recorded (``make_fx``). The record has no derivatives left to take
and no Python left to run; ``torch.export`` turns it into a program that files can hold.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..contract import PointwiseXC
from ..libxc import LibXC
from ..one_orbital import OneOrbital
from ..plain import PlainXC
from .invariants import InvariantVariables
from .signature import Signature

if TYPE_CHECKING:
    from torch.export import ExportedProgram

__all__ = ["frozen_copy", "refuse_parts", "trace"]

# Number of points of the example; others than 0 and 1, which torch treats as special.
_EXAMPLE = 7


def refuse_parts(functional: PointwiseXC) -> None:
    """Raise ``ValueError`` for parts that cannot be written as torch operations of one point.

    Parameters
    ----------
    functional : XCFunctional
        It is left as it is.

    Examples
    --------
    >>> from deepchem_xc.xc import get_xc
    >>> refuse_parts(get_xc("gga_x_pbe + lda_c_pz"))
    Traceback (most recent call last):
    ...
    ValueError: gga_x_pbe+lda_c_pz cannot be exported: lda_c_pz is evaluated by libxc, not by ...
    """
    for part in functional.modules():
        if not isinstance(part, PointwiseXC):
            reason = (
                "is TorchScript, whose operations cannot be recorded: give the module itself"
                if isinstance(part, torch.jit.ScriptModule)
                else ""
            )
        elif isinstance(part, LibXC):
            reason = (
                "is evaluated by libxc, not by torch. Take a functional in torch (LDA, PBE, "
                "PBEsol, revPBE, RPBE, BLYP, r2SCAN, networks), or let the other code call libxc "
                "for this part and export the rest"
            )
        elif isinstance(part, PlainXC):
            reason = (
                "derives from DeepChem's BaseXC alone and sees gradients and raw densities. "
                "Derive it from deepchem_xc.xc.XCFunctional, with energy_density(variables)"
            )
        elif isinstance(part, OneOrbital):
            reason = (
                "computes tau from the gradient: export the functional inside it, and give it "
                "tau = sigma / (8 rho)"
            )
        elif part._sees_raw_density():
            reason = (
                "overrides get_edensityxc and sees gradients and raw densities. Write its "
                "energy_density(variables) instead, from variables.density, sigma, s2 and tau"
            )
        else:
            reason = ""
        if reason:
            name = getattr(part, "name", "") or type(part).__name__
            raise ValueError(f"{functional.name} cannot be exported: {name} {reason}")


def frozen_copy(functional: PointwiseXC) -> PointwiseXC:
    """Copy on the CPU whose weights are constants.

    Parameters
    ----------
    functional : XCFunctional
        It is left as it is.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> any(weight.requires_grad for weight in frozen_copy(PBE(trainable=True)).parameters())
    False
    """
    return copy.deepcopy(functional).cpu().requires_grad_(False).eval()


def trace(functional: PointwiseXC, signature: Signature) -> ExportedProgram:
    """Program that computes energy per volume and its first derivatives at any number of points.

    Parameters
    ----------
    functional : XCFunctional
        From `frozen_copy`.
    signature : Signature
        Of its ingredients.

    Returns
    -------
    torch.export.ExportedProgram
        From the inputs to the outputs of `signature`.

    Raises
    ------
    ValueError
        If its operations depend on the values of the density.

    Examples
    --------
    >>> from deepchem_xc.xc import SlaterExchange
    >>> slater = SlaterExchange()
    >>> program = trace(slater, Signature.of(slater.ingredients, nspin=1)).module()
    >>> energy, potential = program(torch.ones(1, 2).double())
    >>> potential
    tensor([[-0.9847, -0.9847]], dtype=torch.float64)
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    example = [
        torch.full((len(given.rows), _EXAMPLE), 0.5, dtype=torch.float64)
        for given in signature.inputs
    ]
    # Weights are no inputs of the program: its caller has none.
    record = make_fx(_evaluation(functional), tracing_mode="symbolic", _allow_non_fake_inputs=True)
    try:
        operations = record(*example)
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{functional.name} cannot be exported, because its operations cannot be recorded for "
            "any density and any number of points. Its energy_density must not look at values: "
            "replace `if`, float(...), .item() and .numpy() by torch.where and torch.clamp, and "
            f"use no gradients or densinfo ({first})"
        ) from error
    number = torch.export.Dim("n", min=0)
    program = torch.export.export(
        _Program(operations, signature),
        tuple(example),
        dynamic_shapes={given.name: {1: number} for given in signature.inputs},
    )
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                # Lines of Python and paths of the machine on which it was made.
                node.meta.pop("stack_trace", None)
    return program


def _evaluation(functional: PointwiseXC) -> Callable[..., tuple[Tensor, ...]]:
    """Energy and derivatives as a function of the inputs."""

    def evaluate(*given: Tensor) -> tuple[Tensor, ...]:
        inputs = [x.detach().requires_grad_() for x in given]
        variables = InvariantVariables(inputs, functional.density_threshold)
        with torch.enable_grad():
            energy = variables.switch_off_in_vacuum(functional._energy_at(variables))
        if not energy.requires_grad:
            return energy, *(torch.zeros_like(x) for x in inputs)
        # Points do not know each other, so that the sum's derivatives are those of each point.
        derivatives = torch.autograd.grad(
            energy.sum(), inputs, allow_unused=True, materialize_grads=True
        )
        # Recorded derivatives could not be differentiated again, since parts of their graph are
        # cut: without detach() a caller would get wrong second derivatives.
        return energy.detach(), *(x.detach() for x in derivatives)

    return evaluate


class _Program(torch.nn.Module):
    """Recorded operations behind arguments that have names."""

    def __init__(self, operations: torch.fx.GraphModule, signature: Signature) -> None:
        super().__init__()
        self.operations = operations
        self.inputs = [given.name for given in signature.inputs]
        for name, weight in list(operations.named_parameters()):
            # Nothing of it is trained any more.
            owner, _, own = name.rpartition(".")
            module = operations.get_submodule(owner)
            delattr(module, own)
            module.register_buffer(own, weight.detach())

    def forward(self, rho: Tensor, sigma: Any = None, tau: Any = None) -> Any:
        given = {"rho": rho, "sigma": sigma, "tau": tau}
        inputs = [given[name] for name in self.inputs]
        for x in inputs:
            # Single precision would go through, with a tenth of the digits.
            torch.ops.aten._assert_tensor_metadata.default(x, dtype=torch.float64)
        return self.operations(*inputs)
