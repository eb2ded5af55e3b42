"""What others do, written by us from their public designs, to be run beside ours on the same machine.

`threaded`: the classic OMS in one process, with locks, a deque, a counter per second and a database that is asked to
commit each response; and its twin that commits in batches. `multiprocess`: the same pipeline as ours out of
multiprocessing.Queue and pickled dataclasses. None of them survives a kill, and none is throttled here.
"""
