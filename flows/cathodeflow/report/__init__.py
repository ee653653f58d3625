"""The campaign report: one self-contained HTML file, made from records only."""
