"""What both networks have in common: hyperparameters, elements, and the start of a prediction."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from ase.units import Bohr
from torch import Tensor, nn

from deepchem_xc._values import flag, real_number, whole_number
from deepchem_xc.densities.layers import Edges, Features
from deepchem_xc.densities.message_passing import MessagePassing
from deepchem_xc.densities.neighbours import Neighbours, find_neighbours
from deepchem_xc.planewave import Crystal, PlaneWaveBasis

TARGETS = ("difference", "total")


class DensityNetwork(nn.Module, abc.ABC):
    """From structures to densities, in double precision.

    Parameters
    ----------
    valences : mapping of str to float
        The elements that the network knows, each with the valence electrons of its potential.
    target : {"difference", "total"}
        Density less the superposition of atoms, which integrates to 0, or the total density.
    spin : bool
        Two channels. The total density is then even, and the magnetisation odd, when all initial
        moments change sign. Both targets have the whole magnetisation.
    layers : int
        Rounds of messages between atoms.
    channels : int
        Number of features of each component.
    l_max : int
        Largest angular momentum of the features between rounds.
    cutoff : float
        Distance beyond which atoms do not see each other in one round, Angstrom.
    radial : int
        Number of radial functions.
    neighbours : float
        Typical number of neighbours within the cutoff; it scales the sums over them.
    seed : int or None
        Of the initial parameters; None takes them from torch's generator.

    Raises
    ------
    ValueError
        For values that make no network.
    """

    def __init__(
        self,
        valences: Mapping[str, float],
        target: str,
        spin: bool,
        layers: int,
        channels: int,
        l_max: int,
        cutoff: float,
        radial: int,
        neighbours: float,
        seed: int | None,
    ) -> None:
        super().__init__()
        if target not in TARGETS:
            raise ValueError(f"target must be 'difference' or 'total', got {target!r}.")
        if not isinstance(valences, Mapping) or not valences:
            raise ValueError(
                f"valences must name at least one element, as in {{'Si': 4}}; got {valences!r}."
            )
        self.target = target
        self.spin = flag(spin, "spin")
        self.valences = {
            str(symbol): positive(valence, f"valences[{symbol!r}]", "electrons")
            for symbol, valence in sorted(valences.items())
        }
        self.hyperparameters: dict[str, Any] = {
            "valences": self.valences,
            "target": target,
            "spin": self.spin,
            "layers": whole_number(layers, "layers"),
            "channels": whole_number(channels, "channels"),
            "l_max": angular_momentum(l_max, "l_max"),
            "cutoff": positive(cutoff, "cutoff", "Angstrom"),
            "radial": whole_number(radial, "radial"),
            "neighbours": positive(neighbours, "neighbours", ""),
        }
        self._index = {symbol: i for i, symbol in enumerate(self.valences)}
        self._seed = seed

    def _build(self, make: Callable[[], None]) -> None:
        """Make the layers, with parameters from the seed, in double precision."""
        if self._seed is None:
            make()
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self._seed)
                make()
        self.double()

    def _message_passing(self, l_last: int) -> MessagePassing:
        made = self.hyperparameters
        return MessagePassing(
            len(self.valences),
            made["layers"],
            made["channels"],
            made["l_max"],
            l_last,
            self.cutoff,
            made["radial"],
            made["neighbours"],
            self.spin,
        )

    @property
    def nspin(self) -> int:
        """Number of channels: 1, the total density, or 2, up and down."""
        return 2 if self.spin else 1

    @property
    def cutoff(self) -> float:
        """Distance beyond which atoms do not see each other in one round, bohr."""
        return float(self.hyperparameters["cutoff"]) / Bohr

    def nelectrons(self, crystal: Crystal) -> float:
        """Integral of what is predicted: 0 for differences, else the valence electrons."""
        self.check(crystal)
        if self.target == "difference":
            return 0.0
        return sum(self.valences[symbol] for symbol in crystal.symbols)

    def check(self, crystal: Crystal) -> None:
        """Refuse structures that the network does not know.

        Raises
        ------
        ValueError
            For other elements, and for initial moments if the network has no spin.
        """
        unknown = sorted(set(crystal.symbols) - set(self.valences))
        if unknown:
            raise ValueError(
                f"the network does not know {', '.join(unknown)}; it was made for "
                f"{', '.join(self.valences)}. Train one with these elements."
            )
        if not self.spin and any(crystal.magnetic_moments or ()):
            raise ValueError(
                "the structure has initial magnetic moments, but the network was made without "
                "spin: remove the moments, or train a network with spin=True."
            )

    def neighbours(self, crystal: Crystal) -> Neighbours:
        """Pairs of atoms within the cutoff, which may be kept while the structure stays."""
        return find_neighbours(crystal, self.cutoff)

    def density(self, basis: PlaneWaveBasis) -> Tensor:
        """The predicted density of one structure; see `densities`."""
        return self.densities([basis])[0]

    @abc.abstractmethod
    def densities(
        self, bases: Sequence[PlaneWaveBasis], neighbours: Sequence[Neighbours] | None = None
    ) -> list[Tensor]:
        """The predicted densities of several structures, computed together.

        Parameters
        ----------
        bases : sequence of PlaneWaveBasis
            Structures, also displaced or strained ones (`PlaneWaveBasis.with_geometry`), and the
            plane waves of the densities.
        neighbours : sequence of Neighbours, optional
            Of each structure, as `neighbours` finds them.

        Returns
        -------
        list of Tensor
            (nspin, nG), complex128, bohr^-3, as in `planewave.fields.Fields`: the density or, for
            ``target="difference"``, what has to be added to superposed atoms without
            magnetisation. In the graph of the parameters, and of positions and lattice where these
            require gradients.

        Raises
        ------
        ValueError
            As `check`.
        """

    def forward(self, bases: Sequence[PlaneWaveBasis]) -> list[Tensor]:
        """As `densities`."""
        return self.densities(bases)

    def _features(
        self,
        message_passing: MessagePassing,
        crystals: Sequence[Crystal],
        neighbours: Sequence[Neighbours] | None,
    ) -> tuple[list[Features], Edges, Tensor]:
        """Features of all structures' atoms, the pairs, and the elements of the atoms."""
        for crystal in crystals:
            self.check(crystal)
        if neighbours is None:
            neighbours = [self.neighbours(crystal) for crystal in crystals]
        device = crystals[0].device
        symbols = [symbol for crystal in crystals for symbol in crystal.symbols]
        elements = torch.tensor([self._index[symbol] for symbol in symbols], device=device)
        moments = None
        if self.spin:
            given = [c.magnetic_moments or (0.0,) * c.natom for c in crystals]
            flat = [moment for one in given for moment in one]
            moments = torch.tensor(flat, dtype=torch.float64, device=device)
        vectors, receivers, senders, first = [], [], [], 0
        for crystal, pairs in zip(crystals, neighbours, strict=True):
            vectors.append(pairs.vectors(crystal))
            receivers.append(pairs.receivers + first)
            senders.append(pairs.senders + first)
            first += crystal.natom
        edges = message_passing.edges(
            torch.cat(vectors), torch.cat(receivers), torch.cat(senders), elements
        )
        return message_passing(elements, moments, edges), edges, elements


def channels_of(total: Tensor, magnetisation: Tensor | None) -> Tensor:
    """Channels of a density, (nspin, ...): the total alone, or up and down."""
    if magnetisation is None:
        return total.unsqueeze(0)
    return 0.5 * torch.stack([total + magnetisation, total - magnetisation])


def positive(value: Any, name: str, unit: str) -> float:
    """A positive, finite number, or ``ValueError``."""
    number = real_number(value, name, unit)
    if not 0.0 < number < float("inf"):
        raise ValueError(f"{name} must be positive, got {value!r}.")
    return number


def angular_momentum(value: Any, name: str, minimum: int = 1) -> int:
    """A whole number up to 6, or ``ValueError``."""
    number = whole_number(value, name, minimum)
    if number > 6:
        raise ValueError(f"{name} must be at most 6, got {value!r}.")
    return number
