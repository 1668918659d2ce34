-- Changes of edits that the holder $1 has claimed: before the first byte (`start`), when the server surely did nothing
-- (`turn away`), when nothing was sent and others may have it (`give back`), and when it ended (`end`). $3: the run.
-- Law: a change is made once, to a row that has the epoch and the try of the change before it; to ask again for one that
-- was made is success. `start` requires a lease that is alive, judged after the row is locked, and a database that has
-- lost nothing. A lapse leaves epoch and try, so that an answer that comes late still ends the edit; of a claim that is
-- over, what is paid is kept. In key order. The whole is `images/ledger/rows.py`.
with given as materialized (
    select * from json_to_recordset($2::json) as g(
        kind text, key text, epoch bigint, was uuid, new uuid, status text, digest text, source text, n integer,
        files json, usage json, tokens bigint, problem json, images integer, request_id text,
        cost bigint, generation integer, header text, again boolean)
), place as materialized (
    select l.is_stopping, l.is_rewound or l.timeline <> left(pg_walfile_name(pg_current_wal_lsn()), 8) as is_rewound from asyncsdk.ledger l
    limit 1  -- as for a claim
), lease as materialized (
    select until from asyncsdk.holder where id = $1
), mine as materialized (
    select g.*, e.epoch as has_epoch, e.try as has, e.phase, e.status as before,
           e.cost as last_cost, e.new_cost, e.asks,
           -- a late answer to what has the same key, which the digest is in, is the answer to this one: it is paid once
           coalesce(g.generation = coalesce(e.new_generation, e.generation), false)
               and g.digest is not distinct from case when e.phase = 'started' then e.new_digest else e.digest end as is_same,
           g.generation is not null and g.header is distinct from e.header as is_in_another,
           coalesce(e.late @> jsonb_build_array(jsonb_build_object('try', g.new)), false) as is_late
    from given g join asyncsdk.edit e on e.key = g.key
    order by e.key
    for update of e
), decided as materialized (
    select mine.*, case
        when is_late then 'was late'
        when has_epoch = epoch and has = new then
            case when kind = 'turn away' and phase is null then 'no' else 'was made' end
        when has_epoch = epoch and has = was and kind = 'start' then
            case when phase = 'claimed' and not (select is_rewound from place)
                      and (select until from lease) > clock_timestamp() then 'yes' else 'no' end
        when has_epoch = epoch and has = was and kind = 'turn away' then
            case when phase = 'started' then 'yes' when phase is null and before = 'uncertain' and not coalesce(again, false)
                 then 'lapsed' else 'no' end
        when has_epoch = epoch and has = was and kind = 'give back' then
            case when phase = 'claimed' then 'yes' else 'no' end
        when has_epoch = epoch and has = was and kind = 'end' and (phase is not null or before = 'uncertain') then 'yes'
        when kind = 'end' and status = 'done' and phase is distinct from 'started' and before is distinct from 'done'
             then 'late, ends it'
        when kind = 'end' and status = 'done' then 'late'
        else 'no' end as verdict
    from mine
), priced as materialized (
    select decided.*, case
        when kind = 'give back' and verdict = 'yes' then -case when asks then 0 else coalesce(new_cost, 0) end
        when verdict = 'lapsed' then -coalesce(last_cost, 0)
        when kind = 'end' and verdict = 'yes' then coalesce(ends_with, 0) - coalesce(counted_with, 0)
        when verdict = 'late, ends it' then coalesce(cost, last_cost, 0) - coalesce(last_cost, 0)
                                            - case when phase = 'claimed' and not asks then coalesce(new_cost, 0) else 0 end
        else 0 end as spent
    from (select decided.*, case when phase is null then last_cost else new_cost end as counted_with,
                 case when status in ('failed', 'refused') then null
                      else coalesce(cost, case when phase is null then last_cost else new_cost end) end as ends_with,
                 -- its own claim ended it as unpaid, so that it does not count
                 verdict = 'late, ends it' and has_epoch = epoch and has = was and phase is null
                     and before in ('failed', 'refused') as is_counted_again
          from decided) decided
), changed as (
    update asyncsdk.edit e set
        try = case when d.verdict = 'late' then e.try else d.new end,
        phase = case when d.verdict = 'late' then e.phase
                     when d.kind = 'start' then 'started'
                     when d.kind = 'turn away' and d.verdict = 'yes' then 'claimed' end,
        started = case when d.kind = 'start' then clock_timestamp() else e.started end,
        new_digest = case when d.kind = 'start' then d.digest else e.new_digest end,
        new_source = case when d.kind = 'start' then d.source else e.new_source end,
        new_n = case when d.kind = 'start' then d.n else e.new_n end,
        status = case when d.ends then d.status when d.verdict = 'lapsed' then 'failed' else e.status end,
        at = case when d.ends then clock_timestamp() else e.at end,
        run = case when d.ends then $3 when d.verdict = 'lapsed' then null else e.run end,  -- of no run: it was not tried
        digest = case when d.ends then d.digest else e.digest end,
        source = case when d.ends then d.source else e.source end,
        n = case when d.ends then d.n else e.n end,
        files = case when d.ends then d.files else e.files end,
        usage = case when d.ends then d.usage else e.usage end,
        problem = case when d.ends then d.problem else e.problem end,
        cost = case when d.ends then case when d.verdict = 'yes' then d.ends_with else coalesce(d.cost, e.cost) end
                    when d.verdict = 'lapsed' then null else e.cost end,
        generation = case when d.kind = 'end' and d.verdict = 'yes' then coalesce(e.new_generation, e.generation)
                          else e.generation end,
        header = case when d.kind = 'start' and d.generation is not null then d.header else e.header end,
        tried = case when (d.kind = 'start' and d.is_in_another) or d.verdict = 'lapsed' or (d.verdict = 'yes' and d.ends and d.status in ('failed', 'refused')) then null
                     when d.verdict = 'yes' and d.ends and d.phase is not null then e.new_tried else e.tried end,
        new_generation = case when d.kind = 'start' then coalesce(d.generation, e.generation + 1)
                              when d.verdict = 'late' or (d.kind = 'turn away' and e.asks) then e.new_generation end,
        new_tried = case when d.kind = 'start' then case when d.generation = e.generation and e.tried is not null and not d.is_in_another then e.tried
                                                         when d.generation is not null then clock_timestamp() end
                         when d.verdict = 'late' or (d.kind = 'turn away' and e.asks) then e.new_tried end,
        asks = e.asks and (d.verdict = 'late' or d.kind = 'start' or (d.kind = 'turn away' and d.verdict = 'yes')),
        images = case when d.ends then d.images else e.images end,
        request_id = case when d.ends then d.request_id else e.request_id end,
        late = case when d.verdict in ('late', 'late, ends it') then coalesce(e.late, '[]') || jsonb_build_array(
                   jsonb_build_object('try', d.new, 'epoch', d.epoch, 'files', d.files, 'usage', d.usage)) else e.late end
    from (select *, kind = 'end' and verdict in ('yes', 'late, ends it') as ends from priced) d
    where e.key = d.key and d.verdict in ('yes', 'lapsed', 'late', 'late, ends it')
), counted as (
    insert into asyncsdk.ledger_worker as w (holder, run, edits, tokens, cost, unpriced, writes)
    select $1, $3,
           -coalesce(sum(case when verdict = 'lapsed' or (verdict = 'late, ends it' and phase = 'claimed' and not asks) or (verdict = 'yes' and ((kind = 'give back' and not asks)
                              or (kind = 'end' and status in ('failed', 'refused')))) then 1
                              when is_counted_again then -1 else 0 end), 0),
           coalesce(sum(case when kind = 'end' and (verdict in ('yes', 'late, ends it') or (verdict = 'late' and not is_same)) then tokens else 0 end), 0),
           coalesce(sum(spent), 0),
           coalesce(sum(case when kind = 'end' and (verdict in ('yes', 'late, ends it') or (verdict = 'late' and not is_same)) and cost is null
                                  and counted_with is null then tokens else 0 end), 0), 1
    from priced
    on conflict (holder) do update
    set edits = w.edits + excluded.edits, tokens = w.tokens + excluded.tokens,
        cost = w.cost + excluded.cost, unpriced = w.unpriced + excluded.unpriced, writes = w.writes + 1
    returning w.writes
)
select d.key, d.new, case when d.verdict in ('yes', 'was made') then 'yes'
                          when d.verdict in ('late', 'late, ends it', 'was late') then 'late' else 'no' end as answer,
       d.has_epoch, counted.writes, place.is_rewound, place.is_stopping
from place cross join counted left join decided d on true
