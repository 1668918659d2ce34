-- A person accepts the database as it is, whatever it has lost.
-- Law: the same identity twice is the same as once. A ledger that was moved, or is being copied, stays as it is.
update asyncsdk.ledger set is_rewound = false, timeline = left(pg_walfile_name(pg_current_wal_lsn()), 8),
    system_id = (select system_identifier::text from pg_control_system())
where options::json ->> 'moved-to' is null and options::json ->> 'copied-from' is null
returning is_rewound
