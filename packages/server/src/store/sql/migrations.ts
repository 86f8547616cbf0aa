// SPDX-License-Identifier: Apache-2.0
/** How the tables come about: plain statements, the same for every engine. Only ever append to the list. */

/** The words in which SQL engines differ. */
export interface SqlWords {
  readonly bytes: "blob" | "bytea";
  /** A signed 64-bit integer. */
  readonly bigint: "integer" | "bigint";
  /** What stands after a table definition. */
  readonly tableOptions: "strict" | "";
}

export interface Migration {
  readonly name: string;
  statements(words: SqlWords): readonly string[];
}

const firstTables: Migration = {
  name: "first tables",
  statements: ({ bytes, bigint, tableOptions }) => [
    `create table epochs (
       name text primary key not null,
       value ${bigint} not null
     ) ${tableOptions}`,
    `insert into epochs (name, value) values ('resources', 0)`,
    `create table resources (
       kind text not null,
       name text not null,
       body text not null,
       version ${bigint} not null,
       created_at ${bigint} not null,
       updated_at ${bigint} not null,
       primary key (kind, name)
     ) ${tableOptions}`,
    `create table secret_names (
       name text primary key not null,
       last_version ${bigint} not null
     ) ${tableOptions}`,
    `create table secret_versions (
       name text not null references secret_names (name),
       version ${bigint} not null,
       sealed ${bytes} not null,
       key_id text not null,
       created_at ${bigint} not null,
       primary key (name, version)
     ) ${tableOptions}`,
    `create table agent_states (
       agent text primary key not null,
       state text not null check (state in ('active', 'cut')),
       reason text not null,
       changed_by text not null,
       changed_at ${bigint} not null
     ) ${tableOptions}`,
    `create table sealed_keys (
       name text primary key not null,
       algorithm text not null,
       public_key ${bytes} not null,
       sealed ${bytes} not null,
       key_id text not null,
       created_at ${bigint} not null
     ) ${tableOptions}`,
  ],
};

/** Counters by which other servers notice a change, and the master key that everything here is sealed under. */
const sharedDatabase: Migration = {
  name: "shared database",
  statements: ({ tableOptions }) => [
    `insert into epochs (name, value) values ('agents', 0), ('secrets', 0), ('keys', 0)`,
    `create table installation (
       name text primary key not null,
       value text not null
     ) ${tableOptions}`,
  ],
};

/** Evidence that counts once, by its digest. */
const usedEvidence: Migration = {
  name: "used evidence",
  statements: ({ bigint, tableOptions }) => [
    `create table used_evidence (
       digest text primary key not null,
       expires_at ${bigint} not null
     ) ${tableOptions}`,
    `create index used_evidence_by_expiry on used_evidence (expires_at)`,
  ],
};

const authorities: Migration = {
  name: "authorities of the trust domain",
  statements: ({ bytes, bigint, tableOptions }) => [
    `insert into epochs (name, value) values ('authorities', 0)`,
    `create table authorities (
       trust_domain text not null,
       kind text not null check (kind in ('x509', 'jwt')),
       generation ${bigint} not null,
       state text not null check (state in ('prepared', 'active', 'old', 'tainted', 'revoked')),
       published ${bytes} not null,
       not_before ${bigint} not null,
       not_after ${bigint} not null,
       created_at ${bigint} not null,
       changed_at ${bigint} not null,
       primary key (trust_domain, kind, generation)
     ) ${tableOptions}`,
  ],
};

/** Tokens that workloads join with, by their digest. */
const joinTokens: Migration = {
  name: "join tokens",
  statements: ({ bigint, tableOptions }) => [
    `create table join_tokens (
       digest text primary key not null,
       provider text not null,
       name text not null,
       expires_at ${bigint} not null
     ) ${tableOptions}`,
  ],
};

/** Requests that wait for a person's yes, and what each agent was let do once. */
const approvals: Migration = {
  name: "approvals",
  statements: ({ bytes, bigint, tableOptions }) => [
    `create table approvals (
       id text primary key not null,
       lookup text not null,
       agent text not null,
       state text not null check (
         state in ('pending', 'approved', 'denied', 'used', 'expired', 'displaced', 'withdrawn')
       ),
       version ${bigint} not null,
       summary text not null,
       votes text not null,
       sealed ${bytes} not null,
       uses_left ${bigint} not null check (uses_left >= 0),
       created_at ${bigint} not null,
       expires_at ${bigint} not null,
       changed_at ${bigint} not null
     ) ${tableOptions}`,
    `create unique index approvals_alive on approvals (lookup) where state in ('pending', 'approved', 'denied')`,
    `create index approvals_by_agent on approvals (agent, state)`,
    `create index approvals_by_expiry on approvals (state, expires_at)`,
    `create table first_uses (
       key text primary key not null,
       used_at ${bigint} not null
     ) ${tableOptions}`,
  ],
};

/** What is used of budgets. */
const budgetCounters: Migration = {
  name: "counters of budgets",
  statements: ({ bigint, tableOptions }) =>
    bigint === "integer"
      ? [
          `create table budget_counters (
             key text primary key not null,
             used integer not null,
             ends_at integer not null
           ) ${tableOptions}`,
        ]
      : [
          // Several servers: who holds what is in the database, and comes back when they are gone.
          `create table budget_counters (
             key text primary key not null,
             used bigint not null,
             reserved bigint not null,
             ends_at bigint not null
           )`,
          `create table budget_holders (holder text primary key not null, alive_until bigint not null)`,
          `create table budget_reservations (
             id text primary key not null,
             holder text not null,
             keys text[] not null,
             keeps bigint[] not null,
             holds bigint[] not null,
             ends_at bigint not null,
             is_held boolean not null default true
           )`,
          `create index budget_reservations_held on budget_reservations (holder) where is_held`,
        ],
};

/** What persons said yes to ahead. */
const grants: Migration = {
  name: "grants",
  statements: ({ bigint, tableOptions }) => [
    `create table grants (
       id text primary key not null,
       agent text not null,
       state text not null check (state in ('active', 'used', 'expired', 'revoked')),
       body text not null,
       uses_left ${bigint} not null check (uses_left >= 0),
       created_at ${bigint} not null,
       expires_at ${bigint} not null,
       changed_at ${bigint} not null
     ) ${tableOptions}`,
    `create index grants_by_agent on grants (agent, state)`,
  ],
};

/** What was reported of workloads and machines. */
const posture: Migration = {
  name: "posture",
  statements: ({ bigint, tableOptions }) => [
    `create table posture (
       subject text not null,
       source text not null,
       facts text not null,
       observed_at ${bigint} not null,
       expires_at ${bigint} not null,
       primary key (subject, source)
     ) ${tableOptions}`,
    `insert into epochs (name, value) values ('posture', 0)`,
  ],
};

/** An authority that a parent has signed goes out with its certificates. */
const parentAuthorities: Migration = {
  name: "parent authorities",
  statements: ({ bytes }) => [`alter table authorities add column chain ${bytes}`],
};

/** SQLite changes a check in no other way than by a new table. */
const witAuthorities: Migration = {
  name: "authorities for WIT-SVIDs",
  statements: ({ bytes, bigint, tableOptions }) => [
    `create table authorities_of_all_kinds (
       trust_domain text not null,
       kind text not null check (kind in ('x509', 'jwt', 'wit')),
       generation ${bigint} not null,
       state text not null check (state in ('prepared', 'active', 'old', 'tainted', 'revoked')),
       published ${bytes} not null,
       not_before ${bigint} not null,
       not_after ${bigint} not null,
       created_at ${bigint} not null,
       changed_at ${bigint} not null,
       chain ${bytes},
       primary key (trust_domain, kind, generation)
     ) ${tableOptions}`,
    `insert into authorities_of_all_kinds
       select trust_domain, kind, generation, state, published, not_before, not_after, created_at, changed_at, chain
       from authorities`,
    `drop table authorities`,
    `alter table authorities_of_all_kinds rename to authorities`,
  ],
};

/** Version n of the schema is the n-th entry, counted from 1. */
export const MIGRATIONS: readonly Migration[] = [
  firstTables,
  sharedDatabase,
  usedEvidence,
  authorities,
  joinTokens,
  approvals,
  budgetCounters,
  grants,
  posture,
  parentAuthorities,
  witAuthorities,
];
