-- The next $2 edits after the key $1, with all that is known of each.
-- Law: it takes no lock, and each page is of one moment.
select e.key, to_json(e)::text as edit from asyncsdk.edit e where e.key > $1 order by e.key limit $2
