-- What this server is, before anything is trusted to it.
-- Law: it needs no right and no table of ours, so that its answer says why all else would fail. It reads the catalog,
-- since what a session remembers of names (to_regclass) may be older than the lock that it waited for.
select current_setting('server_version_num')::integer as server_version,
       current_setting('synchronous_commit') as synchronous_commit,
       current_setting('transaction_read_only') = 'on' or pg_is_in_recovery() as is_read_only,
       exists (
           select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
           where n.nspname = 'asyncsdk' and c.relname = 'schema_version'
       ) as is_made
