"""The verbs: command line, jobs, schedule, sensors, Dagster's servers, the bridge to DVC."""
