"""Recipes wire jobs into jobflow Flows: one small Flow per thing a campaign makes. Jobs come in as arguments."""
