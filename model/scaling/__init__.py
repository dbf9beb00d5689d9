"""Points in, laws out: trainings over a range of sizes, power laws through their losses, plans."""
