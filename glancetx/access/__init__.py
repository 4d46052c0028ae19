"""Who is asking, and what they may: authenticators, accounts, policy rules. No HTTP and no SQL here."""
