"""Thin jobflow jobs: plain values in, one calculator or science function, plain values out; no database."""
