-- The copy that the attempt $1 has made is whole, and what it was made of is sealed by the same: runs may begin here.
-- Law: to say it twice is the same as once.
update asyncsdk.ledger
set is_rewound = false, options = '{}', is_stopping = false,
    run = (select coalesce(max(run), 0) from asyncsdk.edit),  -- the next is not one in which an edit failed before
    timeline = left(pg_walfile_name(pg_current_wal_lsn()), 8),
    system_id = (select system_identifier::text from pg_control_system())
where options::json ->> 'copied-from' is not null and options::json ->> 'by' = $1
returning true as is_open
