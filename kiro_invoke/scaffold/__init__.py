"""What `kiro init` writes into a repository: facts that were found, files made of them, and what to do about each."""
