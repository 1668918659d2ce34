-- Version 4 of the schema `asyncsdk`: what edits cost, in billionths of a dollar.
-- Law: as for version 1. What a price is not known for stays in tokens.
alter table asyncsdk.ledger_worker
    add column cost bigint not null default 0,  -- of what is not known yet, what it costs at most
    add column unpriced bigint not null default 0;  -- tokens whose price was not known
update asyncsdk.ledger_worker set unpriced = tokens;

alter table asyncsdk.edit
    add column cost bigint,  -- with which its last attempt counts; null: not known
    add column new_cost bigint;  -- with which the open claim counts

insert into asyncsdk.schema_version (version) values (4);
