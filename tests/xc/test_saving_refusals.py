"""Files of functionals: what is refused, when writing and when reading."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from deepchem_xc.xc import (
    PBE,
    ConstrainedGGA,
    FunctionalFileError,
    XCFunctional,
    get_xc,
    load_functional,
)
from deepchem_xc.xc.file_format import digest
from tests.xc.saved import header_of


def rewrite(path, functional, change, **tensors):
    """A file whose header is changed on purpose, its checksum being right."""
    functional.save(path)
    header = header_of(path)
    change(header)
    content = {**functional.state_dict(), **tensors}
    content = {name: tensor.contiguous() for name, tensor in content.items()}
    header["sha256"] = digest(header, content)
    save_file(content, path, metadata={"deepchem_xc": json.dumps(header)})


# what is refused when writing --------------------------------------------------------------------


def test_a_class_of_the_same_name_is_not_taken_for_it(path):
    class PBE(XCFunctional):
        name, family = "PBE", 1

    with pytest.raises(ValueError, match="PBE is not a functional of deepchem_xc"):
        PBE().save(path)


def test_options_that_cannot_be_written(path):
    class NoAttribute(XCFunctional):
        family = 1

        def __init__(self, strength):
            super().__init__()

    class Odd(XCFunctional):
        family = 1

        def __init__(self, strength):
            super().__init__()
            self.strength = strength

    with pytest.raises(ValueError, match="needs 'strength', which is not an attribute"):
        NoAttribute(1.0).save(path, classes=[NoAttribute])
    for strength, message in (
        (object(), "is a object"),
        (float("nan"), "is nan"),
        (torch.tanh, r"cannot be saved.*instead of a function give a layer"),
        (torch.zeros(10_001), "10001 elements of torch.float32: files hold up to 10000"),
        (torch.zeros(2, dtype=torch.complex64), "of torch.complex64: files hold"),
        (torch.full((2,), torch.inf), "must be finite"),
        (torch.float16, "is a dtype"),
    ):
        with pytest.raises(ValueError, match=rf"Odd\.options.*{message}"):
            Odd(strength).save(path, classes=[Odd])


def test_what_would_come_back_as_something_else(path):
    class Power(XCFunctional):
        name, family = "power", 1

        def __init__(self, power=1.0):
            super().__init__()
            self.exponent = power

        def energy_density(self, variables):
            return -(variables.density**self.exponent)

    class Powers(XCFunctional):
        family = 1

        def __init__(self, *powers):
            super().__init__()

    Power().save(path, classes=[Power])
    path.unlink()
    message = r"Power read from a file would be another.*Power does not keep 'power'.*self\.power"
    with pytest.raises(ValueError, match=message):
        Power(1.3).save(path, classes=[Power])
    with pytest.raises(ValueError, match=r"Powers takes any number of arguments: write.*options"):
        Powers(1.0).save(path, classes=[Powers])
    exchanged = ConstrainedGGA(seed=0, start="random")
    exchanged.exchange_network[1] = torch.nn.Tanh()
    with pytest.raises(ValueError, match="ConstrainedGGA read from a file would be another"):
        exchanged.save(path)
    exchanged.exchange_network = torch.nn.Sequential(torch.nn.Linear(1, 1).double())
    message = "ConstrainedGGA could not be read .*do not fit the architecture"
    with pytest.raises(ValueError, match=message):
        exchanged.save(path)
    assert not path.exists()


def test_energies_that_are_not_finite_are_no_other_functional(path):
    """PBE with a negative beta is NaN in places, before and after."""
    functional = PBE(beta=-0.6, trainable=True)
    functional.save(path)
    assert float(load_functional(path).terms[1].beta.detach()) == -0.6


def test_a_class_with_the_name_of_another(path):
    class PBE(XCFunctional):
        name, family = "PBE", 1

    get_xc("PBE").save(path)
    with pytest.raises(FunctionalFileError, match="class PBE has the same name as another one"):
        load_functional(path, classes=[PBE])
    with pytest.raises(ValueError, match="class PBE has the same name as another one"):
        PBE().save(path, classes=[PBE])


def test_nan_is_not_written(path):
    functional = ConstrainedGGA()
    with torch.no_grad():
        functional.exchange_network[0].weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"exchange_network\.0\.weight.* contain NaN"):
        functional.save(path)
    assert not path.exists()


# what is refused when reading --------------------------------------------------------------------


def test_no_file(path):
    for read in (load_functional, lambda p: get_xc(str(p))):
        with pytest.raises(FileNotFoundError, match="no file .*mine.xc.safetensors"):
            read(path)


@pytest.mark.parametrize("position", [0.0, 0.1, 0.3, 0.9, 1.0])
def test_every_damaged_byte_is_noticed(position, path):
    ConstrainedGGA(start="random").save(path)
    content = bytearray(path.read_bytes())
    content[int(position * (len(content) - 1))] ^= 0x05
    path.write_bytes(content)
    with pytest.raises(FunctionalFileError, match="damaged|lacks|no entry"):
        load_functional(path)


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.999])
def test_a_file_cut_short(kept, path):
    ConstrainedGGA(start="random").save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(FunctionalFileError, match="damaged, or not a safetensors file"):
        load_functional(path)


def test_foreign_files(path):
    path.write_text("PBE")
    with pytest.raises(FunctionalFileError, match="not a safetensors file"):
        load_functional(path)
    torch.save(ConstrainedGGA(), path)
    with pytest.raises(FunctionalFileError, match="not a safetensors file"):
        load_functional(path)
    save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(FunctionalFileError, match="does not hold a functional of deepchem_xc"):
        load_functional(path)
    for text in ("{}", "[1]", '{"format": "x"}'):
        save_file({"weight": torch.ones(2)}, path, metadata={"deepchem_xc": text})
        with pytest.raises(FunctionalFileError, match="no format version"):
            load_functional(path)
    save_file({"weight": torch.ones(2)}, path, metadata={"deepchem_xc": '{"format": 1}'})
    with pytest.raises(FunctionalFileError, match="lacks functional, sha256, name"):
        load_functional(path)


def test_a_newer_version(path):
    rewrite(path, PBE(), lambda header: header.update(format=3, package="9.0"))
    with pytest.raises(
        FunctionalFileError, match=r"format 3 .* deepchem_xc 9\.0.* install a newer"
    ):
        load_functional(path)


def test_weights_of_another_architecture(path):
    def narrower(header):
        header["functional"]["options"]["width"] = 8

    rewrite(path, ConstrainedGGA(), narrower)
    with pytest.raises(
        FunctionalFileError, match=r"do not fit the architecture.* \(16,\) instead of \(8,\)"
    ):
        load_functional(path)
    rewrite(path, PBE(), lambda header: None, extra=torch.ones(1))
    with pytest.raises(FunctionalFileError, match="extra is not a part of it"):
        load_functional(path)

    def trainable_now(header):
        header["functional"]["options"]["kappa"] = {"$number": 0.8, "trainable": True}

    rewrite(path, PBE(), trainable_now)
    with pytest.raises(FunctionalFileError, match=r"terms\.0\.kappa is missing"):
        load_functional(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frozen": 3}, "its frozen parameters are 3"),
        ({"frozen": "kappa"}, "its frozen parameters are"),
        ({"frozen": ["nonsense"]}, "its frozen parameters are"),
        ({"name": None}, "its name is None"),
        ({"family": 4}, "its family is 4"),
        ({"units": {"energy": "eV"}}, "its units are"),
        ({"functional": {"class": "PBE", "density_threshold": float("nan")}}, "must be between"),
        ({"functional": {"class": "PBE", "density_threshold": []}}, "must be between"),
        ({"functional": {"class": "PBE", "density_threshold": 1e-320}}, "must be between"),
        ({"functional": {"class": "PBE", "density_threshold": 10**400}}, "must be between"),
        (
            {
                "functional": {
                    "class": "HybridXC",
                    "options": {
                        "xcstr": "other.safetensors",
                        "nnmodel": {"$functional": {"class": "PBE"}},
                    },
                }
            },
            "xcstr must be a functional",
        ),
        ({"functional": {"class": "PBE", "options": {"mu": {"$number": [], "trainable": 1}}}}, ""),
        (
            {
                "functional": {
                    "class": "NNLDA",
                    "options": {"nnmodel": {"$network": {"class": "Sequential", "layers": 5}}},
                }
            },
            "not iterable",
        ),
    ],
)
def test_headers_with_values_of_the_wrong_kind(change, message, path):
    rewrite(path, PBE(), lambda header: header.update(change))
    with pytest.raises(FunctionalFileError, match=f"mine.xc.safetensors: .*{message}"):
        load_functional(path)


def test_weights_of_another_type(path):
    functional = PBE(trainable=True)
    whole = {"terms.0.kappa": torch.tensor(1)}
    rewrite(path, functional, lambda header: None, **whole)
    with pytest.raises(FunctionalFileError, match="kappa is torch.int64 instead of torch.float64"):
        load_functional(path)


def test_nan_in_a_file(path):
    functional = ConstrainedGGA()
    name = "exchange_network.0.bias"
    bad = torch.full_like(functional.state_dict()[name], torch.nan)
    rewrite(path, functional, lambda header: None, **{name: bad})
    with pytest.raises(FunctionalFileError, match=rf"{name}.* contain NaN"):
        load_functional(path)


TENSOR = {"$tensor": [1.0, 2.0], "shape": [2], "dtype": "float64", "trainable": False}


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({"class": "system", "options": {}}, "unknown functional class 'system'"),
        ({"class": "os.system", "options": {"command": "x"}}, "unknown functional class"),
        ({"class": "XCFunctional"}, "unknown functional class"),
        ({"class": "Linear", "options": {"in_features": 1}}, "unknown functional class"),
        ({"class": "PBE", "options": {"kapa": 1.0}}, "PBE cannot be built"),
        ({"class": "PBE", "options": [1]}, "a definition is"),
        ({"class": 3}, "a definition is"),
        ("PBE", "a definition is"),
        (None, "a definition is"),
        ({"class": "SumXC", "options": {"terms": []}}, "at least one term"),
        ({"class": "SumXC", "options": {"terms": [1.0]}}, "SumXC cannot be built"),
        ({"class": "SumXC", "options": {}}, "SumXC cannot be built"),
        ({"class": "ConstrainedGGA", "options": {"width": "wide"}}, "cannot be built"),
        (
            {"class": "NNLDA", "options": {"nnmodel": {"$network": {"class": "LSTM"}}}},
            "layer 'LSTM'",
        ),
        ({"class": "NNLDA", "options": {"nnmodel": {"$network": 1}}}, "a definition is"),
        (
            {"class": "NNLDA", "options": {"nnmodel": {"$network": {"class": "ModuleList"}}}},
            "unknown layer 'ModuleList'",
        ),
        ({"class": "PBE", "options": {"mu": {"$dtype": "system"}}}, "unknown number type"),
        (
            {"class": "PBE", "options": {"mu": {**TENSOR, "shape": [3]}}},
            "no tensor can be made",
        ),
        ({"class": "PBE", "options": {"mu": TENSOR}}, "mu must be a finite number"),
        ({"class": "LibXC", "options": {"identifier": "nothing"}}, "no functional 'nothing'"),
    ],
)
def test_definitions_that_are_refused(definition, message, path):
    rewrite(path, PBE(), lambda header: header.update(functional=definition))
    with pytest.raises(FunctionalFileError, match=message):
        load_functional(path)


@pytest.mark.parametrize("version", [0, -7, True])
def test_versions_that_never_were(version, path):
    rewrite(path, PBE(), lambda header: header.update(format=version))
    with pytest.raises(FunctionalFileError, match="no format version"):
        load_functional(path)


def test_a_tensor_of_a_kind_that_is_never_written(path):
    rewrite(path, PBE(), lambda header: None, more=torch.ones(2, dtype=torch.bfloat16))
    with pytest.raises(FunctionalFileError, match="more is not a part of it"):
        load_functional(path)


def test_a_number_longer_than_python_reads(path):
    PBE().save(path)
    text = json.dumps(header_of(path)).replace('"format": 1', '"format": ' + "1" * 5000)
    save_file(PBE().state_dict(), path, metadata={"deepchem_xc": text})
    with pytest.raises(FunctionalFileError, match="its definition is not JSON"):
        load_functional(path)
