"""The paper's tables and figures, and what goes beyond them: a study is a grid of cells and a report."""

from dhrd.experiments.studies import STUDIES
from dhrd.experiments.study import Study

__all__ = ["STUDIES", "Study"]
