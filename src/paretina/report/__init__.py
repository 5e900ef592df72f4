"""Reports: self-contained HTML pages and tables, generated only from run directories."""

from paretina.report.records import measured_alike, read_run, table
from paretina.report.run_page import write_comparison, write_report

__all__ = ["measured_alike", "read_run", "table", "write_comparison", "write_report"]
