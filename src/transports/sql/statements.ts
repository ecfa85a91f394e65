// The PostgreSQL statements of the SQL transport: each verb for a whole batch in one of them, by the server's clock.
//
// Those that are called all the time are functions of the database: they are planned once per session instead of with each
// call, which took two thirds of a take (2.9 ms against 0.5 on a busy machine), and unlike prepared statements they work
// through a pooler.

import { quoted } from '../../drivers/postgres.ts'

export type Statements = Record<
  | 'welcome'
  | 'migration'
  | 'publish'
  | 'take'
  | 'ack'
  | 'move'
  | 'extend'
  | 'depth'
  | 'peek'
  | 'next'
  | 'leave',
  string
>

/** What each function takes and answers; in its statement, the arguments are $1, $2, …. */
const FUNCTIONS = {
  publish: ['text[], float8[], bytea[]', 'told bigint'],
  take: ['text, integer, float8, text', 'token text, deliveries integer, body bytea'],
  ack: ['bigint[], text[]', 'token text'],
  move: ['bigint[], text[], text[], float8[], bytea[]', 'token text'],
  extend: ['bigint[], text[], float8', 'token text'],
  next: ['text[]', 'queue text, next float8'],
} as const

/** Part of the functions' names: two versions of deferq may work on one table for a while. */
const VERSION = 1

/** The statements themselves, as they run within the functions or by themselves. */
export function statementsFor(schema: string): Statements {
  const fill = (sql: string): string =>
    sql.replaceAll('SCHEMA', quoted(schema)).replaceAll('CHANNEL', channelOf(schema))
  return Object.fromEntries(Object.entries(STATEMENTS).map(([name, sql]) => [name, fill(sql)])) as Statements
}

/** What is sent for them. */
export function callsFor(schema: string): Statements {
  const statements = statementsFor(schema)
  const calls = { ...statements }
  for (const [name, [takes, answers]] of Object.entries(FUNCTIONS)) {
    const called = `${quoted(schema)}.messages_${name}_${VERSION}`
    const slots = takes.split(', ').map((type, index) => `$${index + 1}::${type}`)
    calls[name as keyof typeof FUNCTIONS] = `SELECT * FROM ${called}(${slots.join(', ')})`
    calls.migration += `;
      CREATE OR REPLACE FUNCTION ${called}(${takes}) RETURNS TABLE (${answers}) LANGUAGE plpgsql AS $function$
      #variable_conflict use_column
      BEGIN RETURN QUERY ${statements[name as keyof typeof FUNCTIONS]}; END $function$`
  }
  return calls
}

export const channelOf = (schema: string): string => `${schema}_messages`

const WELCOME = `
  SELECT to_regprocedure('SCHEMA.messages_next_${VERSION}(text[])') IS NOT NULL AS there,
    current_setting('synchronous_commit') <> 'off' AND current_setting('fsync') = 'on' AS keeps`

// Two partial indices, so that what is ready is found without stepping over what is held, and the other way round. Rows
// come and go all the time: dead ones are cleared away early, because every look at a queue steps over them.
const MIGRATION = `
  CREATE TABLE IF NOT EXISTS SCHEMA.messages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue text NOT NULL,
    ready_at timestamptz NOT NULL,
    deliveries integer NOT NULL DEFAULT 0,
    token text,
    lease_until timestamptz,
    body bytea NOT NULL,
    CHECK ((token IS NULL) = (lease_until IS NULL))
  ) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
  CREATE INDEX IF NOT EXISTS messages_ready ON SCHEMA.messages (queue, ready_at, id) WHERE token IS NULL;
  CREATE INDEX IF NOT EXISTS messages_held ON SCHEMA.messages (queue, lease_until, id) WHERE token IS NOT NULL`

const MS = `interval '1 millisecond'`
const NOW = 'statement_timestamp()'
// The length of the list is hidden from the planner: knowing it, it would rather read the whole table than find 1,000 of
// 100,000 rows by their key, which takes ten times as long.
const HELD = `
  m.id = ANY (ARRAY(SELECT unnest($1::bigint[]))) AND m.token = ANY ($2::text[]) AND m.lease_until > ${NOW}`
const READY = `token IS NULL AND ready_at <= ${NOW}`
const ENDED = `token IS NOT NULL AND lease_until <= ${NOW}`

const PUBLISH = `
  WITH stored AS (
    INSERT INTO SCHEMA.messages (queue, ready_at, body)
    SELECT queue, clock_timestamp() + delay * ${MS}, body
    FROM unnest($1::text[], $2::float8[], $3::bytea[]) WITH ORDINALITY AS given (queue, delay, body, turn)
    ORDER BY turn
    RETURNING queue
  )
  SELECT count(pg_notify('CHANNEL', queue)) FROM (SELECT DISTINCT queue FROM stored) AS changed`

// Rows that another consumer is taking are passed over, not waited for. What was held for too long comes first.
const TAKE = `
  WITH ended AS (
    SELECT id FROM SCHEMA.messages WHERE queue = $1 AND ${ENDED}
    ORDER BY lease_until, id LIMIT $2 FOR UPDATE SKIP LOCKED
  ), ready AS (
    SELECT id FROM SCHEMA.messages WHERE queue = $1 AND ${READY}
    ORDER BY ready_at, id LIMIT $2::integer - (SELECT count(*) FROM ended) FOR UPDATE SKIP LOCKED
  ), found AS (
    SELECT id, row_number() OVER () AS turn FROM (SELECT id FROM ended UNION ALL SELECT id FROM ready) AS both_kinds
  ), taken AS (
    UPDATE SCHEMA.messages AS m
    SET deliveries = m.deliveries + (m.token IS NOT NULL)::integer, token = m.id || '.' || $4::text,
      lease_until = clock_timestamp() + $3::float8 * ${MS}
    WHERE m.id = ANY (ARRAY(SELECT id FROM found))
    RETURNING m.id, m.token, m.deliveries, m.body
  )
  SELECT taken.token, taken.deliveries, taken.body FROM taken JOIN found USING (id) ORDER BY found.turn`

const ACK = `DELETE FROM SCHEMA.messages AS m WHERE ${HELD} RETURNING m.token`

const MOVE = `
  WITH taken AS (
    DELETE FROM SCHEMA.messages AS m WHERE ${HELD} RETURNING m.token, m.body
  ), stored AS (
    INSERT INTO SCHEMA.messages (queue, ready_at, body)
    SELECT given.queue, clock_timestamp() + given.delay * ${MS}, coalesce(given.body, taken.body)
    FROM taken JOIN unnest($2::text[], $3::text[], $4::float8[], $5::bytea[])
      WITH ORDINALITY AS given (token, queue, delay, body, turn) USING (token)
    ORDER BY given.turn
    RETURNING queue
  ), told AS (
    SELECT count(pg_notify('CHANNEL', queue)) FROM (SELECT DISTINCT queue FROM stored) AS changed
  )
  SELECT token FROM taken, told`

const EXTEND = `
  UPDATE SCHEMA.messages AS m SET lease_until = clock_timestamp() + $3::float8 * ${MS}
  WHERE ${HELD} RETURNING m.token`

const DEPTH = `
  SELECT wanted.queue,
    (SELECT count(*) FROM SCHEMA.messages AS m WHERE m.queue = wanted.queue AND ${READY})
      + (SELECT count(*) FROM SCHEMA.messages AS m WHERE m.queue = wanted.queue AND ${ENDED}) AS ready,
    (SELECT count(*) FROM SCHEMA.messages AS m WHERE m.queue = wanted.queue AND token IS NULL AND ready_at > ${NOW}) AS delayed,
    (SELECT count(*) FROM SCHEMA.messages AS m WHERE m.queue = wanted.queue AND token IS NOT NULL AND lease_until > ${NOW})
      AS reserved
  FROM unnest($1::text[]) WITH ORDINALITY AS wanted (queue, turn) ORDER BY turn`

const PEEK = `
  (SELECT body FROM SCHEMA.messages WHERE queue = $1 AND ${ENDED} ORDER BY lease_until, id LIMIT $2)
  UNION ALL (SELECT body FROM SCHEMA.messages WHERE queue = $1 AND ${READY} ORDER BY ready_at, id LIMIT $2)
  LIMIT $2`

const NEXT = `
  SELECT wanted.queue, (1000 * extract(epoch FROM least(
    (SELECT min(ready_at) FROM SCHEMA.messages AS m WHERE m.queue = wanted.queue AND token IS NULL),
    (SELECT min(lease_until) FROM SCHEMA.messages AS m WHERE m.queue = wanted.queue AND token IS NOT NULL)
  ) - ${NOW}))::float8 AS next
  FROM unnest($1::text[]) AS wanted (queue)`

const LEAVE = `
  WITH left_behind AS (
    UPDATE SCHEMA.messages SET lease_until = ${NOW}
    WHERE queue = ANY ($1) AND token LIKE $2 AND lease_until > ${NOW}
    RETURNING queue
  )
  SELECT pg_notify('CHANNEL', queue) FROM (SELECT DISTINCT queue FROM left_behind) AS changed`

const STATEMENTS: Statements = {
  welcome: WELCOME,
  migration: MIGRATION,
  publish: PUBLISH,
  take: TAKE,
  ack: ACK,
  move: MOVE,
  extend: EXTEND,
  depth: DEPTH,
  peek: PEEK,
  next: NEXT,
  leave: LEAVE,
}
