"""Checkpoint in, ten items per user out: beam search, cascade, evaluation, submission."""
