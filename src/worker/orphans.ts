// Reports, once each, the names that wait with no handler here: they are left for a worker that has one.

import type { Logger } from '../base/log.ts'
import { sleep } from '../base/time.ts'
import type { Engine } from '../contract/engine.ts'

const EVERY_MS = 60_000

export interface OrphansNeeds {
  engine: Engine
  sleepMs: number
  queues: readonly string[] | undefined
  known: ReadonlySet<string>
  logger: Logger
  trouble(error: unknown, message: string): void
}

export async function reportOrphans(
  signal: AbortSignal,
  { engine, sleepMs, queues, known, logger, trouble }: OrphansNeeds,
): Promise<void> {
  const reported = new Set<string>()
  await sleep(sleepMs, signal)
  while (!signal.aborted) {
    try {
      const { lanes } = await engine.count()
      for (const { queue, name, pending } of lanes) {
        if (pending === 0 || known.has(name) || reported.has(name)) continue
        if (queues?.includes(queue) === false) continue
        reported.add(name)
        logger.warn(
          { name, queue, pending },
          `${pending} of '${name}' wait in '${queue}', and this worker has no handler for it: they are left for one that has`,
        )
      }
    } catch (error) {
      trouble(error, 'the lanes could not be counted')
    }
    await sleep(EVERY_MS, signal)
  }
}
