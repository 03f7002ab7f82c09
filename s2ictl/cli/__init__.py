"""Words and flags: what is typed becomes one request, and what comes back becomes one answer."""
