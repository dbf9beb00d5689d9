"""The scaling study: trainings over a range of sizes, power laws of their losses, and plans."""
