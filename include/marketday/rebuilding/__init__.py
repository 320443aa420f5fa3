"""Any past morning again: carried out a second time on the very versions that it read, and compared hash by hash.

::

    morning    what is recorded of a past morning: every execution that its publication rests on
    rebuild    each of them carried out again; nothing is written
    corrected  the same morning on the facts as they are known today, and what it would have ordered otherwise
    page       that difference as one HTML page, charts included
"""
