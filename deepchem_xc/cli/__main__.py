"""`python -m deepchem_xc.cli` is `deepchem-xc`."""

from deepchem_xc.cli.commands import main

main()
