"""What engineers try: runs recorded, compared and forked, sweeps, and releases pulled and pinned."""
