// SPDX-License-Identifier: Apache-2.0
/**
 * The functions that count budgets inside PostgreSQL: one call, one transaction, nothing comes between.
 *
 * Counters are locked in one order, a reservation always before its counters, so that no two calls wait for each
 * other. Time is the database's: whose gateway's clock is wrong takes nobody's lease. A function that is changed gets
 * the next number, because servers of two versions may share a database.
 */

const MOST = "9007199254740991";
const NOW = "(extract(epoch from clock_timestamp()) * 1000)::bigint";
const KEPT_AFTER_END = "172800000";

export const BUDGET_FUNCTIONS: readonly string[] = [
  `create or replace function postern_budget_reserve_v1(
     p_id text, p_holder text, p_keys text[], p_limits bigint[], p_keeps bigint[], p_holds bigint[], p_ends bigint[]
   ) returns table (used_now bigint, reserved_now bigint, is_admitted boolean) language plpgsql as $$
   declare
     fits boolean;
   begin
     insert into budget_counters (key, used, reserved, ends_at)
       select k, 0, 0, e from unnest(p_keys, p_ends) as given (k, e)
       where not exists (select from budget_counters c where c.key = k)
       order by k collate "C"
       on conflict (key) do nothing;
     perform from budget_counters c where c.key = any (p_keys) order by c.key collate "C" for update;
     select bool_and(given.keep + given.hold <= given.lim - c.used - c.reserved) into fits
       from unnest(p_keys, p_limits, p_keeps, p_holds) as given (k, lim, keep, hold)
       join budget_counters c on c.key = given.k;
     if fits then
       insert into budget_reservations (id, holder, keys, keeps, holds, ends_at)
         values (p_id, p_holder, p_keys, p_keeps, p_holds, (select max(e) from unnest(p_ends) as ends (e)));
       update budget_counters c set used = c.used + given.keep, reserved = c.reserved + given.hold
         from unnest(p_keys, p_keeps, p_holds) as given (k, keep, hold) where c.key = given.k;
     end if;
     return query select c.used, c.reserved, fits
       from unnest(p_keys) with ordinality as given (k, place) join budget_counters c on c.key = given.k
       order by given.place;
   end $$`,
  `create or replace function postern_budget_settle_v1(p_id text, p_charges bigint[]) returns void
   language plpgsql as $$
   declare
     found_keys text[];
     found_keeps bigint[];
     found_holds bigint[];
   begin
     delete from budget_reservations r where r.id = p_id
       returning r.keys, r.keeps, r.holds into found_keys, found_keeps, found_holds;
     if found_keys is null then return; end if;
     perform from budget_counters c where c.key = any (found_keys) order by c.key collate "C" for update;
     update budget_counters c set
         used = least(${MOST}, greatest(0, c.used - given.keep + coalesce(given.charge, 0))),
         reserved = c.reserved - given.hold
       from unnest(found_keys, found_keeps, found_holds, p_charges) as given (k, keep, hold, charge)
       where c.key = given.k;
   end $$`,
  // What dead holders held comes back. Their reservations stay, for a holder that was only asleep settles them yet.
  `create or replace function postern_budget_renew_v1(p_holder text, p_lease bigint) returns void
   language plpgsql as $$
   declare
     dead_ids text[];
     dead_keys text[];
   begin
     insert into budget_holders (holder, alive_until) values (p_holder, ${NOW} + p_lease)
       on conflict (holder) do update set alive_until = excluded.alive_until;
     select array_agg(dead.id) into dead_ids from (
       select r.id from budget_reservations r
       where r.is_held and not exists
         (select from budget_holders h where h.holder = r.holder and h.alive_until > ${NOW})
       order by r.id for update skip locked) as dead;
     if dead_ids is not null then
       select array_agg(distinct k) into dead_keys
         from budget_reservations r, unnest(r.keys) as given (k) where r.id = any (dead_ids);
       perform from budget_counters c where c.key = any (dead_keys) order by c.key collate "C" for update;
       update budget_counters c set reserved = c.reserved - back.held
         from (select given.k, sum(given.hold)::bigint as held
               from budget_reservations r, unnest(r.keys, r.holds) as given (k, hold)
               where r.id = any (dead_ids) group by given.k) as back
         where c.key = back.k;
       update budget_reservations r set is_held = false, holds = array_fill(0::bigint, array[cardinality(r.holds)])
         where r.id = any (dead_ids);
     end if;
     delete from budget_reservations r where r.ends_at < ${NOW} - ${KEPT_AFTER_END};
     delete from budget_counters c where c.ends_at < ${NOW} - ${KEPT_AFTER_END};
     delete from budget_holders h where h.alive_until < ${NOW} - ${KEPT_AFTER_END};
   end $$`,
];
