"""The report: one page that shows runs, and opens from disk."""
