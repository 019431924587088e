"""The numbers that stand in sentences of the pages, and checks of what the sentences say."""

from __future__ import annotations

from typing import Any

from experiments.claims import Results
from experiments.claims.results import select
from experiments.claims.verdicts import verdict
from experiments.pages.tables import METHODS, RANKING


class Numbers:
    """What the templates call.

    Args:
        results: The committed sweeps.
    """

    def __init__(self, results: Results) -> None:
        self.results = results

    def loss(self, sweep: str, method: str, ratio: float, **where: Any) -> float:
        """Relative loss in percent against the full table; ``other=`` names another method."""
        found = self.results.loss(sweep, method, ratio, **where)
        if found is None:
            raise LookupError(f"{sweep} has no {method} at {ratio}×")
        return 100 * found.value

    def pct(self, sweep: str, method: str, *ratios: float, **where: Any) -> str:
        """Losses in words, with two digits: ``2.2``, or ``0.38, 5.9 and 11`` for several ratios."""
        return words(two_digits(self.loss(sweep, method, ratio, **where)) for ratio in ratios)

    def each(self, sweeps: str, method: str, ratio: float) -> str:
        """Losses in several sweeps in words."""
        return words(two_digits(self.loss(sweep, method, ratio)) for sweep in sweeps.split())

    def score(self, sweep: str, method: str = "full", **where: Any) -> float:
        """Score of a method; the only one that it has there."""
        (value,) = self.results.finished(sweep, method=method, **where)["value"]
        return float(value)

    def derived(self, sweep: str, method: str, **where: Any) -> float:
        """Loss of a row that was derived from the full table, at its own ratio."""
        (loss,) = self.results.finished(sweep, method=method, **where)["loss"]
        return float(loss) + 0.0  # no -0.0

    def most(self, method: str, ratio: float) -> tuple[float, float, int]:
        """What a compressed full table loses at most on the data sets for ranking.

        Returns:
            The largest loss in percent, the largest upper end of a 95 % interval, and the number of
            data sets.
        """
        found = [
            self.results.loss(sweep, method, ratio, data=data)
            for sweep in self.results.sweeps
            if sweep.startswith("after-training")
            for data in sorted(set(self.results.finished(sweep)["data"]) & set(RANKING))
        ]
        losses = [loss for loss in found if loss]
        return 100 * max(x.value for x in losses), 100 * max(x.high for x in losses), len(losses)

    def at_rate(self, sweep: str, method: str, rate: float, ratio: float | None = None) -> float:
        """Mean nDCG of the trials with one learning rate."""
        trials = select(self.results.trials, sweep=sweep, method=method, learning_rate=rate)
        trials = trials[trials["ratio"].isna()] if ratio is None else select(trials, ratio=ratio)
        return float(trials["ndcg"].mean())

    def head(self, data: str) -> str:
        """Share of the interactions that goes to the most popular 1/16 of the items."""
        (share,) = select(self.results.data_sets, data=data)["head_share"]
        return f"{share:.0%}".replace("%", " %")

    def least(self, sweep: str, *ratios: float) -> str:
        """The method of `METHODS` that loses least, if it is the same at all ratios."""
        best = {}
        for ratio in ratios:
            losses = {method: self.results.loss(sweep, method, ratio) for method in METHODS}
            known = {method: loss.value for method, loss in losses.items() if loss}
            best[min(known, key=lambda method: known[method])] = ratio
        return " or ".join(best)

    def versus(self, sweep: str, method: str, other: str, *ratios: float, **where: Any) -> str:
        """Is the method better than the other? "yes", "no" or "open", if it is so at all ratios."""
        found = (self.results.loss(sweep, method, r, other, **where) for r in ratios)
        return " or ".join(dict.fromkeys(verdict(loss) for loss in found if loss))

    def standing(self, sweep: str, method: str) -> dict[str, int]:
        """Number of methods that one is better than, worse than, or not told apart from."""
        pairs = select(self.results.pairs, sweep=sweep, method=method)
        better, worse = (pairs["loss_high"] < 0).sum(), (pairs["loss_low"] > 0).sum()
        return {"better": better, "worse": worse, "open": len(pairs) - better - worse}

    def agreement(self, ratio: float) -> tuple[float, int]:
        """Spearman's rank correlation of losses on movielens and on Last.fm, and the methods."""
        from scipy import stats

        one, other = (
            select(self.results.finished(sweep), ratio=at).set_index("method")["loss"].rename(sweep)
            for sweep, at in (("every-method", ratio), ("every-method-lastfm", 16))
        )
        both = one.to_frame().join(other, how="inner").dropna()
        return float(stats.spearmanr(both.iloc[:, 0], both.iloc[:, 1]).statistic), len(both)


def two_digits(value: float) -> str:
    """Write 11.44 as 11, 3.91 as 3.9 and 0.382 as 0.4."""
    return f"{value:.0f}" if abs(value) >= 9.95 else f"{value:.1f}"


def words(parts: Any) -> str:
    """Join parts as in a sentence: ``a, b and c``."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def check(condition: bool) -> str:
    """Nothing, where a sentence is true; an error where the results no longer say so."""
    if not condition:
        raise ValueError("a sentence no longer agrees with the committed results")
    return ""
