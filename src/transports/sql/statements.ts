// The PostgreSQL statements of the SQL transport: each verb for a whole batch in one of them, by the server's clock.

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

export function statementsFor(table: string, channel: string): Statements {
  const fill = (sql: string): string => sql.replaceAll('MESSAGES', table).replaceAll('CHANNEL', channel)
  return Object.fromEntries(Object.entries(STATEMENTS).map(([name, sql]) => [name, fill(sql)])) as Statements
}

const WELCOME = `
  SELECT to_regclass('MESSAGES') IS NOT NULL AS there,
    current_setting('synchronous_commit') <> 'off' AND current_setting('fsync') = 'on' AS keeps`

// Two partial indices, so that what is ready is found without stepping over what is held, and the other way round. Rows
// come and go all the time: dead ones are cleared away early, because every look at a queue steps over them.
const MIGRATION = `
  CREATE TABLE IF NOT EXISTS MESSAGES (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue text NOT NULL,
    ready_at timestamptz NOT NULL,
    deliveries integer NOT NULL DEFAULT 0,
    token text,
    lease_until timestamptz,
    body bytea NOT NULL,
    CHECK ((token IS NULL) = (lease_until IS NULL))
  ) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
  CREATE INDEX IF NOT EXISTS messages_ready ON MESSAGES (queue, ready_at, id) WHERE token IS NULL;
  CREATE INDEX IF NOT EXISTS messages_held ON MESSAGES (queue, lease_until, id) WHERE token IS NOT NULL`

const MS = `interval '1 millisecond'`
const NOW = 'statement_timestamp()'
const HELD = `m.id = given.id AND m.token = given.token AND m.lease_until > ${NOW}`
const READY = `token IS NULL AND ready_at <= ${NOW}`
const ENDED = `token IS NOT NULL AND lease_until <= ${NOW}`

const PUBLISH = `
  WITH stored AS (
    INSERT INTO MESSAGES (queue, ready_at, body)
    SELECT queue, clock_timestamp() + delay * ${MS}, body
    FROM unnest($1::text[], $2::float8[], $3::bytea[]) WITH ORDINALITY AS given (queue, delay, body, turn)
    ORDER BY turn
    RETURNING queue
  )
  SELECT pg_notify('CHANNEL', queue) FROM (SELECT DISTINCT queue FROM stored) AS changed`

// Rows that another consumer is taking are passed over, not waited for. What was held for too long comes first.
const TAKE = `
  WITH ended AS (
    SELECT id FROM MESSAGES WHERE queue = $1 AND ${ENDED}
    ORDER BY lease_until, id LIMIT $2 FOR UPDATE SKIP LOCKED
  ), ready AS (
    SELECT id FROM MESSAGES WHERE queue = $1 AND ${READY}
    ORDER BY ready_at, id LIMIT $2::integer - (SELECT count(*) FROM ended) FOR UPDATE SKIP LOCKED
  ), found AS (
    SELECT id, row_number() OVER () AS turn FROM (SELECT id FROM ended UNION ALL SELECT id FROM ready) AS both_kinds
  )
  UPDATE MESSAGES AS m
  SET deliveries = m.deliveries + (m.token IS NOT NULL)::integer, token = m.id || '.' || $4::text,
    lease_until = clock_timestamp() + $3::float8 * ${MS}
  FROM found WHERE m.id = found.id
  RETURNING m.token, m.deliveries, m.body, found.turn`

const ACK = `
  DELETE FROM MESSAGES AS m USING unnest($1::bigint[], $2::text[]) AS given (id, token)
  WHERE ${HELD} RETURNING m.token`

const MOVE = `
  WITH taken AS (
    DELETE FROM MESSAGES AS m
    USING unnest($1::bigint[], $2::text[], $3::text[], $4::float8[], $5::bytea[])
      WITH ORDINALITY AS given (id, token, queue, delay, body, turn)
    WHERE ${HELD}
    RETURNING m.token, given.queue, given.delay, coalesce(given.body, m.body) AS body, given.turn
  ), stored AS (
    INSERT INTO MESSAGES (queue, ready_at, body)
    SELECT queue, clock_timestamp() + delay * ${MS}, body FROM taken ORDER BY turn
    RETURNING queue
  ), told AS (
    SELECT count(pg_notify('CHANNEL', queue)) FROM (SELECT DISTINCT queue FROM stored) AS changed
  )
  SELECT token FROM taken, told`

const EXTEND = `
  UPDATE MESSAGES AS m SET lease_until = clock_timestamp() + $3::float8 * ${MS}
  FROM unnest($1::bigint[], $2::text[]) AS given (id, token)
  WHERE ${HELD} RETURNING m.token`

const DEPTH = `
  SELECT wanted.queue,
    (SELECT count(*) FROM MESSAGES AS m WHERE m.queue = wanted.queue AND ${READY})
      + (SELECT count(*) FROM MESSAGES AS m WHERE m.queue = wanted.queue AND ${ENDED}) AS ready,
    (SELECT count(*) FROM MESSAGES AS m WHERE m.queue = wanted.queue AND token IS NULL AND ready_at > ${NOW}) AS delayed,
    (SELECT count(*) FROM MESSAGES AS m WHERE m.queue = wanted.queue AND token IS NOT NULL AND lease_until > ${NOW})
      AS reserved
  FROM unnest($1::text[]) WITH ORDINALITY AS wanted (queue, turn) ORDER BY turn`

const PEEK = `
  (SELECT body FROM MESSAGES WHERE queue = $1 AND ${ENDED} ORDER BY lease_until, id LIMIT $2)
  UNION ALL (SELECT body FROM MESSAGES WHERE queue = $1 AND ${READY} ORDER BY ready_at, id LIMIT $2)
  LIMIT $2`

const NEXT = `
  SELECT wanted.queue, 1000 * extract(epoch FROM least(
    (SELECT min(ready_at) FROM MESSAGES AS m WHERE m.queue = wanted.queue AND token IS NULL),
    (SELECT min(lease_until) FROM MESSAGES AS m WHERE m.queue = wanted.queue AND token IS NOT NULL)
  ) - ${NOW}) AS next
  FROM unnest($1::text[]) AS wanted (queue)`

const LEAVE = `
  WITH left_behind AS (
    UPDATE MESSAGES SET lease_until = ${NOW}
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
