"""Where contracts meet backends: one file a process or service, so that each imports only what it runs on."""
