"""Learn exchange-correlation functionals through differentiable Kohn-Sham DFT of crystals.

Importing this package is cheap and prints nothing: torch, DeepChem and the solver are imported
by the subpackages that need them (``deepchem_xc.xc``, ``deepchem_xc.planewave``, ...).
"""

import logging

__version__ = "0.2.0.dev0"

# On import, DeepChem announces every optional part whose dependency is missing; none of them is
# used here. Only these messages are dropped; everything else that DeepChem logs still appears.
_IMPORT_LOGGERS = (
    "deepchem.feat.molecule_featurizers.rdkit_descriptors",
    "deepchem.metalearning",
    "deepchem.models",
    "deepchem.models.torch_models",
    "deepchem.utils",
    "deepchem.utils.dft_utils",
)
_IMPORT_MESSAGES = ("Skipped loading ", "No normalization for ", "cannot import name ")


def _is_not_an_import_notice(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_IMPORT_MESSAGES)


for _name in _IMPORT_LOGGERS:
    logging.getLogger(_name).addFilter(_is_not_an_import_notice)
del _name
