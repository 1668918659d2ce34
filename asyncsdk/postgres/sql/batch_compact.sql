-- Replace all facts about batches, up to the number $3, by those in $2, of which the first says so, by the try $1. $4: for
-- how many seconds facts stay beside that.
-- Law: under the ledger's lock, in a statement of its own, and only if none was added since the last that was read: so
-- nothing is lost. Who has read up to any number reads the new ones next, and begins again with them. One that was added a
-- moment ago stays, without effect: who asks again whether it was added adds nothing. An edit that is done failed in no
-- batch that counts.
with last as materialized (
    select coalesce(max(number), 0) as number from asyncsdk.batch_fact
), given as materialized (
    select g.fact, g.part from json_array_elements($2::json) with ordinality as g(fact, part), last
    where last.number = $3
      and not (g.fact->>'t' = 'tried' and exists (
          select from asyncsdk.edit e where e.key = g.fact->>'item' and e.phase is null and e.status = 'done'))
), made as (
    insert into asyncsdk.batch_fact (try, part, fact) select $1, g.part, g.fact from given g order by g.part
    returning number, fact
), gone as (
    delete from asyncsdk.batch_fact f
    where f.number <= $3 and f.at < clock_timestamp() - $4 * interval '1 second' and exists (select from given)
)
select number, fact::text as fact from (
    select number, fact from asyncsdk.batch_fact where number > $3 union all select number, fact from made
) facts order by number
