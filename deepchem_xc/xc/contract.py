"""The contract of an exchange-correlation functional: energy densities from densities.

A functional is a :class:`torch.nn.Module` and a ``deepchem.utils.dft_utils.BaseXC``. It has

``ingredients``
    the quantities it needs: ``Ingredients.DENSITY`` (LDA), ``| GRADIENT`` (GGA), ``| TAU``
    (meta-GGA). A solver provides these and nothing else. DeepChem's ``family`` (1, 2 or 4)
    follows; a class that sets only the family has the ingredients of that family.
``name``
    its name for :func:`deepchem_xc.xc.get_xc` and users.
``energy_density(variables)``
    the one method to write: energy per volume, (..., nr), in Hartree / bohr^3, from the screened
    quantities of a :class:`~deepchem_xc.xc.variables.DensityVariables`, in differentiable torch
    operations. It branches on ``variables.polarized`` where one and two channels differ, and gives
    the same energy for a closed shell in either form. It must work point by point, because many
    points are passed in pieces.

A hybrid also has ``exact_exchange``, a fraction of exact exchange, or terms that declare one
(:mod:`deepchem_xc.xc.exact_exchange`); its energy density is that of the other terms.

Solvers call ``get_edensityxc(densinfo)``, which screens the density, calls ``energy_density``, and
switches the result off in vacuum. A functional that wants the raw density overrides
``get_edensityxc`` instead and must then handle zero, negative and vacuum densities itself.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from ._deepchem import BaseXC, SpinParam, ValGrad
from .ingredients import Ingredients, family_of, ingredients_of
from .networks import check_weights
from .pieces import split_points
from .sharing import share, shared_names
from .variables import DensityVariables, channels_of, mapped

__all__ = ["PointwiseXC"]


class PointwiseXC(BaseXC, torch.nn.Module):
    """Functional to evaluate; :class:`~deepchem_xc.xc.XCFunctional` adds sums and files.

    Attributes
    ----------
    family : int
        1 for LDA, 2 for GGA, 4 for meta-GGA.
    name : str
        Name of the functional.
    density_threshold : float
        Densities below it are screened (see :mod:`deepchem_xc.xc.variables`), in 1 / bohr^3.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> isinstance(PBE(), PointwiseXC)
    True
    """

    # Plain attributes hide DeepChem's abstract property; every functional sets its own.
    family: int = 0
    name: str = ""
    density_threshold: float = 1e-15

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Translate the ingredients that a class declares into its family."""
        super().__init_subclass__(**keywords)
        declared = vars(cls).get("ingredients")
        if declared is None or isinstance(declared, property):
            return
        family = family_of(declared)
        if vars(cls).get("family", family) != family:
            raise ValueError(
                f"{cls.__name__} has family = {cls.family!r}, but its ingredients are those of "
                f"family {family}: leave the family out"
            )
        cls.family = family
        del cls.ingredients  # the property below reads them from the family

    @property
    def ingredients(self) -> Ingredients:
        """Quantities of the density that it needs: those of its family.

        Raises
        ------
        ValueError
            If its family is not 1, 2 or 4.
        """
        return ingredients_of(self.family, type(self).__name__)

    @ingredients.setter
    def ingredients(self, ingredients: Ingredients) -> None:
        self.family = family_of(ingredients)

    def energy_density(self, variables: DensityVariables) -> Tensor:
        """Energy per volume before the vacuum switch.

        Parameters
        ----------
        variables : DensityVariables
            Screened densities and quantities derived from them.

        Returns
        -------
        Tensor
            (..., nr), Hartree / bohr^3.
        """
        if self._sees_raw_density():
            return self.get_edensityxc(variables.densinfo)
        raise NotImplementedError(
            f"{type(self).__name__} must implement energy_density(variables); see deepchem_xc.xc"
        )

    def get_edensityxc(self, densinfo: ValGrad | SpinParam) -> Tensor:
        """Exchange-correlation energy per volume.

        Parameters
        ----------
        densinfo : ValGrad or SpinParam[ValGrad]
            Total density (one channel), or up and down densities (two channels): ``value``
            (..., nr) in 1 / bohr^3, for GGAs and meta-GGAs ``grad`` (..., 3, nr), for meta-GGAs
            ``kin`` (..., nr) = sum_i f_i |grad psi_i|^2 / 2.

        Returns
        -------
        Tensor
            (..., nr), Hartree / bohr^3; zero in vacuum.

        Raises
        ------
        ValueError
            If ``densinfo`` lacks a quantity that the family needs or is not in double precision,
            if a weight is NaN, infinite or not in double precision, or if ``energy_density`` does
            not give one number a point.
        """
        _ = self.ingredients  # raises for an invalid family
        check_weights(self)
        energies = []
        for piece in split_points(densinfo):
            variables = DensityVariables(piece, self.density_threshold)
            energies.append(variables.switch_off_in_vacuum(self._energy_at(variables)))
        return energies[0] if len(energies) == 1 else torch.cat(energies, dim=-1)

    def exchange_shares(self) -> dict[float, Any]:
        """Fractions of exact exchange that the functional declares, by omega.

        By default its attribute ``exact_exchange``, a number, tensor or parameter, if it has one;
        see :func:`~deepchem_xc.xc.exchange_shares`.
        """
        return {0.0: getattr(self, "exact_exchange", 0.0)}

    def _sees_raw_density(self) -> bool:
        return type(self).get_edensityxc is not PointwiseXC.get_edensityxc

    def _energy_at(self, variables: DensityVariables) -> Tensor:
        """One number a point; the terms of a sum share one set of variables."""
        energy = self.energy_density(variables)
        if not isinstance(energy, Tensor) or energy.shape != variables.shape:
            got = tuple(energy.shape) if isinstance(energy, Tensor) else repr(energy)
            raise ValueError(
                f"energy_density of {self.name or type(self).__name__} gives {got} instead of one "
                f"number a point, a tensor of shape {tuple(variables.shape)}; apply .squeeze(-1) "
                "to a network's output (..., nr, 1)"
            )
        return energy

    def get_vxc(self, densinfo: ValGrad | SpinParam) -> ValGrad | SpinParam:
        """Derivatives of the energy density (DeepChem's method, which differentiates it).

        Parameters
        ----------
        densinfo : ValGrad or SpinParam[ValGrad]
            As for :meth:`get_edensityxc`.

        Returns
        -------
        ValGrad or SpinParam[ValGrad]
            With respect to the density, Hartree; its gradient, Hartree bohr; for meta-GGAs also the
            kinetic energy density, without unit, and the Laplacian, which is zero.

        Raises
        ------
        ValueError
            As :meth:`get_edensityxc`.
        """
        variables = DensityVariables(densinfo)
        needs_tau = Ingredients.TAU in self.ingredients
        # These raise an error if the quantities are missing.
        _ = variables.gradients if Ingredients.GRADIENT in self.ingredients else None
        _ = variables.raw_tau if needs_tau else None
        # Give each channel its own tensors, or autograd adds their derivatives.
        filled = [mapped(channel, _alias) for channel in channels_of(densinfo)]
        if needs_tau:
            # DeepChem's method needs a Laplacian, though no functional here does.
            for channel in filled:
                channel.lapl = torch.zeros_like(channel.value)
        return super().get_vxc(SpinParam(*filled) if variables.polarized else filled[0])

    def forward(self, densinfo: ValGrad | SpinParam) -> Tensor:
        """Same as :meth:`get_edensityxc`."""
        return self.get_edensityxc(densinfo)

    def getparamnames(self, methodname: str, prefix: str = "") -> list[str]:
        """Names of the tensors that a method depends on (part of DeepChem's ``BaseXC``)."""
        if methodname not in ("get_edensityxc", "get_vxc", "forward"):
            raise KeyError(
                f"unknown method {methodname!r}; valid: get_edensityxc, get_vxc, forward"
            )
        return [prefix + name for name, _ in self.named_parameters()]

    def extra_repr(self) -> str:
        """Name, for printing (part of torch's ``Module``)."""
        return self.name

    def load_state_dict(self, *arguments: Any, **keywords: Any) -> Any:
        """As torch's; a parameter used in several places stays shared, also if ``assign=True``."""
        shared = shared_names(self)
        found = super().load_state_dict(*arguments, **keywords)
        share(self, shared)
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> PointwiseXC:
        for name, buffer in self._buffers.items():
            if buffer is not None and not buffer.is_leaf:
                raise ValueError(
                    f"{name!r} of {self.name or type(self).__name__} was computed from other "
                    "tensors that require gradients, and a copy would not follow them: compute it "
                    "in energy_density, or copy a functional made with its .detach()"
                )
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return copied

    def why_no_file(self) -> str | None:
        """Why no file can hold it; None if one can."""
        return None


def _alias(tensor: Tensor) -> Tensor:
    """New tensor with the same storage, in the same graph."""
    return tensor.view_as(tensor)
