-- What the ledger has: how many edits of each state, what counts, who works at it.
-- Law: as for `edit_look`.
with edits as materialized (
    select coalesce(case when e.phase = 'started' and h.until is null then 'uncertain'
                         when e.phase = 'started' and h.host = 'a batch' then 'batched' else e.phase end, e.status, 'new') as state,
           count(*) as number, count(e.late) as late,
           sum(e.cost) filter (where e.status = 'done' or (e.status = 'uncertain' and e.usage is not null)) as paid,
           sum(e.cost) filter (where e.status = 'uncertain' and e.usage is null) as uncertain,
           -- a claim that asks again counts with the sending that it asks about
           sum(e.new_cost) filter (where e.phase is not null and not e.asks) as claimed
    from (select null::bigint as cost, null::bigint as new_cost, false as asks) older
    cross join lateral (
        select status, phase, holder, usage, late, cost, new_cost, asks from asyncsdk.edit
    ) e
    left join asyncsdk.holder h on h.id = e.holder and e.phase is not null and h.until > clock_timestamp()
    group by 1
), amounts as materialized (
    select coalesce(sum(late), 0) as late, coalesce(sum(paid), 0) as paid,
           coalesce(sum(uncertain), 0) + coalesce(sum(claimed), 0) as possible
    from edits
)
select json_build_object(
    'states', (select coalesce(json_object_agg(state, number), '{}') from edits),
    'late', amounts.late, 'cost_paid', amounts.paid, 'cost_possible', amounts.possible,
    'edits', (select coalesce(sum(edits), 0) from asyncsdk.ledger_worker),
    'tokens', (select coalesce(sum(tokens), 0) from asyncsdk.ledger_worker),
    'cost', (select coalesce(sum((to_jsonb(w)->>'cost')::bigint), 0) from asyncsdk.ledger_worker w),
    'unpriced', (select coalesce(sum(coalesce((to_jsonb(w)->>'unpriced')::bigint, tokens)), 0) from asyncsdk.ledger_worker w),
    'run', l.run, 'options', l.options::json, 'is_stopping', l.is_stopping, 'is_rewound', l.is_rewound,
    'workers', (select coalesce(json_agg(json_build_object('pid', h.pid, 'host', h.host)), '[]')
        from asyncsdk.ledger_worker w join asyncsdk.holder h on h.id = w.holder
        where w.run = l.run and not w.is_over and h.until > clock_timestamp())
)::text as shown
from asyncsdk.ledger l cross join amounts
