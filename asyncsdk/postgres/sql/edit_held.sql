-- Whether anybody but the holder $1 works at an edit now, which may yet be given back.
-- Law: it takes no lock.
select exists (
    select from asyncsdk.edit e join asyncsdk.holder h on h.id = e.holder
    where e.phase is not null and e.holder <> $1 and h.until > clock_timestamp()
) as is_held
