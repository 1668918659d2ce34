-- Edits of another ledger, as they are there, for the process whose options are $2, which copies it.
-- Law: under the ledger's lock, in a statement of its own: a process that was paused while another began the copy again
-- writes nothing more.
with ours as (
    select from asyncsdk.ledger where options = $2
), made as (
    insert into asyncsdk.edit
    select g.* from json_populate_recordset(null::asyncsdk.edit, $1::json) g, ours
    on conflict (key) do nothing
)
select exists (select from ours) as is_ours
