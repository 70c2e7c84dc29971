"""The shared library of the course *Vanishing Gradients*.

Lessons import its modules by name: ``tasks`` gives data, ``nets`` and
``recurrent`` build networks, ``theory`` predicts, ``probes`` and ``monitor`` measure, ``training``
trains, ``plots`` and ``figures`` draw, ``claims`` gives verdicts.
"""
