"""What runs the assets: command line, jobs, schedule, sensors, Dagster's servers, DVC bridge."""
