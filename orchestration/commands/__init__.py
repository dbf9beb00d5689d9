"""The commands of `onepiece`, a module per purpose; each import only what it needs when it runs."""
