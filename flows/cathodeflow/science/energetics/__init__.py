"""Formation and relaxation energy, voltage, capacity and volume change: every formula in one place."""
