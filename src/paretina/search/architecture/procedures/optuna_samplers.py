"""TPE and NSGA-II, by Optuna (extra `search`).

TPE models which values good and bad points have; NSGA-II breeds points of a population, and only adapts once its first one is
done, so it pays from several hundred trials on. Points that miss the budget are told as pruned to TPE, which then avoids their
neighbourhood; NSGA-II forgets them.

Source: Bergstra et al. 2011, "Algorithms for hyper-parameter optimization"; Deb et al. 2002, "NSGA-II".
"""

import importlib.util
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from paretina.search.architecture.procedure import Procedure, Proposal, Searcher, Values
from paretina.search.architecture.space import Dimension


class OptunaSearcher(Searcher):
    """A study of Optuna, in memory."""

    def __init__(self, dimensions: Sequence[Dimension], sampler: Any, objectives: int, pruned: bool) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.dimensions, self.pruned, self.asked = dimensions, pruned and objectives == 1, 0
        self.study = optuna.create_study(sampler=sampler, directions=["maximize"] * objectives)
        self.trials: dict[int, Any] = {}

    def ask(self) -> Proposal:
        trial = self.study.ask()
        # numbers are chosen by their place among the values, as ordered values need not be evenly spaced
        point: dict[str, Any] = {}
        for dimension in self.dimensions:
            if dimension.ordered and len(dimension.values) > 1:
                point[dimension.name] = dimension.values[trial.suggest_int(dimension.name, 0, len(dimension.values) - 1)]
            else:
                point[dimension.name] = trial.suggest_categorical(dimension.name, list(dimension.values))
        proposal = Proposal(point, 1.0, self.asked)
        self.trials[self.asked] = trial
        self.asked += 1
        return proposal

    def tell(self, proposal: Proposal, values: Values | None) -> None:
        from optuna.trial import TrialState

        trial = self.trials.pop(proposal.number)
        if values is None:
            self.study.tell(trial, state=TrialState.PRUNED if self.pruned else TrialState.FAIL)
        else:
            self.study.tell(trial, list(values))


@dataclass(frozen=True, kw_only=True)
class OptunaProcedure(Procedure):
    """A sampler of Optuna."""

    PRUNED: ClassVar[bool] = False

    @abstractmethod
    def sampler(self, trials: int, seed: int) -> Any:
        """The sampler, seeded."""

    def check(self) -> None:
        if importlib.util.find_spec("optuna") is None:
            raise ValueError(
                f"--by {self.WORD} needs Optuna: pip install 'paretina[search]'; random, evolution and halving need nothing"
            )

    def begin(self, dimensions: Sequence[Dimension], trials: int, objectives: int, seed: int) -> OptunaSearcher:
        self.check()
        return OptunaSearcher(dimensions, self.sampler(trials, seed), objectives, self.PRUNED)


@dataclass(frozen=True, kw_only=True)
class TPE(OptunaProcedure):
    """
    Attributes:
        startup: random trials at the start; None for a fifth of all, at least 4 and at most 10.
    """

    WORD: ClassVar[str] = "tpe"
    PRUNED: ClassVar[bool] = True

    startup: int | None = None

    def sampler(self, trials: int, seed: int) -> Any:
        import optuna

        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.startup or min(10, max(4, trials // 5)))


@dataclass(frozen=True, kw_only=True)
class NSGA2(OptunaProcedure):
    """
    Attributes:
        population: points of a generation; None for a fifth of the trials, at least 4 and at most 50.
    """

    WORD: ClassVar[str] = "nsga2"

    population: int | None = None

    def sampler(self, trials: int, seed: int) -> Any:
        import optuna

        return optuna.samplers.NSGAIISampler(seed=seed, population_size=self.population or min(50, max(4, trials // 5)))


EXAMPLES = (TPE(), NSGA2(population=8))
