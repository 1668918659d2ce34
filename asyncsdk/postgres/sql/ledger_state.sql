-- What a copy of the ledger compares: what counts, how many changes its processes have made, and which database this is.
-- Law: it takes no lock.
select l.options, l.is_rewound,
       (select system_identifier::text from pg_control_system()) || '/' || current_database() as place,
       (select coalesce(sum(edits), 0)::bigint from asyncsdk.ledger_worker) as edits,
       (select coalesce(sum(tokens), 0)::bigint from asyncsdk.ledger_worker) as tokens,
       (select coalesce(sum(cost), 0)::bigint from asyncsdk.ledger_worker) as cost,
       (select coalesce(sum(unpriced), 0)::bigint from asyncsdk.ledger_worker) as unpriced,
       (select coalesce(sum(writes), 0)::bigint from asyncsdk.ledger_worker) as writes
from asyncsdk.ledger l
