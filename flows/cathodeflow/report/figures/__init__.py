"""Figures of the report: one builder per file, from records to a plotly figure."""
