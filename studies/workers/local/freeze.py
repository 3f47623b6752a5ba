"""Loading this module spares everything that is loaded by then from garbage collection, as torch's 400,000 objects.

They live as long as the process; a collection of all of them, one of which Python makes at its end, takes seconds.
"""

import gc

gc.freeze()
