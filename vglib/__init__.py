"""The shared library of the course *Vanishing Gradients*.

Lessons import its modules by name: ``tasks`` gives data, ``nets`` builds networks, ``theory``
predicts, ``probes`` measures, ``plots`` and ``figures`` draw, ``claims`` gives verdicts.
"""
