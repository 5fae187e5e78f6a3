"""The network with probe points: the density at any points of space, as published elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from deepchem_xc.densities.angular import components, solid_harmonics
from deepchem_xc.densities.layers import (
    Edges,
    Features,
    Gate,
    Messages,
    Mixing,
    Products,
    perceptron,
)
from deepchem_xc.densities.message_passing import EMBEDDING
from deepchem_xc.densities.neighbours import Neighbours, find_neighbours
from deepchem_xc.densities.network import DensityNetwork, angular_momentum, channels_of
from deepchem_xc.densities.radial import radial_basis, smooth_cutoff
from deepchem_xc.planewave import Crystal, PlaneWaveBasis

#: Density that the network's output of 1 means, bohr^-3.
_SIZE = 0.02
#: Distance below which directions lose their meaning, bohr: densities are smooth at nuclei.
_NUCLEUS = 0.5
#: Points that are evaluated at a time: about 20 000 pairs.
_AT_A_TIME = 512


class ProbeDensityNetwork(DensityNetwork):
    """Density at points, from messages that atoms send to them.

    After each round of messages between atoms, the atoms within the cutoff of a point send it a
    message; what the point has received in the end makes the density there (P. B. Jorgensen,
    A. Bhowmik, npj Comput. Mater. 8, 183 (2022); T. Koker et al., npj Comput. Mater. 10, 161
    (2024)). Nothing in this construction fixes the number of electrons: `electron_error` is what it
    is off, and `density` adds a constant on the whole grid.

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
        Rounds of messages, features of each component, largest angular momentum, and number of
        radial functions.
    l_probe : int, optional
        Largest angular momentum of the features of a point, before the last message.
    cutoff : float, optional
        Distance beyond which atoms and points do not see each other in one round, Angstrom.
    neighbours : float, optional
        Typical number of neighbours within the cutoff; it scales the sums over them.
    seed : int or None, optional
        Of the initial parameters; None takes them from torch's generator.

    Raises
    ------
    ValueError
        For values that make no network.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 2.0, (1, 1, 1))
    >>> network = ProbeDensityNetwork({"Si": 4}, "total", channels=2, l_max=1, seed=0)
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
        l_max: int = 2,
        l_probe: int = 2,
        cutoff: float = 5.0,
        radial: int = 8,
        neighbours: float = 10.0,
        seed: int | None = 0,
    ) -> None:
        super().__init__(
            valences, target, spin, layers, channels, l_max, cutoff, radial, neighbours, seed
        )
        self.hyperparameters["l_probe"] = angular_momentum(l_probe, "l_probe")
        self.l_harmonics = max(l_max, l_probe)

        def make() -> None:
            self.message_passing = self._message_passing(l_max)
            self.embedding = nn.Embedding(len(self.valences), EMBEDDING)
            self.rounds = nn.ModuleList(
                _ProbeRound(
                    channels,
                    l_in=self.message_passing.ls[i],
                    l_harmonics=self.l_harmonics,
                    l_probe=l_probe,
                    l_out=0 if i == layers else l_probe,
                    nradial=radial + EMBEDDING,
                    neighbours=neighbours,
                    with_odd=self.spin,
                    is_first=i == 0,
                )
                for i in range(layers + 1)
            )
            self.output = perceptron(channels, 2 * channels, 1)
            self.odd_output = nn.Linear(channels, 1, bias=False) if self.spin else None

        self._build(make)

    def densities(
        self, bases: Sequence[PlaneWaveBasis], neighbours: Sequence[Neighbours] | None = None
    ) -> list[Tensor]:
        """See `DensityNetwork.densities`; with the constant that makes the electrons right."""
        pairs: Sequence[Neighbours | None] = [None] * len(bases)
        if neighbours is not None:
            pairs = neighbours
        found = []
        for basis, one in zip(bases, pairs, strict=True):
            grid = self.on_grid(basis, None if one is None else [one])
            excess = self._excess(grid, basis) / basis.volume
            found.append(basis.to_sphere(grid - excess / self.nspin))
        return found

    def electron_error(self, basis: PlaneWaveBasis) -> float:
        """Electrons of the network's own density on the grid, minus the right number."""
        with torch.no_grad():
            return float(self._excess(self.on_grid(basis), basis))

    def _excess(self, grid: Tensor, basis: PlaneWaveBasis) -> Tensor:
        electrons = grid.sum() / basis.ngrid * basis.volume
        return electrons - self.nelectrons(basis.crystal)

    def on_grid(
        self, basis: PlaneWaveBasis, neighbours: Sequence[Neighbours] | None = None
    ) -> Tensor:
        """The network's own density on the FFT grid, (nspin, n1, n2, n3), bohr^-3."""
        axes = [
            torch.arange(n, dtype=torch.float64, device=basis.device) / n for n in basis.fft_size
        ]
        points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, 2)
        values = self.at_points(basis.crystal, points, neighbours)
        return values.unflatten(-1, tuple(basis.fft_size))

    def at_points(
        self, crystal: Crystal, points: Tensor, neighbours: Sequence[Neighbours] | None = None
    ) -> Tensor:
        """The network's own density at points, (nspin, npoint), bohr^-3.

        Parameters
        ----------
        crystal : Crystal
            The structure.
        points : Tensor
            Reduced coordinates, (npoint, 3).
        neighbours : sequence of Neighbours, optional
            One element: the pairs of the atoms, if known.

        Raises
        ------
        ValueError
            As `check`.
        """
        found, _, elements = self._features(self.message_passing, [crystal], neighbours)
        tensors = [feature.even for feature in found]
        if self.spin:
            tensors += [feature.odd for feature in found if feature.odd is not None]
        pieces = points.split(_AT_A_TIME)
        repeat = torch.is_grad_enabled() and len(pieces) > 1
        evaluate = _RepeatedPiece(self) if repeat else self._at_some
        values = []
        for piece in pieces:
            pairs = find_neighbours(crystal, self.cutoff, piece)
            if repeat:  # memory for one piece only
                one = checkpoint(
                    evaluate, crystal, piece, pairs, elements, *tensors, use_reentrant=False
                )
            else:
                one = evaluate(crystal, piece, pairs, elements, *tensors)
            values.append(one)
        return torch.cat(values, -1)

    def _at_some(
        self, crystal: Crystal, points: Tensor, pairs: Neighbours, elements: Tensor, *atoms: Tensor
    ) -> Tensor:
        """`at_points` for a few points; `atoms` are the features of all rounds, even, then odd."""
        vectors = pairs.vectors(crystal, points)
        edges = self._edges(vectors, pairs, elements, len(points))
        features: Features | None = None
        number = len(self.rounds)
        for i, one in enumerate(self.rounds):
            sent = Features(atoms[i], atoms[number + i] if self.spin else None)
            features = one(sent, features, edges)
        assert features is not None
        scalars = features.even[..., 0]
        total = _SIZE * self.output(scalars).squeeze(-1)
        if features.odd is None or self.odd_output is None:
            return channels_of(total, None)
        return channels_of(total, _SIZE * self.odd_output(features.odd[..., 0]).squeeze(-1))

    def _edges(self, vectors: Tensor, pairs: Neighbours, elements: Tensor, npoint: int) -> Edges:
        """What messages from atoms to points depend on."""
        squares = vectors.square().sum(-1, keepdim=True)
        softened = vectors / (squares + _NUCLEUS**2).sqrt()
        harmonics = solid_harmonics(softened, self.l_harmonics)
        # A point may be at a nucleus, where the distance itself has no derivative.
        distances = torch.linalg.vector_norm(vectors, dim=-1)
        basis = radial_basis(distances, self.cutoff, self.message_passing.nradial)
        radial = torch.cat([basis, self.embedding(elements)[pairs.senders]], -1)
        decay = smooth_cutoff(distances, self.cutoff)
        return Edges(pairs.receivers, pairs.senders, harmonics, radial, decay, npoint)


class _RepeatedPiece:
    """`_at_some` with the parameters of now, also when a backward pass repeats it.

    Parameters may be others for one call (`torch.func.functional_call`): without a graph, or on
    another device.
    """

    def __init__(self, network: ProbeDensityNetwork) -> None:
        self._part = _AtSome(network)
        self._tensors: dict[str, Tensor] = {}
        self._tensors |= dict(self._part.named_parameters(remove_duplicate=False))
        self._tensors |= dict(self._part.named_buffers(remove_duplicate=False))

    def __call__(self, *arguments: Any) -> Tensor:
        found: Tensor = functional_call(self._part, self._tensors, arguments)
        return found


class _AtSome(nn.Module):
    """`ProbeDensityNetwork._at_some` as the call of a module."""

    def __init__(self, network: ProbeDensityNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, *arguments: Any) -> Tensor:
        return self.network._at_some(*arguments)


class _ProbeRound(nn.Module):
    """One message from atoms to points, and products of what the points have received."""

    def __init__(
        self,
        channels: int,
        l_in: int,
        l_harmonics: int,
        l_probe: int,
        l_out: int,
        nradial: int,
        neighbours: float,
        with_odd: bool,
        is_first: bool,
    ) -> None:
        super().__init__()

        def parts(alike: bool) -> nn.ModuleDict:
            made: dict[str, nn.Module] = {
                "messages": Messages(channels, l_in, l_harmonics, l_probe, nradial, neighbours),
                "products": Products(channels, l_probe, l_out, 1, alike),
                "quadratic": Mixing(l_out, channels, channels),
                "linear": Mixing(l_out, channels, channels),
            }
            if not is_first:
                made["own"] = Mixing(l_probe, channels, channels)
            return nn.ModuleDict(made)

        self.even = parts(alike=True)
        self.odd = parts(alike=False) if with_odd else None
        self.odd_squared = Products(channels, l_probe, l_out, 1) if with_odd else None
        self.ncomponent = components(l_out)
        self.gate = Gate(channels, l_out, with_odd)

    def forward(self, atoms: Features, points: Features | None, edges: Edges) -> Features:
        """Features of the points after the message."""
        kind = torch.zeros(edges.nreceiver, dtype=torch.long, device=edges.decay.device)
        even = _received(self.even, atoms.even, None if points is None else points.even, edges)
        products = self.even["products"](even, even, kind)
        if atoms.odd is None or self.odd is None or self.odd_squared is None:
            return self.gate(Features(self._assembled(self.even, even, products)))
        odd = _received(self.odd, atoms.odd, None if points is None else points.odd, edges)
        products = products + self.odd_squared(odd, odd, kind)
        mixed = self.odd["products"](even, odd, kind)
        return self.gate(
            Features(
                self._assembled(self.even, even, products), self._assembled(self.odd, odd, mixed)
            )
        )

    def _assembled(self, parts: nn.ModuleDict, received: Tensor, products: Tensor) -> Tensor:
        """Messages and their products, mixed."""
        linear: Tensor = parts["linear"](received[..., : self.ncomponent])
        return (linear + parts["quadratic"](products)) / 2.0**0.5


def _received(parts: nn.ModuleDict, atoms: Tensor, points: Tensor | None, edges: Edges) -> Tensor:
    """The message, added to what the points had before."""
    received: Tensor = parts["messages"](atoms, edges)
    return received if points is None else received + parts["own"](points)
