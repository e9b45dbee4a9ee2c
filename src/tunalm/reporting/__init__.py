"""What a run says at its end: a table in the terminal, and a report that is one HTML file."""

from tunalm.reporting.report import write_comparison, write_report
from tunalm.reporting.runs import Run
from tunalm.reporting.table import results_table

__all__ = ["Run", "results_table", "write_comparison", "write_report"]
