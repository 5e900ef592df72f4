"""The commands as functions, with the same names and the same options.

from paretina import verbs
run = verbs.train("photos/", model="efficientnet_b0", epochs=30, size=160)
verbs.predict(run.path / "model.safetensors", ["a.jpg", "folder/"])

The names below are imported when they are first used, since most of them need torch, which takes seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paretina.train.asked import elsewhere as elsewhere
    from paretina.train.asked import recipes as recipes
    from paretina.verbs.asking import ask as ask
    from paretina.verbs.asking import check_names as check_names
    from paretina.verbs.asking import check_parts as check_parts
    from paretina.verbs.asking import known_path as known_path
    from paretina.verbs.batching import fitted as fitted
    from paretina.verbs.batching import with_batch as with_batch
    from paretina.verbs.blockwise import continue_blockwise as continue_blockwise
    from paretina.verbs.blockwise import distill_blockwise as distill_blockwise
    from paretina.verbs.blockwise import periods_of as periods_of
    from paretina.verbs.carding import card as card
    from paretina.verbs.checks import MisuseError as MisuseError
    from paretina.verbs.checks import check_csv as check_csv
    from paretina.verbs.checks import check_new as check_new
    from paretina.verbs.checks import misuse as misuse
    from paretina.verbs.checks import model_file as model_file
    from paretina.verbs.data import data_cache as data_cache
    from paretina.verbs.data import data_check as data_check
    from paretina.verbs.distilling import ask_distilled as ask_distilled
    from paretina.verbs.distilling import ask_pretrained as ask_pretrained
    from paretina.verbs.distilling import check_periods as check_periods
    from paretina.verbs.distilling import distill as distill
    from paretina.verbs.distilling import pretrain as pretrain
    from paretina.verbs.embedding import embed as embed
    from paretina.verbs.evaluating import evaluate as evaluate
    from paretina.verbs.explaining import explain as explain
    from paretina.verbs.folding import continue_folds as continue_folds
    from paretina.verbs.folding import cross_validate as cross_validate
    from paretina.verbs.folding import fold_of as fold_of
    from paretina.verbs.joining import ensemble as ensemble
    from paretina.verbs.labelling import data_labels as data_labels
    from paretina.verbs.listing import models as models
    from paretina.verbs.more import data_more as data_more
    from paretina.verbs.predicting import predict as predict
    from paretina.verbs.probing import probe as probe
    from paretina.verbs.pruning import prune as prune
    from paretina.verbs.reporting import report as report
    from paretina.verbs.routing import check_routed as check_routed
    from paretina.verbs.routing import continue_routed as continue_routed
    from paretina.verbs.routing import first_stage as first_stage
    from paretina.verbs.routing import train_routed as train_routed
    from paretina.verbs.running import compare_runs as compare_runs
    from paretina.verbs.running import runs as runs
    from paretina.verbs.scaling import scale as scale
    from paretina.verbs.searching import search as search
    from paretina.verbs.searching import study_of as study_of
    from paretina.verbs.selftraining import selftrain as selftrain
    from paretina.verbs.serving import serve as serve
    from paretina.verbs.shipping import ship as ship
    from paretina.verbs.showing import show as show
    from paretina.verbs.training import ask_further as ask_further
    from paretina.verbs.training import check_output as check_output
    from paretina.verbs.training import estimate as estimate
    from paretina.verbs.training import finetune as finetune
    from paretina.verbs.training import resume as resume
    from paretina.verbs.training import start as start
    from paretina.verbs.training import train as train
    from paretina.verbs.transferring import transfer as transfer
    from paretina.verbs.weights import export_weights as export_weights
    from paretina.verbs.weights import import_weights as import_weights

# names that are not in __all__ are for the command line only
PLACES = {
    "MisuseError": "verbs.checks",
    "ask": "verbs.asking",
    "ask_distilled": "verbs.distilling",
    "ask_further": "verbs.training",
    "ask_pretrained": "verbs.distilling",
    "card": "verbs.carding",
    "check_csv": "verbs.checks",
    "check_names": "verbs.asking",
    "check_new": "verbs.checks",
    "check_output": "verbs.training",
    "check_parts": "verbs.asking",
    "check_periods": "verbs.distilling",
    "check_routed": "verbs.routing",
    "compare_runs": "verbs.running",
    "continue_blockwise": "verbs.blockwise",
    "continue_folds": "verbs.folding",
    "continue_routed": "verbs.routing",
    "cross_validate": "verbs.folding",
    "data_cache": "verbs.data",
    "data_check": "verbs.data",
    "data_labels": "verbs.labelling",
    "data_more": "verbs.more",
    "distill": "verbs.distilling",
    "distill_blockwise": "verbs.blockwise",
    "elsewhere": "train.asked",
    "embed": "verbs.embedding",
    "ensemble": "verbs.joining",
    "estimate": "verbs.training",
    "evaluate": "verbs.evaluating",
    "explain": "verbs.explaining",
    "export_weights": "verbs.weights",
    "finetune": "verbs.training",
    "first_stage": "verbs.routing",
    "fitted": "verbs.batching",
    "fold_of": "verbs.folding",
    "import_weights": "verbs.weights",
    "known_path": "verbs.asking",
    "misuse": "verbs.checks",
    "model_file": "verbs.checks",
    "models": "verbs.listing",
    "periods_of": "verbs.blockwise",
    "predict": "verbs.predicting",
    "pretrain": "verbs.distilling",
    "probe": "verbs.probing",
    "prune": "verbs.pruning",
    "recipes": "train.asked",
    "report": "verbs.reporting",
    "resume": "verbs.training",
    "runs": "verbs.running",
    "scale": "verbs.scaling",
    "search": "verbs.searching",
    "selftrain": "verbs.selftraining",
    "serve": "verbs.serving",
    "ship": "verbs.shipping",
    "show": "verbs.showing",
    "start": "verbs.training",
    "study_of": "verbs.searching",
    "train": "verbs.training",
    "train_routed": "verbs.routing",
    "transfer": "verbs.transferring",
    "with_batch": "verbs.batching",
}
"""The module of each name, below `paretina`."""

__all__ = [
    "ask",
    "card",
    "compare_runs",
    "data_cache",
    "data_check",
    "data_labels",
    "data_more",
    "distill",
    "embed",
    "ensemble",
    "evaluate",
    "explain",
    "export_weights",
    "finetune",
    "import_weights",
    "models",
    "predict",
    "pretrain",
    "probe",
    "prune",
    "recipes",
    "report",
    "resume",
    "runs",
    "scale",
    "search",
    "selftrain",
    "serve",
    "ship",
    "show",
    "train",
    "transfer",
]


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"module 'paretina.verbs' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"paretina.{PLACES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *PLACES})
