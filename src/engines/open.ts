// From a URL to its engine, whose module (and whose client library) is loaded only then.

import { DeferqError, maskUrl } from '../base/errors.ts'
import type { Engine } from '../contract/engine.ts'

const ENGINES: Record<string, (url: string) => Promise<Engine>> = {
  'memory:': async () => new (await import('./memory/index.ts')).MemoryEngine(),
  'sqlite:': async (url) => new (await import('./sqlite/index.ts')).SqliteEngine({ url }),
  'postgres:': async (url) => new (await import('./postgres/index.ts')).PostgresEngine({ url }),
  'postgresql:': async (url) => new (await import('./postgres/index.ts')).PostgresEngine({ url }),
}
for (const scheme of [
  'redis:',
  'rediss:',
  'redis+cluster:',
  'rediss+cluster:',
  'redis+sentinel:',
  'rediss+sentinel:',
]) {
  ENGINES[scheme] = async (url) => new (await import('./redis/index.ts')).RedisEngine({ url })
}

/** Whether the url is that of another application's HTTP interface, which is no engine. */
export const isInterface = (url: string | undefined): boolean => /^https?:/i.test(url ?? '')

/** Refuses a malformed URL at once. The answer makes the engine. */
export function openEngine(url = 'memory:', secret?: string): () => Promise<Engine> {
  if (secret !== undefined) {
    throw new DeferqError(
      'INVALID_OPTION',
      'new DeferQ(): a secret signs requests to an HTTP interface; other stores have their password in the url.',
    )
  }
  const open = ENGINES[/^[a-z][a-z0-9+.-]*:/i.exec(url)?.[0].toLowerCase() ?? '']
  if (open !== undefined) return () => open(url)
  const known =
    "'memory:', 'sqlite:./deferq.db', 'redis://localhost:6379', 'redis+cluster://h1,h2', 'redis+sentinel://h1,h2?name=master', 'postgres://localhost/app', 'https://host/deferq'"
  throw new DeferqError(
    'INVALID_URL',
    String(url).trim() === ''
      ? `The url is empty: is its environment variable set? Use one of ${known}, or leave url out for memory.`
      : `The url '${maskUrl(String(url))}' names no engine. Use one of ${known}.`,
  )
}
