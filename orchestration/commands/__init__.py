"""The commands of `onepiece`, a module per purpose; each imports what it needs when it runs."""
