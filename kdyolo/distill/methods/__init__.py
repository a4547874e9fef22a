"""The methods, one file each: what it is as ``INFO``, and ``loss(student, teacher)``.

torch is imported inside the functions, for `kdyolo methods` reads every ``INFO``.
"""
