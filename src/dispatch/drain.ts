// Empties a queue or a name of what runs: pauses it, and waits.

import { environment } from '../base/environment.ts'
import { DeferqError } from '../base/errors.ts'
import { sleep } from '../base/time.ts'
import type { Counts, Lanes } from '../contract/engine.ts'
import type { WaitOptions } from '../tasks/options.ts'
import { checkWait } from '../tasks/options.ts'

const LOOK_MS = 100

interface Pausable {
  pause(lanes: Lanes, paused: boolean): Promise<void>
  count(): Promise<Counts>
}

export async function drained(store: Pausable, lanes: Lanes, options: WaitOptions): Promise<void> {
  const timeoutMs = checkWait(options, 'drain()')
  const { signal } = options
  const end = environment.monotonic() + (timeoutMs ?? Number.POSITIVE_INFINITY)
  await store.pause(lanes, true)
  for (;;) {
    const counts = await store.count()
    const running = counts.lanes
      .filter((lane) => ('queue' in lanes ? lane.queue === lanes.queue : lane.name === lanes.name))
      .reduce((sum, lane) => sum + lane.running, 0)
    if (running === 0) return
    if (signal?.aborted)
      throw new DeferqError('ABORTED', `drain() was aborted; ${running} still run, and it is paused.`, {
        cause: signal.reason,
      })
    if (environment.monotonic() >= end) {
      throw new DeferqError(
        'WAIT_TIMEOUT',
        `drain(): ${running} still run after ${timeoutMs} ms. It is paused: drain() again, or resume().`,
        { details: { running } },
      )
    }
    await sleep(Math.min(LOOK_MS, Math.max(1, end - environment.monotonic())), signal)
  }
}
