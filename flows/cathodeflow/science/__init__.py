"""Pure functions: arguments in, frozen dataclasses out. No settings, no database, no engine."""
