"""The network with functions around atoms: plane waves of the density without a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from deepchem_xc.densities.charges import ChargeFlow
from deepchem_xc.densities.gaussians import GaussianShapes
from deepchem_xc.densities.layers import Features, Mixing
from deepchem_xc.densities.message_passing import EMBEDDING
from deepchem_xc.densities.neighbours import Neighbours
from deepchem_xc.densities.network import (
    DensityNetwork,
    angular_momentum,
    channels_of,
    positive,
)
from deepchem_xc.planewave import PlaneWaveBasis

#: Widths of the Gaussians, bohr: each 1.32 times the one before. What they cannot represent of
#: difference densities is 0.06 % of the electrons in aluminium, 0.16 % in silicon, 0.3 % in LiCl
#: (with semicore) and AlAs, all of them distorted.
WIDTHS = tuple(0.2 * 12.5 ** (i / 9) for i in range(10))
#: Factor of the head's first output, so that a new network predicts a small difference.
_START = 0.1


class AtomDensityNetwork(DensityNetwork):
    """Density as a sum of Gaussians times solid harmonics around atoms.

    Equivariant message passing gives each atom features; a linear head makes them coefficients of
    functions whose Fourier transforms are known in closed form (`gaussians`). The density comes out
    as plane waves, periodic images included. The number of electrons is exact by construction:
    spherical functions hold no charge, except for what moves along pairs of neighbours (`charges`)
    and, for the total density, the valence electrons of each atom.

    Parameters
    ----------
    valences : mapping of str to float
        The elements that the network knows, each with the valence electrons of its potential.
    target : {"difference", "total"}, optional
        Density less the superposition of atoms, which integrates to 0, or the total density.
    spin : bool, optional
        Two channels. The total density is then even, and the magnetisation odd, when all initial
        moments change sign. Both targets have the whole magnetisation.
    layers, channels, l_max, radial : int, optional
        Rounds of messages, features of each component, largest angular momentum between rounds, and
        number of radial functions.
    l_density : int, optional
        Largest angular momentum of the functions around atoms.
    widths : sequence of float, optional
        Widths of the Gaussians, bohr.
    cutoff : float, optional
        Distance beyond which atoms do not see each other in one round, Angstrom.
    neighbours : float, optional
        Typical number of neighbours within the cutoff; it scales the sums over them.
    seed : int or None, optional
        Of the initial parameters; None takes them from torch's generator.

    Raises
    ------
    ValueError
        For values that make no network.

    References
    ----------
    Message passing: S. Batzner et al., Nat. Commun. 13, 2453 (2022); I. Batatia et al., arXiv
    2206.07697. Difference densities and functions around atoms: X. Li et al., arXiv 2510.00788.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> network = AtomDensityNetwork({"Si": 4}, "total", channels=4, l_max=1, seed=0)
    >>> density = network.density(basis)
    >>> round(density[0, 0].real.item() * float(basis.volume), 9)  # electrons
    8.0
    """

    def __init__(
        self,
        valences: Mapping[str, float],
        target: str = "difference",
        spin: bool = False,
        layers: int = 2,
        channels: int = 16,
        l_max: int = 3,
        l_density: int = 4,
        widths: Sequence[float] = WIDTHS,
        cutoff: float = 5.0,
        radial: int = 8,
        neighbours: float = 10.0,
        seed: int | None = 0,
    ) -> None:
        super().__init__(
            valences, target, spin, layers, channels, l_max, cutoff, radial, neighbours, seed
        )
        l_density = angular_momentum(l_density, "l_density")
        widths = [positive(width, "widths", "bohr") for width in widths]
        if len(widths) < 2 or len(set(widths)) < len(widths):
            raise ValueError(f"widths must be at least two different ones (bohr), got {widths}.")
        self.hyperparameters |= {"l_density": l_density, "widths": tuple(widths)}

        def make() -> None:
            self.message_passing = self._message_passing(l_density)
            self.shapes = GaussianShapes(widths, l_density)
            size = 2 * EMBEDDING + radial
            self.flow = ChargeFlow(channels, size)
            number = len(self.valences)
            counts = [self.shapes.counts(l) for l in range(l_density + 1)]
            self.head = _Head(channels, counts, number)
            self.atoms = nn.Parameter(torch.zeros(number, counts[0], 1))
            if self.spin:
                self.odd_head = _Head(channels, [len(widths), *counts[1:]], number)

        self._build(make)
        # The Gaussian that holds an atom's charge, of about 1 bohr; the others give it its shape.
        self._charged = min(range(len(widths)), key=lambda i: abs(widths[i] - 1.0))

    def densities(
        self, bases: Sequence[PlaneWaveBasis], neighbours: Sequence[Neighbours] | None = None
    ) -> list[Tensor]:
        """See `DensityNetwork.densities`."""
        crystals = [basis.crystal for basis in bases]
        found, edges, elements = self._features(self.message_passing, crystals, neighbours)
        features = found[-1]
        charges = self.flow(features.even[..., 0], edges)
        symbols = [symbol for crystal in crystals for symbol in crystal.symbols]
        if self.target == "total":
            charges = charges + charges.new_tensor([self.valences[symbol] for symbol in symbols])
        coefficients = self._coefficients(features, charges, elements)
        parts = coefficients.split([crystal.natom for crystal in crystals], 1)
        densities = []
        for basis, part in zip(bases, parts):
            crystal = basis.crystal
            sums = self.shapes.on_sphere(
                part, crystal.positions, crystal.reciprocal_lattice, basis.g_vectors
            )
            densities.append(channels_of(sums[0], sums[1] if self.spin else None) / basis.volume)
        return densities

    def _coefficients(self, features: Features, charges: Tensor, elements: Tensor) -> Tensor:
        """Of the Gaussians: of the total and, with spin, of the magnetisation.

        Returns
        -------
        Tensor
            (nspin, natom, nwidth, components), electrons.
        """
        first, *higher = self.head(features.even, elements)
        total = self.shapes.neutral([first + self.atoms[elements], *higher])
        charge = torch.zeros_like(total)
        charge[:, self._charged, 0] = charges
        total = total + charge
        if features.odd is None:
            return total.unsqueeze(0)
        return torch.stack([total, self.shapes.charged(self.odd_head(features.odd, elements))])


class _Head(nn.Module):
    """Linear maps from features to coefficients, for each l and element."""

    def __init__(self, channels: int, counts: Sequence[int], nelement: int) -> None:
        super().__init__()
        self.counts = list(counts)
        self.mixing = Mixing(len(counts) - 1, channels, max(counts), nelement)

    def forward(self, features: Tensor, elements: Tensor) -> list[Tensor]:
        """For each l (natom, count, 2l + 1)."""
        mixed = _START * self.mixing(features, elements)
        return [mixed[:, :count, l * l : (l + 1) ** 2] for l, count in enumerate(self.counts)]
