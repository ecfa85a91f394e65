// What a Redis server, set up as it is, can't promise to those who store in it.
import type { Connection } from './redis-connection.ts'
import type { Target } from './redis-url.ts'

export interface Caveats {
  caveats: string[]
  /** Worth a warning in the log, because it is likely to be a mistake. */
  warnings: string[]
}

/** INFO tells all of it, and is allowed where CONFIG is not. What it does not tell is not guessed. */
export async function caveatsOf(connection: Connection, target: Target): Promise<Caveats> {
  const caveats: string[] = []
  const warnings: string[] = []
  const infos = await connection.info('everything').catch(() => [])
  const says = (field: string): string | undefined =>
    infos
      .map((info) => new RegExp(`^${field}:([^\\r\\n]*)`, 'm').exec(info)?.[1])
      .find((value) => value !== undefined)
  const policy = infos
    .map((info) => /^maxmemory_policy:([^\r\n]*)/m.exec(info)?.[1])
    .find((one) => one !== undefined && one !== 'noeviction')
  if (policy !== undefined) {
    const lost = policy.startsWith('volatile') ? 'what is to expire before its time' : 'what is stored'
    const text =
      `maxmemory-policy is ${policy}: when its memory is full, Redis deletes ${lost}, without a word. ` +
      'Set it to noeviction.'
    caveats.push(text)
    warnings.push(`Redis at ${target.masked}: ${text}`)
  }
  if (says('aof_enabled') === '0') {
    caveats.push(
      'Redis runs without an append-only file: a crash loses what was written since its last snapshot.',
    )
  } else {
    caveats.push('The append-only file is usually synced once a second: a crash may lose that second.')
  }
  if (target.kind !== 'single' || Number(says('connected_slaves') ?? 0) > 0) {
    caveats.push('Redis replicates asynchronously: a failover may lose the last writes, acknowledged or not.')
  }
  return { caveats, warnings }
}
