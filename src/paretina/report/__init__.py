"""Reports: self-contained HTML pages and tables, made from run directories and from nothing else."""

from paretina.report.page import write_comparison, write_report
from paretina.report.records import measured_alike, read_run, table

__all__ = ["measured_alike", "read_run", "table", "write_comparison", "write_report"]
