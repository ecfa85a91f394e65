// Opens the store of a worker, and waits for one that is away.
import { isDeferqError } from '../base/errors.ts'
import { sleep } from '../base/time.ts'
import type { Engine } from '../contract/engine.ts'
import type { Dispatching } from '../dispatch/api.ts'

const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 5_000

/** Undefined if the signal was aborted first. An error that waiting cannot cure, such as a wrong password, is thrown. */
export async function openStore(
  deferq: Dispatching,
  signal: AbortSignal,
  trouble: (error: unknown, message: string) => void,
): Promise<Engine | undefined> {
  for (let pauseMs = FIRST_PAUSE_MS; !signal.aborted; pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2)) {
    try {
      return await deferq.open()
    } catch (error) {
      if (!isDeferqError(error, 'STORE_UNAVAILABLE')) throw error
      trouble(error, 'the store is away; it is tried again')
      await sleep(pauseMs, signal)
    }
  }
  return undefined
}
