-- Commits were lost: all copies stop.
-- Law: only a person takes it back (`ledger_accept.sql`).
update asyncsdk.ledger set is_rewound = true
