"""The command line: a thin layer over `paretina.verbs`.

Heavy modules are imported inside the commands, so `--help` answers at once, and arguments are checked before that (`slips`).
Exit codes: 0 success, 1 failure (of `data check`: pictures that cannot be read), 2 usage error (nothing was done), 3 a budget
was not met, 130 interrupted by Ctrl-C, 143 by SIGTERM. With `--json` a command prints one JSON document to standard output,
which is `{"error": ...}` if it fails; progress, notes and errors go to standard error. Commands that can take long have
`--quiet`, and `--log-format json` for one JSON object per line, each with its `event`.
"""

# Importing those that are in __all__ registers their commands.
from paretina.cli import (
    ablate,
    card,
    completing,
    data,
    distill,
    early,
    ensemble,
    evaluate,
    explain,
    finetune,
    frontier,
    listing,
    measure,
    pretrain,
    probe,
    prune,
    report,
    runs,
    scale,
    search,
    selftrain,
    serve,
    ship,
    train,
    transfer,
    weights,
)
from paretina.cli.program import FieldCommand, command, main, speech_options

LONG = (
    *("ablate", "card", "data", "distill", "embed", "evaluate", "explain", "finetune", "frontier", "measure", "predict"),
    *("pretrain", "probe", "prune", "scale", "search", "selftrain", "ship", "train", "transfer"),
)
"""The commands that can take long, so that they print progress."""

command(main, ablate.EXAMPLE, cls=FieldCommand, short_help="Measure what each refinement of a recipe gains and costs.")(
    ablate.ablate
)
command(
    main, finetune.EXAMPLE, cls=FieldCommand, short_help="Fine-tune a trained model at another image size or on other data."
)(finetune.finetune)
command(main, search.EXAMPLE, **search.COMMAND)(search.search)
main.add_command(frontier.frontier)
main.add_command(measure.measure)
main.add_command(scale.scale)
main.add_command(transfer.transfer)
early.watch(main)
speech_options(main, LONG)
completing.complete(main)

__all__ = [
    "card",
    "data",
    "distill",
    "ensemble",
    "evaluate",
    "explain",
    "listing",
    "main",
    "pretrain",
    "probe",
    "prune",
    "report",
    "runs",
    "selftrain",
    "serve",
    "ship",
    "train",
    "weights",
]
