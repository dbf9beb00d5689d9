"""What the project tells OpenMP, before a test's module loads it with torch."""

import model  # noqa: F401
