"""What a process needs to start and to ask a workflow: names, ids, results, the connection."""
