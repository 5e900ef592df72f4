"""The command line: a thin layer over `paretina.verbs`.

Heavy modules are imported inside the commands, so `--help` answers at once, and slips are looked for before (`slips`). Exit
codes: 0 done, 1 failed, 2 misuse (a word that means nothing here, so nothing was done), 3 a gate was not met, 130 interrupted.
With `--json` a command prints one JSON document to standard output, which is `{"error": ...}` if it fails; progress, remarks
and errors go to standard error.
"""

# Importing data, evaluate, listing, report, train and weights adds their commands.
from paretina.cli import ablate, data, early, evaluate, finetune, frontier, listing, measure, report, train, weights
from paretina.cli.program import FieldCommand, command, main

command(main, ablate.EXAMPLE, cls=FieldCommand, short_help="What each refinement of a recipe brings and costs.")(ablate.ablate)
command(
    main, finetune.EXAMPLE, cls=FieldCommand, short_help="Continue with a trained network: another image size, other pictures."
)(finetune.finetune)
main.add_command(frontier.frontier)
main.add_command(measure.measure)
early.watch(main)

__all__ = ["data", "evaluate", "listing", "main", "report", "train", "weights"]
