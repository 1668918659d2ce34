-- What the ledger has: how many edits of each state, what counts, who works at it.
-- Law: as for `edit_look`.
select json_build_object(
    'states', (select coalesce(json_object_agg(state, number), '{}') from (
        select coalesce(case when e.phase = 'started' and h.until is null then 'uncertain'
                             when e.phase = 'started' and h.host = 'a batch' then 'batched' else e.phase end, e.status, 'new')
               as state, count(*) as number
        from asyncsdk.edit e
        left join asyncsdk.holder h on h.id = e.holder and e.phase is not null and h.until > clock_timestamp()
        group by 1) states),
    'late', (select count(*) from asyncsdk.edit where late is not null),
    'edits', (select coalesce(sum(edits), 0) from asyncsdk.ledger_worker),
    'tokens', (select coalesce(sum(tokens), 0) from asyncsdk.ledger_worker),
    'cost', (select coalesce(sum((to_jsonb(w)->>'cost')::bigint), 0) from asyncsdk.ledger_worker w),
    'cost_paid', (select coalesce(sum((to_jsonb(e)->>'cost')::bigint), 0) from asyncsdk.edit e
        where status = 'done' or (status = 'uncertain' and usage is not null)),
    -- one that asks again counts with its first sending, which is uncertain
    'cost_possible', (select coalesce(sum(
            case when status = 'uncertain' and usage is null then coalesce((to_jsonb(e)->>'cost')::bigint, 0) else 0 end
            + case when phase is not null and not coalesce((to_jsonb(e)->>'asks')::boolean, false)
                   then coalesce((to_jsonb(e)->>'new_cost')::bigint, 0) else 0 end), 0) from asyncsdk.edit e),
    'unpriced', (select coalesce(sum(coalesce((to_jsonb(w)->>'unpriced')::bigint, tokens)), 0) from asyncsdk.ledger_worker w),
    'run', l.run, 'options', l.options::json, 'is_stopping', l.is_stopping, 'is_rewound', l.is_rewound,
    'workers', (select coalesce(json_agg(json_build_object('pid', h.pid, 'host', h.host)), '[]')
        from asyncsdk.ledger_worker w join asyncsdk.holder h on h.id = w.holder
        where w.run = l.run and not w.is_over and h.until > clock_timestamp())
)::text as shown
from asyncsdk.ledger l
