"""Molecules in trainings: gradients are those of converged calculations, crystals beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from deepchem_xc.data import DFTEntry
from deepchem_xc.models import XCModel
from deepchem_xc.models.functional import default_network
from deepchem_xc.xc import PBE, ExactExchange, HybridXC, XCFunctional, get_xc
from tests.differences import assert_agreement, named_differences
from tests.models.molecules import atomisation, system
from tests.models.systems import dataset, silicon

# Labels of zeros hold no electrons.
pytestmark = pytest.mark.filterwarnings("ignore::deepchem_xc.feat.OtherElectronsWarning")


def every_type() -> list[DFTEntry]:
    """Restricted and unrestricted molecules of every type, and a crystal."""
    return [
        DFTEntry.create("ae", 0.09, atomisation("LiH", {"Li": 1, "H": 1})),
        DFTEntry.create("ie", 0.2, [system("Li"), system("Li", charge=1, spin=0)]),
        of_zeros("dm", system("H2O")),
        of_zeros("dens", system("NH2")),
        DFTEntry.create("energy", -214.0, [silicon(ecut=100.0)]),
    ]


def of_zeros(e_type: str, one: dict[str, Any]) -> DFTEntry:
    """An entry whose label is an array of zeros."""
    empty = DFTEntry.create(e_type, None, [one])
    return DFTEntry.create(e_type, np.zeros(empty.kind.label_shape(empty)), [one])


def network_beside(known: str) -> XCFunctional:
    torch.manual_seed(3)
    return HybridXC(get_xc(known), default_network(3, 4, 1, 1), 0.02, 1.0).double()


def hybrid() -> XCFunctional:
    share = torch.nn.Parameter(torch.tensor(0.25, dtype=torch.float64))
    return share * ExactExchange() + (1 - share) * get_xc("gga_x_pbe") + get_xc("gga_c_pbe")


def losses(
    entries: list[DFTEntry], functional: XCFunctional, interval: int = 1
) -> dict[str, Tensor]:
    """Loss of each entry, and that of the batch, with everything computed anew."""
    model = XCModel(functional=functional, scf_interval=interval)
    model.functional = functional  # the object itself, whose gradients are asked for
    values = [model.model.training_value(entry, 0) for entry in entries]
    labels = [entry.get_true_val() for entry in entries]
    found = {
        repr(entry): model.objective([entry], [value], [label], [1.0])
        for entry, value, label in zip(entries, values, labels, strict=True)
    }
    return {**found, "batch": model.objective(entries, values, labels, [1.0] * len(entries))}


def assert_gradients(entries: list[DFTEntry], functional: XCFunctional, step: float) -> None:
    """Adjoint and differences agree to 1e-6 along a random direction, entry by entry."""
    parameters = [p for p in functional.parameters() if p.requires_grad]
    generator = torch.Generator().manual_seed(7)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    exact = {}
    for name, loss in losses(entries, functional).items():
        gradient = torch.autograd.grad(loss, parameters, retain_graph=True)
        exact[name] = sum(float((g * d).sum()) for g, d in zip(gradient, direction, strict=True))
    starts = [p.detach().clone() for p in parameters]

    def moved(x: float) -> dict[str, Tensor]:
        with torch.no_grad():
            for p, start, d in zip(parameters, starts, direction, strict=True):
                p.copy_(start + float(x) * d)
            return losses(entries, functional)

    found = named_differences(moved, step, halvings=3)
    for name, value in exact.items():
        assert_agreement(value, found[name], 1e-6, name=name)


def test_the_gradient_of_a_batch_of_molecules_and_a_crystal_is_that_of_differences() -> None:
    assert_gradients(every_type(), network_beside("gga_x_pbe+gga_c_pbe"), 0.04)


def test_the_gradient_with_a_trained_fraction_of_exact_exchange() -> None:
    entries = [one for one in every_type() if not one.systems[0].is_crystal]
    assert_gradients(entries, hybrid(), 0.04)


@pytest.mark.parametrize("make", [lambda: PBE(trainable=True), hybrid])
def test_kept_densities_give_the_gradient_of_the_converged_energies(make: Any) -> None:
    functional = make()
    parameters = list(functional.parameters())
    entry = DFTEntry.create("ae", 0.09, atomisation("LiH", {"Li": 1, "H": 1}))
    found = [
        torch.autograd.grad(losses([entry], functional, interval)["batch"], parameters)
        for interval in (1, 5)
    ]
    for one, other in zip(*found, strict=True):
        assert float(other) == pytest.approx(float(one), rel=1e-9)


def test_kept_densities_serve_to_first_order_and_are_refreshed() -> None:
    entry = DFTEntry.create("ae", 0.09, atomisation("LiH", {"Li": 1, "H": 1}))
    errors = []
    for step in (1e-2, 5e-3):
        functional = hybrid()
        model = XCModel(functional=functional, scf_interval=3)
        (share,) = model.functional.parameters()
        model.model.training_value(entry, 0)
        share.data += step
        frozen = model.model.training_value(entry, 1)
        again = model.model.training_value(entry, 3)
        assert model.ground_states.report.calculations == 6
        exact = model.model.prediction(entry)
        assert again.item() == pytest.approx(exact.item(), abs=1e-9)
        errors.append(abs(frozen.item() - exact.item()))
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.1)  # of second order in the step


def test_a_training_on_molecules_and_a_crystal_learns_and_goes_on_from_its_checkpoint(
    tmp_path: Any,
) -> None:
    entries = every_type()
    labels = XCModel(functional=PBE(trainable=True)).predict_values(dataset(*entries))
    learned = [
        DFTEntry.create(e.entry_type, label, [dict(s.system) for s in e.systems])
        for e, label in zip(entries, labels, strict=True)
    ]
    start = PBE(trainable=True)
    with torch.no_grad():
        start.terms[0].mu *= 1.1

    def model(folder: str) -> XCModel:
        return XCModel(
            functional=start,
            batch_size=5,
            learning_rate=3e-3,
            scf_interval=2,
            model_dir=str(tmp_path / folder),
        )

    whole = model("whole")
    found = [whole.fit(dataset(*learned), nb_epoch=1, checkpoint_interval=0) for _ in range(4)]
    assert found[-1] < 0.2 * found[0]
    half = model("half")
    half.fit(dataset(*learned), nb_epoch=2, checkpoint_interval=1)
    rest = model("half")
    rest.restore()
    rest.fit(dataset(*learned), nb_epoch=2, checkpoint_interval=0)
    pairs = zip(whole.functional.parameters(), rest.functional.parameters(), strict=True)
    for one, other in pairs:
        assert other.item() == pytest.approx(one.item(), abs=1e-7)
