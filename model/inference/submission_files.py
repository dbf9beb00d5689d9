"""Names of a submission's files, for commands that read them and need no model."""

RESULT, TABLE, SUMMARY = "result.json", "recommendations.parquet", "summary.json"
