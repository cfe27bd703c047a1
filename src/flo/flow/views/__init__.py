"""Views: the ledger as people ask for it. Everything here reads blocks; nothing is kept beside them."""
