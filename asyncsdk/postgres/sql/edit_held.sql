-- Whether anybody but the holder $1 works at an edit now, which may yet be given back; and whether a claim of which
-- nothing was sent is left of one whose lease has lapsed.
-- Law: it takes no lock. What a batch holds is not given back soon. It reads all edits, at a limit only: an index on what
-- is claimed would be written three times for each edit.
select coalesce(bool_or(h.id is not null and h.host <> 'a batch'), false) as is_held,
       coalesce(bool_or(h.id is null and e.phase = 'claimed'), false) as is_left
from asyncsdk.edit e left join asyncsdk.holder h on h.id = e.holder and h.until > clock_timestamp()
where e.phase is not null and e.holder <> $1
