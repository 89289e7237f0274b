"""Objects, tables, shards and the ledger: where facts and decisions live. Imports nothing else of ours."""
