-- The copy of the ledger $1 is whole, and that one is sealed: runs may begin here.
-- Law: to say it twice is the same as once.
update asyncsdk.ledger
set is_rewound = false, options = '{}', is_stopping = false,
    run = (select coalesce(max(run), 0) from asyncsdk.edit),  -- the next is not one in which an edit failed before
    timeline = left(pg_walfile_name(pg_current_wal_lsn()), 8),
    system_id = (select system_identifier::text from pg_control_system())
where options::json ->> 'copied-from' = $1
returning true as is_open
