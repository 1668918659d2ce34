-- The next $2 edits after the key $1 that ended as $3 says, or all where that is null; an open claim that was started
-- counts as uncertain once its lease has lapsed.
-- Law: as for `edit_look`, and each page is of one moment.
select e.key, e.id, coalesce(case when e.phase = 'started' and h.until is null then 'uncertain' else e.phase end, e.status,
       'new') as status, e.n, e.files, e.usage, e.problem, e.late, e.request_id, e.epoch,
       (to_jsonb(e)->>'cost')::bigint as cost,
       date_part('epoch', coalesce(e.at, e.started)) as at, date_part('epoch', e.started) as started
from asyncsdk.edit e
left join asyncsdk.holder h on h.id = e.holder and e.phase is not null and h.until > clock_timestamp()
where e.key > $1
  and ($3::text is null or coalesce(case when e.phase = 'started' and h.until is null then 'uncertain' else e.phase end,
                                    e.status, 'new') = $3)
order by e.key limit $2
