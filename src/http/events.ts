// A run as server-sent events: its status and progress whenever they have changed, until it has ended.
import { environment } from '../base/environment.ts'
import type { Entry } from '../contract/engine.ts'
import { isEnded } from '../contract/engine.ts'
import { receiptOf } from '../dispatch/receipt.ts'
import type { Answer } from './call.ts'
import { tagOf, textOf } from './render.ts'
import type { Watch } from './watch.ts'

/** Proxies cut what is silent for long. */
const HEARTBEAT_MS = 15_000
const HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-store',
  // Asks nginx not to gather what should go out at once.
  'x-accel-buffering': 'no',
}

/**
 * An event's id stands for the state that it shows: who comes back with the id of the state that still holds is told nothing twice, and
 * who comes back with that of the end gets 204, at which an EventSource gives up.
 */
export function eventsOf(
  run: Entry,
  watch: Watch,
  lastEventId: string | undefined,
  signal: AbortSignal,
): Answer {
  const first = eventOf(run)
  if (isEnded(run.status) && lastEventId === first.id) return { status: 204, headers: {} }
  const encoder = new TextEncoder()
  let shown = lastEventId
  // Only the newest state matters: a slow reader misses steps between, and costs no memory.
  let next: { id: string; text: string; last: boolean } | undefined
  let wake: (() => void) | undefined
  let stop = (): void => {}
  const see = (_id: string, found: Entry | undefined): void => {
    next = found === undefined ? { id: '', text: 'event: gone\ndata: {}\n\n', last: true } : eventOf(found)
    if (next.id === shown) next = undefined
    else wake?.()
  }
  const end = (): void => {
    stop()
    wake?.()
  }
  const body = new ReadableStream<Uint8Array>(
    {
      start() {
        stop = watch.add([run.id], see)
        signal.addEventListener('abort', end, { once: true })
      },
      async pull(controller) {
        if (next === undefined && !signal.aborted) {
          await new Promise<void>((resolve) => {
            const timer = environment.setTimeout(resolve, HEARTBEAT_MS).unref()
            wake = () => {
              environment.clearTimeout(timer)
              resolve()
            }
          })
          wake = undefined
        }
        if (signal.aborted) return controller.close()
        if (next === undefined) return controller.enqueue(encoder.encode(': still here\n\n'))
        const { id, text, last } = next
        next = undefined
        shown = id
        controller.enqueue(encoder.encode(text))
        if (!last) return
        stop()
        signal.removeEventListener('abort', end)
        controller.close()
      },
      cancel() {
        signal.removeEventListener('abort', end)
        end()
      },
    },
    { highWaterMark: 1 },
  )
  return { status: 200, headers: { ...HEADERS }, body }
}

function eventOf(run: Entry): { id: string; text: string; last: boolean } {
  const data = textOf(receiptOf(run))
  const id = tagOf(data).slice(1, -1)
  // JSON holds no line feed, so that one line is enough.
  const name = run.status === 'running' && run.progress !== undefined ? 'progress' : 'status'
  return { id, text: `id: ${id}\nevent: ${name}\ndata: ${data}\n\n`, last: isEnded(run.status) }
}
