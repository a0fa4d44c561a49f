"""Health checks of a run: baselines, statistics with known chances, and alarms that are raised once."""
