"""The verbs of the command line as functions, with the same names and the same options.

from paretina import verbs
run = verbs.train("photos/", model="efficientnet_b0", epochs=30, size=160)
verbs.predict(run.path / "model.safetensors", ["a.jpg", "folder/"])
"""

# those imported under their own name are for the command line; __all__ is for everybody
from paretina.train.asked import recipes
from paretina.verbs.asking import ELSEWHERE as ELSEWHERE
from paretina.verbs.asking import ask
from paretina.verbs.asking import known_path as known_path
from paretina.verbs.asking import whole_paths as whole_paths
from paretina.verbs.checks import MisuseError as MisuseError
from paretina.verbs.checks import check_csv as check_csv
from paretina.verbs.checks import check_new as check_new
from paretina.verbs.checks import misuse as misuse
from paretina.verbs.checks import model_file as model_file
from paretina.verbs.data import data_check
from paretina.verbs.evaluating import evaluate
from paretina.verbs.networks import models, show
from paretina.verbs.predicting import predict
from paretina.verbs.reporting import report
from paretina.verbs.running import ask_further as ask_further
from paretina.verbs.running import check_output as check_output
from paretina.verbs.running import estimate as estimate
from paretina.verbs.running import finetune, resume, train
from paretina.verbs.running import start as start
from paretina.verbs.weights import export_weights, import_weights

__all__ = [
    "ask",
    "data_check",
    "evaluate",
    "export_weights",
    "finetune",
    "import_weights",
    "models",
    "predict",
    "recipes",
    "report",
    "resume",
    "show",
    "train",
]
