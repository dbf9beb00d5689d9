"""The verbs: definitions, IO, jobs, schedules, sensors, the DVC bridge, lineage, command line."""
