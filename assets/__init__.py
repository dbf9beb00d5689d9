"""The nouns: thin Dagster assets and their checks, a few lines each over one library call."""
