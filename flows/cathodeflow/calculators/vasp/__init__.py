"""VASP: settings as the papers state them, inputs, atomate2 makers, energy corrections, what a machine must have."""
