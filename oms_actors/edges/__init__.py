"""Where the desk touches the world: exchange, journal, store."""
