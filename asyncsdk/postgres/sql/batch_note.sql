-- Add the facts in $2, by the try $1; returns all after the number $3. What holds the edits of a batch that is closed goes. $4: if
-- it is not null, only where no other copy than this holder is alive, those in $5 are known to be gone, and no fact came
-- since: one that slept may have put edits into a batch, and sleep again.
-- Law: under the ledger's lock, in a statement of its own: so numbers are in the order of the commits. Asked again, it
-- adds nothing. A copy joins under the same lock, before it reads the facts.
with given as materialized (
    select g.fact, g.part from json_array_elements($2::json) with ordinality as g(fact, part)
    where $4::uuid is null or not exists (select from asyncsdk.batch_fact where number > $3) and not exists (
        select from asyncsdk.ledger_worker w join asyncsdk.holder h on h.id = w.holder
        where not w.is_over and h.until > clock_timestamp() and w.holder <> $4
          and h.id not in (select json_array_elements_text($5::json)::uuid))
), made as (
    insert into asyncsdk.batch_fact (try, part, fact)
    select $1, g.part, g.fact from given g order by g.part
    on conflict (try, part) do nothing
    returning number, fact
), over as (
    delete from asyncsdk.batch b using given g where g.fact->>'t' = 'closed' and b.key = g.fact->>'batch' returning b.id
), gone as (
    delete from asyncsdk.holder h using over where h.id = over.id
)
select number, fact::text as fact from (
    select number, fact from asyncsdk.batch_fact where number > $3 union all select number, fact from made
) facts order by number
