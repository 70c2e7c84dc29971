"""Experiments that a lesson shows in small and a script in ``benchmarks/`` runs at length."""
