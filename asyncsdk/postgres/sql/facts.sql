-- What this server is, before anything is trusted to it.
-- Law: it needs no right and no table, so that its answer says why all else would fail.
select current_setting('server_version_num')::integer as server_version,
       current_setting('synchronous_commit') as synchronous_commit,
       current_setting('transaction_read_only') = 'on' or pg_is_in_recovery() as is_read_only,
       to_regclass('asyncsdk.schema_version') is not null as is_made
