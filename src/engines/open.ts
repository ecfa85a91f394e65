// From a URL to its engine, whose module (and whose client library) is loaded only then.
import type { Engine } from '../engine.ts'
import { DeferqError, maskUrl } from '../errors.ts'

const ENGINES: Record<string, (url: string) => Promise<Engine>> = {
  'memory:': async () => new (await import('./memory.ts')).MemoryEngine(),
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

/** Refuses a malformed URL at once; what it answers makes the engine. */
export function openEngine(url = 'memory:'): () => Promise<Engine> {
  const open = ENGINES[/^[a-z][a-z0-9+.-]*:/i.exec(url)?.[0].toLowerCase() ?? '']
  if (open !== undefined) return () => open(url)
  const known =
    "'memory:', 'sqlite:./deferq.db', 'redis://localhost:6379', 'redis+cluster://h1,h2', 'redis+sentinel://h1,h2?name=master', 'postgres://localhost/app'"
  throw new DeferqError(
    'INVALID_URL',
    String(url).trim() === ''
      ? `The url is empty: is its environment variable set? Use one of ${known}, or leave url out for memory.`
      : `The url '${maskUrl(String(url))}' names no engine. Use one of ${known}.`,
  )
}
