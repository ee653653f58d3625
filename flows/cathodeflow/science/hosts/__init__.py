"""Host crystals, their working-ion levels, and every arrangement of substituents on their sites."""
