"""The tuning study: its search space, the study that processes share, trials, and their report."""
