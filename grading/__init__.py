"""Assignments: made from one source, handed out, run in a sandbox, judged outside of it."""
