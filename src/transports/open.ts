// From a URL to its transport, whose module (and whose client library) is loaded only then; the entry deferq/transports.
import { DeferqError, maskUrl } from '../base/errors.ts'
import type { Transport } from '../contract/transport.ts'

export { DeferqError } from '../base/errors.ts'
export { checkBatch, MAX_BATCH } from '../contract/engine.ts'
export type {
  Answer,
  Burial,
  Delivery,
  Depth,
  Message,
  Outgoing,
  Properties,
  Release,
  Reservation,
  Transport,
} from '../contract/transport.ts'
export {
  checkExtension,
  checkOutgoing,
  checkPeek,
  checkReleases,
  checkReservation,
  deadLettersOf,
} from '../contract/transport.ts'
export { parcels as splitBySize } from '../drivers/split-by-size.ts'
export type { Look, Waiting } from '../drivers/transport-wait.ts'
export { Waits } from '../drivers/transport-wait.ts'
export { MemoryBroker, MemoryTransport } from './memory.ts'

const TRANSPORTS: Record<string, (url: string) => Promise<Transport>> = {
  'memory:': async () => new (await import('./memory.ts')).MemoryTransport(),
}
for (const scheme of ['sqlite:', 'postgres:', 'postgresql:']) {
  TRANSPORTS[scheme] = async (url) => new (await import('./sql/index.ts')).SqlTransport({ url })
}
for (const scheme of [
  'redis:',
  'rediss:',
  'redis+cluster:',
  'rediss+cluster:',
  'redis+sentinel:',
  'rediss+sentinel:',
]) {
  TRANSPORTS[scheme] = async (url) => new (await import('./redis/index.ts')).RedisTransport({ url })
}
for (const scheme of ['amqp:', 'amqps:']) {
  TRANSPORTS[scheme] = async (url) => new (await import('./rabbitmq/index.ts')).RabbitmqTransport({ url })
}

const KNOWN =
  "'memory:', 'sqlite:./deferq.db', 'postgres://user:password@localhost/database', 'redis://localhost:6379', " +
  "'redis+cluster://h1,h2', 'redis+sentinel://h1,h2?name=master', 'amqp://user:password@localhost/vhost'"

/** Refuses a malformed URL at once; what it answers makes the transport. */
export function openTransport(url: string): () => Promise<Transport> {
  const open = TRANSPORTS[/^[a-z][a-z0-9+.-]*:/i.exec(url)?.[0].toLowerCase() ?? '']
  if (open !== undefined) return () => open(url)
  throw new DeferqError(
    'INVALID_URL',
    `The url '${maskUrl(String(url))}' names no transport. Use one of ${KNOWN}.`,
  )
}
