"""`python -m paretina`, and `torchrun -m paretina`: the command line."""

from paretina.cli import main

main(prog_name="paretina")
