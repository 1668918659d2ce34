-- Version 2 of the schema `asyncsdk`: the ledger of edits.
-- Law: as for version 1. One database has one ledger. The sums of what was paid are kept for each process, never in one
-- row that all change.
create table asyncsdk.ledger (
    is_only boolean primary key default true check (is_only),
    run bigint not null default 0,  -- copies that are alive at the same time are one run
    begun timestamptz not null default clock_timestamp(),
    options text not null default '{}',  -- in which its copies are alike, as canonical JSON
    is_stopping boolean not null default false,
    is_rewound boolean not null default false,  -- commits were lost: all copies stop until a person accepts that
    system_id text not null,
    timeline text not null
);
insert into asyncsdk.ledger (system_id, timeline)
select system_identifier::text, left(pg_walfile_name(pg_current_wal_lsn()), 8) from pg_control_system();

-- A process that works at it. `writes` only grows: its process sees by it that commits were lost.
create table asyncsdk.ledger_worker (
    holder uuid primary key,
    run bigint not null,
    is_over boolean not null default false,
    edits bigint not null default 0,  -- that are or may be paid, as far as this process changed the number
    tokens bigint not null default 0,
    writes bigint not null default 0
) with (fillfactor = 50);

-- An edit, by its id as names are compared. How its last attempt ended, then the claim that is open.
create table asyncsdk.edit (
    key text collate "C" primary key,
    id text not null,
    status text check (status in ('done', 'failed', 'refused', 'uncertain')),  -- null: new
    at timestamptz,
    run bigint,
    digest text,  -- of its fields and pictures
    source text,  -- a digest of its fields and where its pictures come from
    n integer not null default 1,
    files json,
    usage json,
    problem json,
    images integer,
    request_id text,
    late jsonb,  -- answers that are paid and came when it was another's
    phase text check (phase in ('claimed', 'started')),  -- null: nobody works at it
    epoch bigint not null,
    holder uuid not null,
    try uuid not null,  -- of the last change
    started timestamptz,
    new_digest text,
    new_source text,
    new_n integer
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

insert into asyncsdk.schema_version (version) values (2);
