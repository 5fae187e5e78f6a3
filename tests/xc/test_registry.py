"""One line at a class makes it known wherever functionals are asked for by name."""

from __future__ import annotations

import sys

import pytest
import torch

from deepchem_xc._files import data_file
from deepchem_xc.models.config import FUNCTIONALS, FunctionalSpec
from deepchem_xc.planewave.record.model_files import shipped_models
from deepchem_xc.xc import Ingredients, LibXC, PlainXC, ValGrad, XCFunctional, get_xc, registry
from deepchem_xc.xc.identity import name_or_content
from deepchem_xc.xc.registry import register, register_sum, registered_classes

# What others derive from.
ABSTRACT = {"XCFunctional", "GGAExchange", "_NeuralGGA"}
DENSITY = ValGrad(
    value=torch.tensor([0.1, 2.0], dtype=torch.float64),
    grad=torch.tensor([[0.1, 0.0], [0.0, 3.0], [0.0, 0.0]], dtype=torch.float64),
)


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    """The tables as they were."""
    for table in ("_names", "_classes", "_trained", "_derived"):
        monkeypatch.setattr(registry, table, getattr(registry, table).copy())


class Wigner(XCFunctional):
    """Wigner's correlation."""

    name, ingredients = "Wigner", Ingredients.DENSITY

    def __init__(self, c: float = 7.8, name: str = "Wigner"):
        super().__init__()
        self.c = torch.nn.Parameter(torch.as_tensor(c, dtype=torch.float64).detach())
        self.name = name

    def energy_density(self, variables):
        return -0.44 * variables.density / (variables.rs + self.c)


def energies(functional):
    return functional.get_edensityxc(DENSITY).detach()


def test_names_files_and_configuration_follow_from_one_line(tmp_path):
    with pytest.raises(ValueError, match="'Wigner' names exchange or correlation alone"):
        get_xc("Wigner")
    register("Wigner", trained=True)(Wigner)
    assert torch.equal(energies(get_xc("wigner")), energies(Wigner()))
    assert get_xc("lda_x + 0.5*WIGNER").name == "lda_x+0.5*Wigner"
    with pytest.raises(ValueError, match="Valid are LDA, .*Wigner"):
        get_xc("no functional")
    get_xc("Wigner").save(tmp_path / "mine.safetensors")
    assert type(get_xc(tmp_path / "mine.safetensors")) is Wigner
    assert "Wigner" in registry.trained_classes()


def test_further_lines_are_variants():
    register("Wigner38", options={"c": 3.8, "name": "Wigner38"})(register("Wigner")(Wigner))
    made = get_xc("wigner38")
    assert (made.name, made.c.item()) == ("Wigner38", 3.8)
    assert get_xc("Wigner").c.item() == 7.8


def test_a_name_of_libxcs_takes_its_place():
    assert isinstance(get_xc("lda_c_wigner"), LibXC)
    register("lda_c_wigner")(Wigner)
    assert type(get_xc("LDA_C_Wigner")) is Wigner
    number = LibXC("lda_c_wigner").number
    assert type(get_xc(number)) is Wigner
    assert "lda_c_wigner" not in registry.common_names()


def test_a_sum_is_known_by_its_name_and_by_its_parts():
    register_sum("Mine", "lda_x", "lda_c_pz")
    assert get_xc("mine").name == "Mine"
    assert get_xc("lda_c_pz+lda_x").name == "Mine"
    assert get_xc("lda_x+0.5*lda_c_pz").name == "lda_x+0.5*lda_c_pz"
    parts = energies(get_xc("lda_x")) + energies(get_xc("lda_c_pz"))
    assert torch.equal(energies(get_xc("mine")), parts)


@pytest.mark.parametrize("name", ["TPSS", "SCAN", "LDA", "r2SCAN", "BLYP", "revPBE"])
def test_every_whole_functional_is_the_sum_of_its_parts(name):
    parts = registry.whole_functionals()[name]
    assert get_xc("+".join(parts)).name == get_xc(name).name == name


def test_a_name_is_given_once():
    with pytest.raises(ValueError, match="there is already a functional with the name pbe"):
        register("pbe")(Wigner)
    with pytest.raises(ValueError, match="there is already a functional with the class name PBE"):
        register()(type("PBE", (XCFunctional,), {"family": 1}))


def test_no_class_of_the_package_is_forgotten():
    modules = [
        module
        for name, module in sys.modules.items()
        if name.startswith("deepchem_xc.xc.") and ".tests" not in name
    ]
    found = [x for m in modules for x in vars(m).values() if isinstance(x, type)]
    names = {cls.__name__ for cls in found if issubclass(cls, XCFunctional)}
    assert names - ABSTRACT - {PlainXC.__name__} == set(registered_classes())


def test_configuration_offers_what_is_registered_for_training():
    assert FUNCTIONALS == (
        "ConstrainedGGA",
        "ConstrainedMetaGGA",
        "PBE",
        "UnconstrainedGGA",
        "UnconstrainedMetaGGA",
        "recovered_paw",
        "experiment_paw",
        "recovered_gga",
        "experiment_gga",
        "cloned_pbe",
        "cloned_pbesol",
        "cloned_r2scan",
    )


def test_a_trained_functional_is_read_by_its_name(monkeypatch, tmp_path):
    """From any folder: in the command line, in sums and in training files alike."""
    by_path = energies(get_xc(data_file("recovered_gga.safetensors")))
    monkeypatch.chdir(tmp_path)
    for name in ("recovered_gga", "Recovered_GGA"):
        assert torch.equal(energies(get_xc(name)), by_path)
    half = energies(get_xc("0.5*recovered_gga + 0.5*PBE"))
    assert torch.allclose(half, 0.5 * by_path + 0.5 * energies(get_xc("PBE")), rtol=1e-14, atol=0.0)
    started = FunctionalSpec(type="recovered_gga").make_functional()
    assert torch.equal(energies(started), by_path)
    assert all(weight.requires_grad for weight in started.parameters())
    with pytest.raises(ValueError, match="recovered_gga is trained already"):
        FunctionalSpec(type="recovered_gga", options={"seed": 1})
    names = "recovered_paw, .*, cloned_pbe, cloned_pbesol, cloned_r2scan"
    with pytest.raises(ValueError, match=f"Valid are LDA, .*{names}"):
        get_xc("no functional")


def test_a_trained_functional_is_identified_by_its_content():
    content = name_or_content(str(data_file("experiment_gga.safetensors")))
    assert name_or_content("experiment_gga") == content != name_or_content("recovered_gga")
    assert name_or_content("0.5*Experiment_GGA + PBE") == f"0.5*{content} + PBE"


def test_every_trained_file_has_a_name():
    """In the folder of the project's data, and in the table of names, are the same functionals."""
    files = {path.name for path in data_file("recovered_gga.safetensors").parent.glob("*.s*")}
    models = {f"{name}.safetensors" for name in shipped_models()}
    assert sorted(files - models) == sorted(registry.trained_files().values())
