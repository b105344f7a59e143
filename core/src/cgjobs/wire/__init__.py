"""What Python values are on the wire: `scalar` has the simple ones, `form` joins them, `record` does attrs.

A form refuses what its annotation does not allow, names every fault at once, and shows no secret.
"""
