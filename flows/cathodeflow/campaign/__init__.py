"""Campaigns: definition, plan, transitions (the only writer of state), policy, one idempotent tick, the driver."""
