"""From a traced trial to numbers: interpreters and the reference likelihood; nothing statistical lives here."""
